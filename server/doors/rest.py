"""The REST door: every tool at `POST /api/v1/tools/{name}`, and what a platform asks of a server.

A call answers its outcome: 200 when it is done, 202 while it waits or runs, and a problem when it
failed. With `Accept: application/x-ndjson` it answers line by line: `{"progress": …}` as it goes
on, and `{"outcome": …}` at the end. A tool that streams answers `{"piece": …}`, and `{"error": …}`
where it breaks off.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse

from server.doors.http import broken, line, problem, too_large
from server.plain import fit_key
from tools.calls import AGENT_DOORS, Caller, Gate, Outcome, Problem, ToolInfo
from tools.errors import Code, ToolError
from tools.tool import Effect, catalog

NDJSON = "application/x-ndjson"
MOST_WAIT_S = 600.0

# Who calls, by token, door and tool: None where that is nobody.
Who = Callable[[str, str, str], Awaitable[Caller | None]]


@dataclass
class Inside:
    """What the door is handed: the gate, and how to ask after the process it stands in.

    `ready` gives, for each backend, `ok`, `ms` and perhaps `error`. `local` has what only a
    socket of this user's is told (and does).
    """

    gate: Gate
    who: Who
    ready: Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]]
    metrics: Callable[[], Awaitable[bytes]]
    version: str
    most_body: int = 1 << 20
    local: "Local | None" = None


@dataclass
class Local:
    """For the other processes of the same user: who holds the state, and to ask for it."""

    about: Callable[[], dict[str, Any]]
    hand_over: Callable[[], Awaitable[bool]]


def rest_app(inside: Inside) -> FastAPI:
    # The framework's own pages load scripts from elsewhere; the description itself is served.
    app = FastAPI(
        title="Pilothouse",
        version=inside.version,
        docs_url=None,
        redoc_url=None,
        max_body_size=inside.most_body,
    )
    app.openapi = lambda: _description(inside.version)  # type: ignore[method-assign]
    app.add_exception_handler(ToolError, _tool_error)
    app.add_exception_handler(HTTPException, _no_such_page)
    app.add_exception_handler(Exception, _fault)

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "healthy"})

    @app.get("/ready")
    async def ready() -> Response:
        checks = await inside.ready()
        fine = all(check["ok"] for check in checks.values())
        body = {"status": "ready" if fine else "not ready", "checks": checks}
        return JSONResponse(body, 200 if fine else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(await inside.metrics(), media_type="text/plain; version=0.0.4")

    @app.get("/api/v1/caller")
    async def caller(request: Request) -> Response:
        known = await _caller(inside, request)
        return JSONResponse(known.model_dump(mode="json", exclude_defaults=True))

    @app.get("/api/v1/tools")
    async def tools(request: Request) -> Response:
        shown = await inside.gate.tools(await _caller(inside, request))
        return JSONResponse({"tools": [info.model_dump(mode="json") for info in shown]})

    @app.post("/api/v1/tools/{name}")
    async def call(request: Request, name: str) -> Response:
        known = await _caller(inside, request, name)
        arguments = await _arguments(request)
        tool = catalog().get(name)
        if tool and tool.effect is Effect.STREAM:
            return await _stream(inside.gate, known, name, arguments)
        options = _options(request)
        if NDJSON in request.headers.get("accept", ""):
            lines = _lines(inside.gate, known, name, arguments, options)
            return StreamingResponse(lines, media_type=NDJSON)
        return answer(await inside.gate.call(known, name, arguments, **options))

    if local := inside.local:

        @app.get("/local")
        async def about() -> Response:
            return JSONResponse(local.about())

        @app.post("/local/hand-over")
        async def hand_over() -> Response:
            return JSONResponse({"handed_over": await local.hand_over()})

    return app


def answer(outcome: Outcome) -> Response:
    """An outcome as an HTTP answer."""
    body = outcome.model_dump(mode="json", exclude_defaults=True) | {"state": outcome.state.value}
    if outcome.error:
        return problem(outcome.error, outcome=body)
    return JSONResponse(body, 200 if outcome.state.ended or not outcome.call_id else 202)


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


async def _caller(inside: Inside, request: Request, tool: str = "") -> Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    door = request.headers.get("x-pilothouse-door", "rest")
    if not inside.local:
        # From afar a door is believed only where it makes the caller less.
        door = next((d for d in AGENT_DOORS if door.startswith(d)), "rest")
    caller = await inside.who(token, door, tool)
    if caller is None:
        raise unknown_caller(token)
    return _narrowed(caller, request)


def unknown_caller(token: str) -> ToolError:
    said = "This token lets nobody in: it is unknown, expired or revoked."
    return ToolError(
        Code.UNAUTHENTICATED,
        said if token else "A token is needed.",
        "An operator makes one with `pilothouse token create`. Set it as PILOTHOUSE_TOKEN, or "
        "send `Authorization: Bearer ph_…`.",
    )


def _narrowed(caller: Caller, request: Request) -> Caller:
    """A connection may ask for less than its token allows."""
    read_only = request.headers.get("x-pilothouse-read-only", "").lower() in ("1", "true", "yes")
    words = request.headers.get("x-pilothouse-toolsets")
    toolsets = frozenset(words.split(",")) if words is not None else None
    return narrow(caller, read_only, toolsets)


def narrow(caller: Caller, read_only: bool, toolsets: frozenset[str] | None) -> Caller:
    if not read_only and toolsets is None:
        return caller
    if toolsets is not None and caller.toolsets is not None:
        toolsets &= caller.toolsets
    return caller.model_copy(
        update={
            "read_only": caller.read_only or read_only,
            "toolsets": caller.toolsets if toolsets is None else toolsets,
        }
    )


async def _arguments(request: Request) -> dict[str, Any]:
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


def _options(request: Request) -> dict[str, Any]:
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


async def _tool_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ToolError)
    return problem(error)


async def _fault(request: Request, error: Exception) -> Response:
    return broken()


async def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 413:
        return too_large()
    code = Code.NOT_FOUND if error.status_code == 404 else Code.INVALID_ARGUMENT
    what = f"There is no {request.method} {request.url.path[:200]}."
    answer = problem(
        ToolError(code, what, "/openapi.json describes what there is."), error.status_code
    )
    answer.headers.update(error.headers or {})
    return answer


def _description(version: str) -> dict[str, Any]:
    """OpenAPI, with a path for every tool."""
    paths = {f"/api/v1/tools/{t.name}": {"post": _operation(t.info())} for t in catalog().values()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pilothouse", "version": version, "description": __doc__},
        "security": [{"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": paths,
    }


def _operation(info: ToolInfo) -> dict[str, Any]:
    def content(schema: dict[str, Any], media: str = "application/json") -> dict[str, Any]:
        return {"content": {media: {"schema": schema}}}

    done = content(info.output_schema) | {"description": "its outcome"}
    return {
        "operationId": info.name,
        "summary": info.title,
        "description": info.description,
        "tags": [info.group],
        "requestBody": content(info.input_schema) | {"required": True},
        "parameters": [
            {"name": "preview", "in": "query", "schema": {"type": "boolean"}},
            {"name": "wait", "in": "query", "schema": {"type": "number", "maximum": MOST_WAIT_S}},
            {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}},
        ],
        "responses": {
            "200": done,
            "202": {"description": "it waits, or still runs"},
            "default": content({"type": "object"}, "application/problem+json")
            | {"description": "a problem"},
        },
    }
