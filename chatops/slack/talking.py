"""Free text: a turn of the conversation, streamed into one message of the thread."""

import contextlib
import time
from typing import Any

import structlog

from chatops import messages
from chatops.blocks import context as small
from chatops.blocks import cut, escape
from chatops.conversation import Again, Begun, Called, Calling, Done, Reply, Text
from chatops.slack.desk import places_for
from chatops.slack.places import Place
from tools.calls import Caller
from tools.errors import ToolError

log = structlog.get_logger(__name__)

PART = 11_000  # characters that Slack takes as Markdown at once
STREAM_S = 0.8  # between two pieces of a stream
MOST = 36_000


async def talk(place: Place, caller: Caller, text: str, context: str = "") -> None:
    """One turn, for the person who said it. In a shared channel nothing of it is posted, unless
    the channel may see everything: what an answer will be about is not known before."""
    conversations = place.desk.house.conversations
    here, thread = _here(place), f"slack:{place.channel}:{place.thread or place.user}"
    shown = _Stream(place) if place.public(None) and place.thread else _Whole(place)
    events = conversations.ask(caller, text, thread=thread, context=context)
    reply: Reply | None = None
    begun = False
    try:
        async with contextlib.aclosing(events) as turn:  # type: ignore[type-var]
            async for event in turn:
                match event:
                    case Begun():
                        begun = True
                        place.desk.talks[here] = event.conversation
                    case Text():
                        await shown.text(event.text)
                    case Calling():
                        await shown.status(f"is calling {event.tool}")
                    case Called():
                        await shown.status("is thinking")
                    case Again():
                        await shown.again()
                    case Done():
                        reply = event.reply
    except ToolError:
        if not begun:
            raise
        log.warning("slack: a turn broke off", exc_info=True)
    finally:
        if begun:
            place.desk.talks.pop(here, None)
    await shown.end(reply)
    for outcome in reply.waiting if reply else ():
        if outcome.call_id:
            call = await place.desk.record(caller, outcome.call_id)
            announced = place.channel in await places_for(place.desk, call.tenant)
            message = messages.waits_elsewhere(call) if announced else messages.card(call)
            await place.beside().show(message)


async def stop(place: Place, caller: Caller) -> int:
    """End the turn of this person that is under way here, or all of theirs where there is none
    here (a command is in no thread); how many there were."""
    conversations, talks = place.desk.house.conversations, place.desk.talks
    theirs = [id for (user, _, _), id in talks.items() if user == place.user]
    ended = 0
    for id in [talks[_here(place)]] if _here(place) in talks else theirs:
        with contextlib.suppress(ToolError):  # it was too long ago
            ended += await conversations.cancel(caller, id)
    return ended


def _here(place: Place) -> tuple[str, str, str]:
    return place.user, place.channel, place.thread


class _Whole:
    """Told at the end, to the one who asked."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def text(self, piece: str) -> None:
        pass

    async def status(self, line: str) -> None:
        await self._place.progress(messages.said(f":gear: {escape(line)}…", about=None))

    async def again(self) -> None:
        pass

    async def end(self, reply: Reply | None) -> None:
        text = reply.text if reply else ""
        blocks = [{"type": "markdown", "text": cut(text, PART)}] if text else []
        if foot := footer(reply):
            blocks.append(small(escape(foot)))
        await self._place.show(messages.Message(cut(text, 3000) or "…", tuple(blocks), None))


class _Stream:
    """Told as it comes, as Slack streams an answer into a thread; at the end where it does not."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._streams = True
        self._stream: Any = None
        self._held = ""
        self._told = 0
        self._sent = 0.0

    async def text(self, piece: str) -> None:
        self._held += piece
        if time.monotonic() - self._sent >= STREAM_S and self._told < MOST:
            await self._flush()

    async def status(self, line: str) -> None:
        with contextlib.suppress(Exception):  # a line less is no reason to end the turn
            await self._place.desk.client.assistant_threads_setStatus(
                channel_id=self._place.channel, thread_ts=self._place.thread, status=line
            )

    async def again(self) -> None:
        self._held = "" if not self._stream else f"{self._held}\n\n_(once more)_\n\n"

    async def end(self, reply: Reply | None) -> None:
        if not self._stream and not self._held and reply:
            self._held = reply.text
        await self._flush(at_least=" ")
        foot = footer(reply)
        if self._stream is None:
            await _Whole(self._place).end(reply)
            return
        await self._stream.stop(blocks=[small(escape(foot))] if foot else None)

    async def _flush(self, at_least: str = "") -> None:
        from slack_sdk.errors import SlackApiError

        text = cut(self._held, min(PART, max(MOST - self._told, 2))) or at_least
        if not text or not self._streams:
            return
        stream = self._stream or await self._place.desk.client.chat_stream(
            channel=self._place.channel,
            thread_ts=self._place.thread,
            recipient_team_id=self._place.desk.team,
            recipient_user_id=self._place.user,
            buffer_size=1,
        )
        try:
            await stream.append(markdown_text=text)
        except SlackApiError as error:
            if self._stream:
                raise
            log.info("slack: no stream here", why=str(error.response.get("error")))
            self._streams = False
            return
        self._stream = stream
        self._told += len(text)
        self._held, self._sent = "", time.monotonic()


def footer(reply: Reply | None) -> str:
    """What a turn took, and why it ended early."""
    if reply is None:
        return "It broke off."
    ends = {
        "budget": "it used up what a turn may take",
        "cancelled": "it was cancelled",
        "too_long": "the answer was too long",
        "refused": "the model declined",
        "failed": "it failed",
    }
    parts = [f"{reply.spent.tokens:,} tokens", f"{reply.spent.calls} calls"]
    parts += [ends[reply.stopped]] if reply.stopped else []
    parts += [reply.error.message] if reply.error else []
    return " · ".join(parts)
