"""Alerts in Slack: a message for each, and in its thread what was found and what could be done."""

import asyncio
from collections.abc import Sequence

from slack_sdk.errors import SlackApiError

from chatops.blocks import Block, actions, button, context, escape, section
from chatops.findings import heading, lines
from chatops.messages import Message
from chatops.slack.desk import Desk, places_for
from chatops.store import Card
from tools.alerts import Incident

GONE = ("message_not_found", "channel_not_found", "is_archived", "cant_update_message")
MOST_ALERTS = 10  # of a message
SIGNS = {"firing": ":fire:", "resolved": ":white_check_mark:"}


class AlertBoard:
    """What is told again changes the same messages."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._one = asyncio.Lock()

    async def catch_up(self, incident: Incident) -> None:
        """What is over, and was never told of, is no news."""
        if incident.status == "firing" or await self._desk.house.cards(f"alert:{incident.id}"):
            await self.show(incident)

    async def show(self, incident: Incident) -> None:
        async with self._one:  # two at once would each post a message of their own
            await self._show(incident)

    async def _show(self, incident: Incident) -> None:
        status = f"{incident.status}:"
        above = await self._put(f"alert:{incident.id}", fired(incident), [], status)
        for card in above:
            if not card.shown.startswith(status):
                await self._turned(card, incident)
        if incident.found:
            await self._put(f"alert:{incident.id}:found", looked(incident), above)

    async def _turned(self, card: Card, incident: Incident) -> None:
        """What is edited calls nobody: the thread is told of its end, and the whole channel when
        it fires again."""
        again = incident.status == "firing"
        await self._desk.client.chat_postMessage(
            channel=card.channel,
            thread_ts=card.ts,
            text=":fire: It fires again." if again else ":white_check_mark: It is resolved.",
            reply_broadcast=again,
        )

    async def _put(
        self, id: str, message: Message, above: Sequence[Card], status: str = ""
    ) -> Sequence[Card]:
        """Bring the messages that show this up to date, or post them; in the threads of `above`
        where there are any. The cards as they were before."""
        house, shown = self._desk.house, status + message.shown
        if there := await house.cards(id):
            for one in there:
                if one.shown != shown:
                    await self._edit(one, message, shown)
            return there
        threads = {card.channel: card.ts for card in above}
        targets = list(threads) or await places_for(self._desk, message.about or "")
        for target in targets:
            sent = await self._desk.client.chat_postMessage(
                channel=target,
                text=message.text,
                blocks=list(message.blocks),
                thread_ts=threads.get(target),
            )
            await house.keep_card(Card(id, str(sent["channel"]), str(sent["ts"]), shown))
        return await house.cards(id)

    async def _edit(self, one: Card, message: Message, shown: str) -> None:
        try:
            await self._desk.client.chat_update(
                channel=one.channel, ts=one.ts, text=message.text, blocks=list(message.blocks)
            )
        except SlackApiError as error:
            if error.response.get("error") not in GONE:
                raise
            # The next alert has a message of its own.
            await self._desk.house.showed(one, "")
            return
        await self._desk.house.showed(one, shown)


def fired(incident: Incident) -> Message:
    """What fired, and where."""
    facts = [incident.status, f"*{escape(incident.tenant)}*" if incident.tenant else "no tenant"]
    facts += [escape(incident.workload)] if incident.workload else []
    facts += [f"told {incident.told} times"] if incident.told > 1 else []
    lines = [
        f"{SIGNS[alert.status]} {escape(alert.name)}: {escape(alert.summary or 'no summary')}"
        for alert in incident.alerts[:MOST_ALERTS]
    ]
    more = len(incident.alerts) - MOST_ALERTS
    blocks = [
        section(f"{SIGNS[incident.status]} *{escape(incident.title)}*"),
        context(" · ".join(facts)),
        section("\n".join(lines + ([f"… and {more} more"] if more > 0 else []))),
    ]
    return Message(escape(incident.title), tuple(blocks), incident.tenant)


def looked(incident: Incident) -> Message:
    """What was found, and what could be done."""
    blocks: list[Block] = []
    for found in incident.found:
        told = "\n".join(f"• {escape(line)}" for line in lines(found))
        blocks.append(section(f"*{escape(heading(found))}*\n{told}"))
    buttons = [
        button(step.title, f"say:{number}", {"text": step.call})
        for number, step in enumerate(incident.steps)
    ]
    blocks += [actions(*buttons)] if buttons else []
    return Message(f"What was found about {escape(incident.title)}", tuple(blocks), incident.tenant)
