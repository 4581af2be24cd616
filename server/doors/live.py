"""Events as they happen: server-sent at `/api/v1/events`, and through a WebSocket at `/ws`.

Both take `types` (which kinds of events), the id of the last event that was seen, and a job whose
log is followed; docs/live.md has what is told.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import HTTPConnection, Request
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.doors.http import problem
from server.doors.rest.inside import Inside, caller_of
from server.events import BEAT, KINDS, TOO_SLOW, WIRE, Event, Reader
from tools.calls import Caller, Gate, Problem
from tools.errors import Code, ToolError

BEAT_S = 15.0
# A reader who takes nothing for so long is gone.
STALL_S = 60.0
# A client's first message says what it wants, if it comes soon.
FIRST_S = 1.0
AGAIN_MS = 2000
TRY_AGAIN_LATER, INVALID = 1013, 4400
MOST_MESSAGE = 16_384
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class Job(BaseModel):
    """Whose log is followed."""

    model_config = ConfigDict(extra="forbid")
    tenant: str = Field(min_length=1, max_length=63)
    name: str = Field(min_length=1, max_length=253)


class Wanted(BaseModel):
    """What a client wants to be told."""

    model_config = ConfigDict(extra="forbid")
    types: list[str] = list(KINDS)
    last_event_id: str = Field("", max_length=64)
    follow: Job | None = None


def wanted(given: Mapping[str, Any]) -> Wanted:
    """Raises `ToolError`."""
    try:
        found = Wanted.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        raise _unfit(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
    if unknown := [kind for kind in found.types if kind not in KINDS]:
        raise _unfit(f"There are no events {unknown[0][:40]!r}")
    return found


def _unfit(what: str) -> ToolError:
    return ToolError(
        Code.INVALID_ARGUMENT,
        f"{what}.",
        f"It takes types (of {', '.join(KINDS)}), last_event_id, and follow: a job of a tenant.",
    )


def _in_query(connection: HTTPConnection) -> Wanted:
    query = dict(connection.query_params)
    given: dict[str, Any] = {}
    if types := query.pop("types", ""):
        given["types"] = [kind.strip() for kind in types.split(",") if kind.strip()]
    id = query.pop("last_event_id", "")
    given["last_event_id"] = connection.headers.get("last-event-id", "") or id
    if job := query.pop("job", ""):
        tenant, _, name = job.partition(":")
        given["follow"] = {"tenant": tenant, "name": name}
    return wanted(given | query)


class Line(Protocol):
    """One connection, whatever it speaks."""

    async def say(self, event: Event) -> None: ...

    async def bye(self, reason: str) -> None: ...

    async def gone(self) -> None:
        """Until the client leaves. What it says until then is heard and means nothing."""
        ...


async def follow(
    inside: Inside, connection: HTTPConnection, reader: Reader, job: Job | None, line: Line
) -> None:
    """Until the client leaves, or is told why it ends. With each sign of life it is asked anew who
    reads, and what they may see."""
    leaving = asyncio.create_task(line.gone())
    tasks = [leaving]
    try:
        for event in reader.first:
            await line.say(event)
        with reader:
            if job:
                tasks.append(asyncio.create_task(_log(inside.gate, reader, job, line)))
            reason = await _listened(inside, connection, reader, leaving)
        try:
            async with asyncio.timeout(STALL_S):
                await (line.bye(reason) if reason else leaving)
        except TimeoutError:
            reader.wire.abort()
            await leaving
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listened(
    inside: Inside, connection: HTTPConnection, reader: Reader, leaving: "asyncio.Task[None]"
) -> str:
    """Until it ends: the reason, or nothing where the client left."""
    ends: set[asyncio.Future[Any]] = {leaving, reader.over}
    while True:
        # Not all of those at once who came at once.
        beat = BEAT_S * random.uniform(0.7, 1)  # noqa: S311  it is no secret
        await asyncio.wait(ends, timeout=beat, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            return ""
        if reader.over.done():
            return reader.over.result()
        if reason := await _ask_anew(inside, connection, reader):
            return reason


async def _ask_anew(inside: Inside, connection: HTTPConnection, reader: Reader) -> str:
    """Why it ends, if it does; else a sign of life."""
    try:
        reader.is_now(await caller_of(inside, connection))
    except ToolError as error:
        if error.code is not Code.RESOURCE_EXHAUSTED:  # who may ask no more now, may still listen
            return str(error)
    if reader.free:
        reader.hand(reader.spell([Event(reader.position, BEAT, {})]))
    elif reader.silent_s > STALL_S:
        return TOO_SLOW
    return ""


async def log_of(gate: Gate, caller: Caller, job: Job) -> AsyncGenerator[Event, None]:
    """A job's log as events, from its beginning until the job ends."""
    about = {"tenant": job.tenant, "job": job.name}
    asked = {"tenant": job.tenant, "name": job.name, "follow": True}
    try:
        async for piece in gate.stream(caller, "job_logs", asked):
            yield Event("", "log", about | piece)
    except ToolError as error:
        problem = Problem.of(error).model_dump(mode="json", exclude_defaults=True)
        yield Event("", "log", about | {"error": problem})


async def _log(gate: Gate, reader: Reader, job: Job, line: Line) -> None:
    async with aclosing(log_of(gate, reader.caller, job)) as log:
        async for event in log:
            await line.say(event)
            reader.took()


# ---- server-sent events


def plain(events: Sequence[Event]) -> bytes:
    return b"".join(event.lines for event in events)


def chunk(events: Sequence[Event]) -> bytes:
    """As HTTP/1.1 has a body whose length is not known."""
    lines = plain(events)
    return b"%x\r\n%b\r\n" % (len(lines), lines)


@dataclass
class _Stream:
    send: Send
    receive: Receive

    async def body(self, data: bytes, more: bool = True) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def say(self, event: Event) -> None:
        await self.body(event.lines)

    async def bye(self, reason: str) -> None:
        await self.body(_dropped(reason).lines, more=False)

    async def gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


@dataclass
class Events:
    """An ASGI application: the framework's streams would put a dozen layers under each event."""

    inside: Inside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        caller = await caller_of(self.inside, request)
        asked = _in_query(request)
        assert self.inside.events is not None
        spell = plain if scope["http_version"] == "1.0" else chunk
        reader = Reader(
            self.inside.events, caller, asked.types, asked.last_event_id, spell, _wire(scope)
        )
        stream = _Stream(send, receive)
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        if request.method == "HEAD":
            await stream.body(b"", more=False)
            return
        await stream.body(f"retry: {AGAIN_MS}\nid: {reader.position}\n\n".encode())
        await follow(self.inside, request, reader, asked.follow, stream)


def _wire(scope: Scope) -> asyncio.WriteTransport:
    wire: asyncio.WriteTransport = scope["state"][WIRE]
    return wire


def _dropped(reason: str) -> Event:
    return Event("", "dropped", {"reason": reason})


# ---- WebSocket


async def websocket(inside: Inside, socket: WebSocket) -> None:
    try:
        caller = await caller_of(inside, socket)
        asked = _in_query(socket)
    except ToolError as error:
        await socket.send_denial_response(problem(error))
        return
    assert inside.events is not None
    begun = inside.events.position
    await socket.accept()
    try:
        first = await _first(socket)
        if first is not None:
            asked = wanted(first)
    except ToolError as error:
        await socket.close(INVALID, _short(str(error)))
        return
    except WebSocketDisconnect:
        return
    since = asked.last_event_id or begun
    wire = _wire(socket.scope)
    reader = Reader(inside.events, caller, asked.types, since, frames, wire)
    with suppress(WebSocketDisconnect):
        await socket.send_text(Event(reader.position, "hello", {}).message)
        await follow(inside, socket, reader, asked.follow, _Socket(socket))


def frames(events: Sequence[Event]) -> bytes:
    from websockets.frames import Frame, Opcode

    messages = (Frame(Opcode.TEXT, event.message.encode()) for event in events)
    return b"".join(message.serialize(mask=False) for message in messages)


@dataclass
class _Socket:
    socket: WebSocket

    async def say(self, event: Event) -> None:
        await self.socket.send_text(event.message)

    async def bye(self, reason: str) -> None:
        await self.say(_dropped(reason))
        await self.socket.close(TRY_AGAIN_LATER, _short(reason))

    async def gone(self) -> None:
        while (await self.socket.receive())["type"] != "websocket.disconnect":
            pass


async def _first(socket: WebSocket) -> Mapping[str, Any] | None:
    """The first message, if it comes soon. Raises `ToolError` for one that is no JSON object."""
    try:
        async with asyncio.timeout(FIRST_S):
            text = await socket.receive_text()
    except TimeoutError:
        return None
    except KeyError:
        raise _unfit("A message is text") from None
    try:
        given = json.loads(text[:MOST_MESSAGE])
    except (ValueError, RecursionError):
        raise _unfit("The message is no JSON") from None
    if not isinstance(given, dict):
        raise _unfit("The message is to be a JSON object")
    return given


def _short(reason: str) -> str:
    """As much as a closing frame can hold."""
    return reason.encode()[:120].decode(errors="ignore")
