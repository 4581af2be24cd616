"""What is said, understood and answered: called through the gate as whoever said it."""

import time
from collections import defaultdict
from typing import Any

from chatops import messages, modals
from chatops.blocks import code, context, escape
from chatops.grammar import Command, Unclear, sentence, understand
from chatops.messages import Message
from chatops.slack import talking
from chatops.slack.desk import Desk, places_for, unknown_user
from chatops.slack.membership import BUILT_IN
from chatops.slack.pictures import add_picture
from chatops.slack.places import Place
from chatops.store import PLATFORM
from tools.calls import Caller, Outcome, Problem, State, ToolInfo
from tools.errors import ToolError
from tools.holdings import Recommendation

# How long a change is waited for before it is left to its card.
WAIT_S = 600.0
FOLLOW_S = 1800.0
TAIL = 2400  # characters of a log that goes on
STOPS = ("stop", "cancel")  # what is being answered, where something is
LONG = 5  # words from which on something half understood is meant for the agent


async def hear(place: Place, text: str, key: str, trigger: str = "") -> None:
    """Answer a text. With the same `key` what it asks for is done once. `trigger` opens a form."""
    try:
        await _hear(place, text.strip(), key, trigger)
    except ToolError as error:
        await place.show(messages.error(Problem.of(error)))


async def _hear(place: Place, text: str, key: str, trigger: str) -> None:
    desk = place.desk
    word, _, rest = text.partition(" ")
    if (built_in := BUILT_IN.get(word.lower())) and " " not in rest.strip():
        await place.show(await built_in(place, rest.strip()))
        return
    caller = await desk.caller(place.user)
    if caller is None:
        raise unknown_user(desk.command)
    if text.lower() in STOPS and (ended := await talking.stop(place, caller)):
        if place.url:  # a command: what it ended is told elsewhere
            what = "the answer" if ended == 1 else f"{ended} answers"
            await place.show(messages.said(f"I have ended {what} to you.", about=None))
        return
    tools = await desk.house.gate.tools(caller)
    if not text or word.lower() == "help":
        await place.show(_help(desk, tools))
        return
    tenant = place.bound if place.bound != PLATFORM else ""
    understood = understand(text, tools, tenant or _only_tenant(caller))
    ready = desk.house.conversations.ready is None
    if isinstance(understood, Command):
        await obey(place, caller, understood, key, trigger)
    elif ready and (not understood.near or len(text.split()) >= LONG):
        await talking.talk(place, caller, text)
    else:
        await place.show(_not_understood(understood))


async def obey(place: Place, caller: Caller, command: Command, key: str, trigger: str) -> None:
    """Call a tool, or ask for what it still needs."""
    tool, arguments = command.tool, command.arguments
    if command.missing and trigger:
        await open_form(place, tool, arguments, trigger, key)
        return
    if command.missing:
        await place.show(messages.wants_more(tool, arguments, command.missing))
        return
    about = await _about(place, caller, tool, arguments)
    if tool.effect == "stream":
        await _follow(place, caller, tool, arguments, about)
        return

    async def progress(line: str, done: float | None, of: float | None) -> None:
        share = f" ({done:g} of {of:g})" if done is not None and of else ""
        await place.progress(messages.said(f":gear: {escape(line)}{share}", about=about))

    changes = tool.effect in ("write", "decide")
    outcome = await place.desk.house.gate.call(
        caller,
        tool.name,
        arguments,
        key=key if tool.effect == "write" else None,
        wait_s=WAIT_S if changes else None,
        progress=progress,
    )
    await place.show(await told(place, caller, tool, outcome, about))
    if tool.name == "recommendation_get" and outcome.answer:
        shown = Recommendation.model_validate(outcome.answer["recommendation"])
        await add_picture(place, caller, shown)


async def told(
    place: Place, caller: Caller, tool: ToolInfo, outcome: Outcome, about: str | None
) -> Message:
    """What came of a call, as a message for this place."""
    if outcome.call_id and outcome.state is not State.PLANNING:
        call = await place.desk.record(caller, outcome.call_id)
        if outcome.state.waiting and await _is_announced_here(place, call.tenant):
            return messages.waits_elsewhere(call)
        return messages.card(call)
    if outcome.error:
        return messages.error(outcome.error)
    answer = outcome.answer or {}
    if tool.name == "recommendation_get":
        found = Recommendation.model_validate(answer["recommendation"])
        return messages.recommendation(found)
    if tool.name == "recommendation_list":
        return messages.recommendations(answer["recommendations"], about)
    if tool.name in ("call_get", "call_wait"):
        return messages.card(await place.desk.record(caller, answer["call"]["id"]))
    return messages.answer(tool, outcome, about)


async def open_form(
    place: Place, tool: ToolInfo, arguments: dict[str, Any], trigger: str, key: str
) -> None:
    from slack_sdk.errors import SlackApiError

    meta = {"channel": place.channel, "thread": place.thread, "key": key, "own": place.own}
    view = modals.form(tool, arguments, meta)
    try:
        await place.desk.client.views_open(trigger_id=trigger, view=view)
    except SlackApiError as error:
        if "trigger" not in str(error.response.get("error")):
            raise
        # Slack lets a form be opened for three seconds only: a button gives three more.
        missing = [name for name in tool.input_schema["required"] if name not in arguments]
        await place.show(messages.wants_more(tool, arguments, missing))


async def _follow(
    place: Place, caller: Caller, tool: ToolInfo, arguments: dict[str, Any], about: str | None
) -> None:
    """The end of a stream, as it goes on, in one message."""
    text, end = "", time.monotonic() + FOLLOW_S
    name = str(arguments.get("name", tool.title))
    async for piece in place.desk.house.gate.stream(caller, tool.name, arguments):
        text = (text + _told(piece))[-TAIL * 10 :]
        if time.monotonic() > end:
            break
        if text:
            await place.progress(_tail(name, text, about, going=True))
    await place.show(_tail(name, text, about, going=False))


def _told(piece: dict[str, Any]) -> str:
    """A piece of a stream as it is read: whose it is, and what it says."""
    if "text" in piece:
        return str(piece["text"])
    whose = f"{piece['pod']}: " if "pod" in piece else ""
    if said := piece.get("line") or piece.get("note"):
        return f"{whose}{said}\n"
    rest = {k: v for k, v in piece.items() if k not in ("pod", "line", "done") and v is not None}
    return f"{', '.join(f'{k} {v}' for k, v in rest.items())}\n" if rest else ""


def _tail(name: str, text: str, about: str | None, *, going: bool) -> Message:
    head = f"{':gear: ' if going else ''}*{escape(name)}*"
    shown = text[-TAIL:] if len(text) > TAIL else text
    shown = shown.partition("\n")[2] if len(shown) < len(text) and "\n" in shown else shown
    return messages.said(head, code(shown.rstrip() or "(nothing yet)"), about=about)


async def _about(
    place: Place, caller: Caller, tool: ToolInfo, arguments: dict[str, Any]
) -> str | None:
    """The one tenant that an answer will tell of, or None. Asked only where it matters."""
    if not place.bound or place.own:
        return None
    if tenant := arguments.get("tenant"):
        return str(tenant)
    id = str(arguments.get("id", ""))
    if tool.group == "calls" and id:
        return (await place.desk.record(caller, id)).tenant or None
    if tool.group == "recommendations" and id:
        found = await place.desk.read(caller, "recommendation_get", id=id)
        return str(found["recommendation"]["tenant"])
    return None


async def _is_announced_here(place: Place, tenant: str) -> bool:
    return place.channel in await places_for(place.desk, tenant)


def _only_tenant(caller: Caller) -> str:
    return next(iter(caller.grants)) if len(caller.grants) == 1 and not caller.operator else ""


def _not_understood(unclear: Unclear) -> Message:
    if unclear.near:
        return messages.unclear(unclear.message, unclear.instead)
    text = "That is no command that I know, and no model is configured to talk to."
    return messages.said(text, context("`help` shows what can be said."))


def _help(desk: Desk, tools: list[ToolInfo]) -> Message:
    groups: dict[str, list[str]] = defaultdict(list)
    for tool in tools:
        groups[tool.group].append(sentence(tool))
    return messages.help_text(desk.command, groups)
