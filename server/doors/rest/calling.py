"""Calling: every tool at `POST /api/v1/tools/{name}`.

A call answers its outcome: 200 when it is done, 202 while it waits or runs, and a problem when it
failed. With `Accept: application/x-ndjson` it answers line by line: `{"progress": …}` as it goes
on, and `{"outcome": …}` at the end. A tool that streams answers `{"piece": …}`, and `{"error": …}`
where it breaks off.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from server.doors.http import line, problem
from server.doors.rest.inside import Inside, caller_of
from server.plain import fit_key
from tools.calls import Caller, Gate, Outcome, Problem
from tools.errors import Code, ToolError
from tools.tool import Effect, catalog

NDJSON = "application/x-ndjson"
MOST_WAIT_S = 600.0
FOLLOW = "/api/v1/calls/{id}"


async def call_tool(inside: Inside, request: Request) -> Response:
    name = request.path_params["name"]
    known = await caller_of(inside, request, name)
    arguments = await body_of(request)
    tool = catalog().get(name)
    if tool and tool.effect is Effect.STREAM:
        return await _stream(inside.gate, known, name, arguments)
    options = options_of(request)
    if NDJSON in request.headers.get("accept", ""):
        lines = _lines(inside.gate, known, name, arguments, options)
        return StreamingResponse(lines, media_type=NDJSON)
    return answer(await inside.gate.call(known, name, arguments, **options))


def answer(outcome: Outcome) -> Response:
    """An outcome as an HTTP answer; where it has a call, with where to follow that."""
    body = outcome.model_dump(mode="json", exclude_defaults=True) | {"state": outcome.state.value}
    if outcome.error:
        return problem(outcome.error, outcome=body)
    headers = {"Location": FOLLOW.format(id=outcome.call_id)} if outcome.call_id else {}
    status = 200 if outcome.state.ended or not outcome.call_id else 202
    return JSONResponse(body, status, headers)


def page(request: Request, body: Any) -> Response:
    """An answer that is polled: who has it already is told so, and not sent it again."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    headers = {
        "ETag": f'W/"{hashlib.blake2b(text, digest_size=12).hexdigest()}"',
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization, Cookie",
    }
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    if headers["ETag"] in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(text, 200, headers, "application/json")


async def _stream(gate: Gate, caller: Caller, name: str, arguments: Mapping[str, Any]) -> Response:
    pieces = gate.stream(caller, name, arguments)
    # What is wrong from the start gets a status of its own.
    first = await anext(pieces, None)

    async def body() -> AsyncIterator[bytes]:
        try:
            if first is not None:
                yield line({"piece": first})
            async for piece in pieces:
                yield line({"piece": piece})
        except ToolError as error:
            yield line({"error": Problem.of(error).model_dump(mode="json")})
        finally:
            if close := getattr(pieces, "aclose", None):
                await close()

    return StreamingResponse(body(), media_type=NDJSON)


async def _lines(
    gate: Gate,
    caller: Caller,
    name: str,
    arguments: Mapping[str, Any],
    options: Mapping[str, Any],
) -> AsyncIterator[bytes]:
    told: asyncio.Queue[bytes] = asyncio.Queue(100)

    async def progress(message: str, done: float | None, total: float | None) -> None:
        with suppress(asyncio.QueueFull):  # a client that reads slowly misses lines
            told.put_nowait(line({"progress": {"message": message, "done": done, "total": total}}))

    call = asyncio.ensure_future(gate.call(caller, name, arguments, progress=progress, **options))
    try:
        while not call.done() or not told.empty():
            waiting = asyncio.ensure_future(told.get())
            await asyncio.wait((call, waiting), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                yield waiting.result()
            else:
                waiting.cancel()
        outcome = call.result()
        yield line({"outcome": outcome.model_dump(mode="json", exclude_defaults=False)})
    finally:
        call.cancel()  # who has gone need not be waited for; what is carried out goes on


async def body_of(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        arguments = json.loads(body) if body.strip() else {}
    except ValueError as error:
        raise ToolError(
            Code.INVALID_ARGUMENT, f"The body is not JSON: {error}.", "Send a JSON object."
        ) from None
    except RecursionError:
        raise ToolError(
            Code.INVALID_ARGUMENT, "The body is nested too deeply.", "Send less deep JSON."
        ) from None
    if not isinstance(arguments, dict):
        raise ToolError(
            Code.INVALID_ARGUMENT,
            "The body is to be a JSON object: the tool's arguments by name.",
            "GET /api/v1/tools shows each tool's input_schema.",
        )
    return arguments


def options_of(request: Request) -> dict[str, Any]:
    """The idempotency key, and of the query `preview` and `wait`. Raises `ToolError`."""
    asked = dict(request.query_params)
    preview = asked.pop("preview", "false").lower()
    wait = asked.pop("wait", "")
    key = request.headers.get("idempotency-key") or None
    if asked:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"Unknown in the query: {', '.join(sorted(asked))[:200]}.",
            "`preview` and `wait` go there; a tool's arguments go into the body.",
        )
    if preview not in ("true", "1", "false", "0"):
        raise ToolError(
            Code.INVALID_ARGUMENT, "`preview` is true or false.", "Leave it out to go ahead."
        )
    try:
        wait_s = float(wait) if wait else None
    except ValueError:
        wait_s = -1
    if wait_s is not None and not 0 <= wait_s <= MOST_WAIT_S:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"`wait` is 0 to {MOST_WAIT_S:.0f} seconds.",
            "For longer, call call_wait again and again.",
        )
    return {"key": fit_key(key), "preview": preview in ("true", "1"), "wait_s": wait_s}
