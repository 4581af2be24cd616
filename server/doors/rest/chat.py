"""The conversation over HTTP: `POST /api/v1/chat` answers when the turn is over, or with
`Accept: text/event-stream` event by event (`chatops/conversation.py` has the events). Who hangs up
ends the turn; what it asked for goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from chatops.conversation import Conversations, Done, Event, Reply, Turn
from server.doors.http import problem
from server.doors.rest.calling import body_of, page
from server.doors.rest.inside import Inside, caller_of
from tools.errors import Code, ToolError
from tools.schemas import compact

SSE = "text/event-stream"
# A line that says nothing, so that nobody on the way takes a long call for a dead connection.
ALIVE_S, ALIVE = 15.0, b": still here\n\n"


class Message(BaseModel):
    """What somebody says; `context` is what they look at, `conversation` goes on with one."""

    model_config = ConfigDict(extra="forbid")
    message: str = Field(min_length=1, max_length=32_000)
    context: str = Field("", max_length=32_000)
    conversation: str = Field("", max_length=64)


class Said(Message):
    """The same in chat, where a conversation goes by the thread that it is in."""

    thread: str = Field("", max_length=200)


class Turns(BaseModel):
    conversation: str
    turns: list[Turn]


class Cancelled(BaseModel):
    cancelled: bool


MESSAGE = compact(Message.model_json_schema())
REPLY = compact(Reply.model_json_schema(mode="serialization"))
TURNS = compact(Turns.model_json_schema(mode="serialization"))
CANCELLED = compact(Cancelled.model_json_schema(mode="serialization"))


async def ask(inside: Inside, request: Request) -> Response:
    caller = await caller_of(inside, request)
    said = _message(Said if inside.spoken_for else Message, await body_of(request))
    events = conversations(inside).ask(
        caller,
        said.message,
        conversation=said.conversation,
        thread=said.thread if isinstance(said, Said) else "",
        context=said.context,
    )
    first = await anext(events)  # what is wrong from the start gets a status of its own
    if SSE in request.headers.get("accept", ""):
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_told(first, events), 200, headers, SSE)
    reply = await _over(request, events)
    body = reply.model_dump(mode="json", exclude_none=True)
    return problem(reply.error, reply=body) if reply.error else JSONResponse(body)


async def show(inside: Inside, request: Request) -> Response:
    caller = await caller_of(inside, request)
    id = request.path_params["id"]
    turns = Turns(conversation=id, turns=list(await conversations(inside).turns(caller, id)))
    return page(request, turns.model_dump(mode="json", exclude_none=True))


async def cancel(inside: Inside, request: Request) -> Response:
    caller = await caller_of(inside, request)
    ended = await conversations(inside).cancel(caller, request.path_params["id"])
    return JSONResponse(Cancelled(cancelled=ended).model_dump())


def conversations(inside: Inside) -> Conversations:
    if inside.conversations is None:
        raise ToolError(Code.FAILED_PRECONDITION, "There is no agent here.", "Call the tools.")
    return inside.conversations


def _message(kind: type[Message], body: dict[str, Any]) -> Message:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))[:64]
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{where}: {fault['msg']}.",
            'Send {"message": "…"}, and if you like "context" and "conversation".',
        ) from None


async def _told(first: Event, events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    yield _sse(first)
    async with aclosing(events):  # type: ignore[type-var]
        coming = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                await asyncio.wait([coming], timeout=ALIVE_S)
                if not coming.done():
                    yield ALIVE
                    continue
                event = coming.result()
                if event is None:
                    return
                yield _sse(event)
                coming = asyncio.ensure_future(anext(events, None))
        finally:
            coming.cancel()
            await asyncio.wait([coming])


async def _over(request: Request, events: AsyncIterator[Event]) -> Reply:
    """The end of a turn; it ends when whoever asked has hung up."""

    async def last() -> Reply:
        async with aclosing(events):  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Done):
                    return event.reply
        raise RuntimeError("a turn ended without its last event")

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    turn, hung_up = asyncio.ensure_future(last()), asyncio.ensure_future(gone())
    try:
        await asyncio.wait([turn, hung_up], return_when=asyncio.FIRST_COMPLETED)
        if not turn.done():
            turn.cancel()
            with suppress(asyncio.CancelledError):
                return await turn
            return Reply(conversation="", stopped="cancelled")
        return turn.result()
    finally:
        hung_up.cancel()
        turn.cancel()


def _sse(event: Event) -> bytes:
    return f"event: {event.type}\ndata: {event.model_dump_json(exclude_none=True)}\n\n".encode()
