"""Events as they happen: server-sent at `/api/v1/events`, and through a WebSocket at `/ws`.

Both take `types` (which kinds of events), the id of the last event that was seen, and a job whose
log is followed; docs/live.md has what is told.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.doors.http import problem
from server.doors.rest.inside import Inside, caller_of
from server.events import KINDS, Dropped, Event, Subscription
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


async def told(
    inside: Inside, connection: HTTPConnection, subscription: Subscription
) -> AsyncGenerator[list[Event], None]:
    """What there is to tell, and nothing where it is time for a sign of life. With each of those
    it is asked anew who reads, and what they may see."""
    loop = asyncio.get_running_loop()
    beat = loop.time() + BEAT_S
    with subscription:
        while True:
            try:
                found = await subscription.more(max(0.0, beat - loop.time()))
                if loop.time() >= beat:
                    beat = loop.time() + BEAT_S
                    subscription.caller = await caller_of(inside, connection)
                    yield list(found)
                elif found:
                    yield list(found)
            except (Dropped, ToolError) as reason:
                yield [Event("", "dropped", {"reason": str(reason)})]
                return


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


async def _together(
    inside: Inside, connection: HTTPConnection, subscription: Subscription, job: Job | None
) -> AsyncGenerator[list[Event], None]:
    """Events, and between them a log that is followed."""
    if job is None:
        async for events in told(inside, connection, subscription):
            yield events
        return
    queue: asyncio.Queue[list[Event]] = asyncio.Queue(1)

    async def pump(source: AsyncGenerator[Any, None]) -> None:
        async with aclosing(source) as several:
            async for one in several:
                await queue.put(one if isinstance(one, list) else [one])

    sources = (
        told(inside, connection, subscription),
        log_of(inside.gate, subscription.caller, job),
    )
    tasks = [asyncio.create_task(pump(source)) for source in sources]
    try:
        while not (tasks[0].done() and queue.empty()):
            yield await queue.get()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# ---- server-sent events


class _Stream(StreamingResponse):
    """One that does not wait for ever for a reader who takes nothing."""

    async def stream_response(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(STALL_S) as limit:

                async def in_time(message: Any) -> None:
                    await send(message)
                    # Not with each: to move a timer costs as much as to tell an event.
                    if (end := loop.time() + STALL_S) - (limit.when() or 0) > BEAT_S / 2:
                        limit.reschedule(end)

                await super().stream_response(in_time)


async def events(inside: Inside, request: Request) -> Response:
    caller = await caller_of(inside, request)
    asked = _in_query(request)
    assert inside.events is not None
    subscription = Subscription(inside.events, caller, asked.types, asked.last_event_id)

    async def body() -> AsyncIterator[bytes]:
        yield f"retry: {AGAIN_MS}\nid: {subscription.position}\n\n".encode()
        several = _together(inside, request, subscription, asked.follow)
        async with aclosing(several):
            async for found in several:
                beat = f"id: {subscription.position}\n: \n\n".encode()
                yield b"".join(event.lines for event in found) or beat

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return _Stream(body(), 200, headers, "text/event-stream")


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
    subscription = Subscription(inside.events, caller, asked.types, since)
    telling = asyncio.create_task(_tell(inside, socket, subscription, asked.follow))
    leaving = asyncio.create_task(_left(socket))
    try:
        await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (telling, leaving):
            task.cancel()
        await asyncio.gather(telling, leaving, return_exceptions=True)


async def _tell(
    inside: Inside, socket: WebSocket, subscription: Subscription, job: Job | None
) -> None:
    hello = {"event": "hello", "id": subscription.position, "data": {}}
    with suppress(TimeoutError, WebSocketDisconnect):
        await _sent(socket, json.dumps(hello))
        async for found in _together(inside, socket, subscription, job):
            for event in found:
                await _sent(socket, event.message)
                if event.kind == "dropped":
                    await socket.close(TRY_AGAIN_LATER, _short(str(event.data["reason"])))
                    return
            if not found:
                beat = {"event": "heartbeat", "id": subscription.position, "data": {}}
                await _sent(socket, json.dumps(beat))


async def _sent(socket: WebSocket, text: str) -> None:
    async with asyncio.timeout(STALL_S):
        await socket.send_text(text)


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


async def _left(socket: WebSocket) -> None:
    """Until the client goes. What else it says is heard and means nothing."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _short(reason: str) -> str:
    """As much as a closing frame can hold."""
    return reason.encode()[:120].decode(errors="ignore")
