"""Messages that show a call, kept as the call stands: also what became of it while Slack, or we,
were away."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog

from chatops.house import Change
from chatops.messages import Message, card
from chatops.slack.alerting import GONE, AlertBoard
from chatops.slack.desk import Desk, places_for
from chatops.store import Card
from tools.calls import State
from tools.errors import Code, ToolError
from tools.holdings import CallRecord

log = structlog.get_logger(__name__)

PASSES = (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)
PAUSE_S = 1.0
MADE_UP_S = 60.0  # after which what Slack would not take is tried again


class Cards:
    """Posts a card for each call that waits, and edits all cards of a call as it goes on."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._queued: set[str] = set()
        self._late: set[str] = set()
        self._alerts = AlertBoard(desk)
        self._warned = False

    async def follow(self) -> None:
        """Goes on until it is cancelled."""
        wrong = ""
        while True:
            try:
                async for change in self._desk.house.watch():
                    wrong = ""
                    self._desk.jobs.start(self._shown(change))
            except ToolError as error:
                if wrong != str(error):
                    log.warning("slack: what changes is not seen; looking again", why=str(error))
                wrong = str(error)
            except Exception:
                log.exception("slack: lost sight of what changes; looking again")
            await asyncio.sleep(PAUSE_S)

    def _shown(self, change: Change) -> Coroutine[Any, Any, None]:
        if change is None:
            return self.catch_up()
        return self.refresh(change) if isinstance(change, str) else self._alerts.show(change)

    async def make_up(self) -> None:
        """Show what could not be shown at its time. Goes on until it is cancelled."""
        while True:
            await asyncio.sleep(MADE_UP_S)
            late, self._late = self._late, set()
            for id in late:
                self._desk.jobs.start(self.refresh(id))

    async def catch_up(self) -> None:
        """Show what was decided while nobody looked, and what has come to wait since."""
        ids = dict.fromkeys(one.call_id for one in await self._desk.house.cards())
        for id in (id for id in ids if ":" not in id):  # the rest are no calls
            await self.refresh(id)
        for id in await self._desk.house.waiting():
            await self.refresh(id)
        for incident in await self._desk.house.alerts():
            await self._alerts.catch_up(incident)

    async def refresh(self, id: str) -> None:
        """Bring the cards of a call up to date, and of what it undoes; many asked for at once are
        done once."""
        if id in self._queued:
            return
        self._queued.add(id)
        async with self._locks[id]:
            self._queued.discard(id)
            try:
                call = await self._desk.house.call(id)
            except ToolError as error:
                log.warning("slack: a call cannot be read", call=id, why=str(error))
                if error.code in PASSES:
                    self._late.add(id)
                return
            message = card(call)
            there = await self._desk.house.cards(id)
            try:
                for one in there:
                    await self._edit(one, message)
                if call.outcome.state.waiting:
                    await self._announce(call, message, {one.channel for one in there})
            except Exception as error:  # Slack is busy, or away
                log.warning("slack: not shown; tried again later", call=id, why=str(error)[:200])
                self._late.add(id)
        if call.outcome.state.ended and id not in self._queued:
            self._locks.pop(id, None)
        if call.undoes:
            await self.refresh(call.undoes)

    async def _announce(self, call: CallRecord, message: Message, there: set[str]) -> None:
        """To those who may let it go ahead, unless they have it before them already."""
        from slack_sdk.errors import SlackApiError

        targets = await self._targets(call)
        if not targets and not self._warned:
            self._warned = True
            log.warning("slack: no channel for approvals: set slack.approvers, or `bind platform`")
        posted = {card.channel for card in await self._desk.house.cards(f"to:{call.id}")}
        for target in targets:
            if target in posted | there:
                continue
            try:
                sent = await self._desk.client.chat_postMessage(
                    channel=target, text=message.text, blocks=list(message.blocks)
                )
            except SlackApiError as error:
                log.warning("slack: not announced", call=call.id, to=target, why=str(error)[:200])
                continue
            channel, ts = str(sent["channel"]), str(sent["ts"])
            await self._desk.house.keep_card(Card(call.id, channel, ts, message.shown))
            if channel != target:  # a person's direct messages
                await self._desk.house.keep_card(Card(f"to:{call.id}", target, ts))

    async def _targets(self, call: CallRecord) -> Sequence[str]:
        """The channel of its tenant or the approvers'; for what a person confirms alone, they."""
        if call.outcome.state is State.AWAITING_CONFIRMATION and (
            users := await self._desk.users(call.person)
        ):
            return users
        return await places_for(self._desk, call.tenant)

    async def _edit(self, one: Card, message: Message) -> None:
        from slack_sdk.errors import SlackApiError

        if one.shown == message.shown:
            return
        try:
            await self._desk.client.chat_update(
                channel=one.channel, ts=one.ts, text=message.text, blocks=list(message.blocks)
            )
        except SlackApiError as error:
            if error.response.get("error") not in GONE:
                raise
            await self._desk.house.showed(one, "")
            return
        await self._desk.house.showed(one, message.shown)
