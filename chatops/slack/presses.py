"""Buttons and forms: each is a call through the gate as whoever pressed it, and nothing more."""

import asyncio
import json
from typing import Any

from chatops import messages, modals
from chatops.blocks import codes, context, escape
from chatops.grammar import Command
from chatops.slack.cards import Cards
from chatops.slack.desk import Desk, unknown_user
from chatops.slack.hearing import hear, obey, open_form, told
from chatops.slack.places import Place
from tools.calls import Caller, Problem, ToolInfo
from tools.errors import Code, ToolError

DIFF_BLOCKS = 90
CHECK_S = 2.0  # of the three that Slack waits in


class Presses:
    def __init__(self, desk: Desk, cards: Cards) -> None:
        self._desk = desk
        self._cards = cards

    async def pressed(self, body: dict[str, Any]) -> None:
        """A button under one of our messages."""
        action = body["actions"][0]
        name = action["action_id"].partition(":")[0]
        value = json.loads(action.get("value") or "{}")
        place = await place_of(self._desk, body)
        try:
            caller = await self._known(place)
            await getattr(self, f"_{name}")(place, caller, value, body)
        except ToolError as error:
            await place.show(messages.error(Problem.of(error)))

    async def submitted(self, body: dict[str, Any]) -> None:
        """A form that was sent, after it was found to be whole."""
        view = body["view"]
        meta = json.loads(view["private_metadata"])
        place = await place_of(self._desk, body, meta)
        try:
            caller = await self._known(place)
            if view["callback_id"] == "tool":
                tool = await self._tool(caller, meta["tool"])
                arguments, _ = modals.filled(tool, view["state"]["values"])
                await obey(place, caller, Command(tool, arguments), meta["key"], "")
                return
            arguments = {"id": meta["id"], "reason": _reason(view)}
            await self._decided(place, caller, view["callback_id"], arguments)
        except ToolError as error:
            await place.show(messages.error(Problem.of(error)))

    async def wrong(self, body: dict[str, Any]) -> dict[str, str]:
        """What is wrong with a form, by field; said at once, while it is still open."""
        view = body["view"]
        if view["callback_id"] == "call_reject" and not _reason(view):
            return {"reason": "Say why: whoever asked is told."}
        if view["callback_id"] != "tool":
            return {}
        try:
            async with asyncio.timeout(CHECK_S):
                if not (caller := await self._caller(body)):
                    return {}
                tool = await self._tool(caller, json.loads(view["private_metadata"])["tool"])
        except (ToolError, TimeoutError):  # said when it is carried out
            return {}
        return modals.filled(tool, view["state"]["values"])[1]

    # ---- the buttons

    async def _approve(self, place: Place, caller: Caller, value: Any, body: Any) -> None:
        arguments = {"id": value["id"], "digest": value["digest"]}
        await self._decided(place, caller, "call_approve", arguments)

    async def _reject(self, place: Place, caller: Caller, value: Any, body: Any) -> None:
        meta = {"id": value["id"], **_where(place)}
        view = modals.ask("call_reject", "Reject", "Why not?", "Reject", meta)
        await self._desk.client.views_open(trigger_id=body["trigger_id"], view=view)

    async def _decline(self, place: Place, caller: Caller, value: Any, body: Any) -> None:
        meta = {"id": value["id"], **_where(place)}
        view = modals.ask(
            "recommendation_reject", "Not this", "Why not?", "Turn down", meta, needed=False
        )
        await self._desk.client.views_open(trigger_id=body["trigger_id"], view=view)

    async def _diff(self, place: Place, caller: Caller, value: Any, body: Any) -> None:
        """The whole of it, to whoever may see the call."""
        call = await self._desk.record(caller, value["id"])
        blocks = [context(escape(call.outcome.summary))]
        blocks += codes(messages.diff(call.outcome.changes), DIFF_BLOCKS)
        view = modals.show(f"Call {call.id}", blocks)
        await self._desk.client.views_open(trigger_id=body["trigger_id"], view=view)

    async def _undo(self, place: Place, caller: Caller, value: Any, body: Any) -> None:
        # A call that came back from being undone may be undone again: then `at` is another.
        key = f"slack:undo:{value['id']}:{value['at']}"
        await self._write(place, caller, "call_undo", {"id": value["id"]}, key)

    async def _apply(self, place: Place, caller: Caller, value: Any, body: Any) -> None:
        key = f"slack:apply:{value['id']}:{value['at']}"
        await self._write(place, caller, "recommendation_apply", {"id": value["id"]}, key)

    async def _say(self, place: Place, caller: Caller, value: Any, body: Any) -> None:
        key = f"slack:{body['trigger_id']}"
        await hear(place, value["text"], key, body["trigger_id"])

    async def _fill(self, place: Place, caller: Caller, value: Any, body: Any) -> None:
        tool = await self._tool(caller, value["tool"])
        key = f"slack:{body['trigger_id']}"
        await open_form(place, tool, value["arguments"], body["trigger_id"], key)

    # ---- what they come to

    async def _decided(
        self, place: Place, caller: Caller, tool: str, arguments: dict[str, Any]
    ) -> None:
        outcome = await self._desk.house.gate.call(caller, tool, arguments)
        if tool == "recommendation_reject" and not outcome.error:
            await place.show(messages.said("It stays away until the evidence has changed."))
        elif tool != "recommendation_reject":
            await self._cards.refresh(arguments["id"])
        if outcome.error:  # a refusal is for the one who pressed, and nobody else
            await place.show(messages.error(outcome.error))

    async def _write(
        self, place: Place, caller: Caller, tool: str, arguments: dict[str, Any], key: str
    ) -> None:
        outcome = await self._desk.house.gate.call(caller, tool, arguments, key=key)
        if outcome.call_id:
            await self._cards.refresh(outcome.call_id)
        found = await self._tool(caller, tool)
        await place.show(await told(place, caller, found, outcome, None))

    async def _known(self, place: Place) -> Caller:
        caller = await self._desk.caller(place.user)
        if caller is None:
            raise unknown_user(self._desk.command)
        return caller

    async def _caller(self, body: dict[str, Any]) -> Caller | None:
        if _foreign(self._desk, body):
            return None
        return await self._desk.caller(body["user"]["id"])

    async def _tool(self, caller: Caller, name: str) -> ToolInfo:
        for tool in await self._desk.house.gate.tools(caller):
            if tool.name == name:
                return tool
        raise ToolError(Code.NOT_FOUND, f"There is no tool {name} for you.", "`help` shows yours.")


async def place_of(desk: Desk, body: dict[str, Any], meta: dict[str, Any] | None = None) -> Place:
    """Where a button or a form belongs to. A form knows no address to answer at. What we post to
    all in a direct message is in one between us and the one who presses."""
    meta = meta or {}
    if _foreign(desk, body):
        raise unknown_user(desk.command)
    user = body["user"]["id"]
    message = body.get("message") or {}
    container = body.get("container") or {}
    channel = meta.get("channel") or (body.get("channel") or {}).get("id") or user
    thread = meta.get("thread") or message.get("thread_ts") or ""
    shared = bool(container.get("is_ephemeral")) or channel[:1] not in ("D", "U", "W")
    own = bool(meta.get("own")) if meta else not shared
    if shared and not container.get("is_ephemeral") and not thread:
        thread = container.get("message_ts", "")
    bound = await desk.bound(channel)
    url = "" if own else body.get("response_url", "")
    return Place(desk, user, channel, bound, thread, own, url)


def _reason(view: dict[str, Any]) -> str:
    return (view["state"]["values"]["reason"]["value"].get("value") or "").strip()


def _where(place: Place) -> dict[str, Any]:
    return {"channel": place.channel, "thread": place.thread, "own": place.own}


def _foreign(desk: Desk, body: dict[str, Any]) -> bool:
    """Somebody of another workspace, in a channel that is shared with it."""
    of = body["user"].get("team_id") or desk.team
    return bool(of != desk.team)
