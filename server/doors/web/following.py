"""Logs as they are written, and the small curves of a list."""

from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from markupsafe import Markup
from starlette.responses import Response, StreamingResponse

from server.doors.http import line
from server.doors.web.visits import Visit
from server.doors.web.words import line as curve
from server.doors.web.words import peak
from tools.calls import Problem
from tools.errors import ToolError

TAIL, WHOLE = 200, 5000  # lines
WIDTH, HEIGHT = 120, 24


async def job_log(visit: Visit) -> Response:
    path = visit.request.path_params
    return _follow(visit, "job_logs", tenant=path["tenant"], name=path["name"])


async def workload_log(visit: Visit) -> Response:
    path = visit.request.path_params
    which: dict[str, Any] = {name: path[name] for name in ("tenant", "kind", "name")}
    if container := visit.query("container"):
        which["container"] = container
    if visit.query("previous"):  # the run before the last restart, which has ended
        which |= {"previous": True, "follow": False}
    return _follow(visit, "workload_logs", **which)


def _follow(visit: Visit, tool: str, **which: Any) -> Response:
    """With `follow` lines of JSON, as they are written; else what is there, as text."""
    follows = visit.query("follow") == "1"
    arguments = {"tail_lines": TAIL if follows else WHOLE, "follow": follows} | which

    async def body() -> AsyncIterator[bytes]:
        pieces: Any = visit.web.gate.stream(visit.caller, tool, arguments)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    yield line(piece) if follows else _text(piece)
        except ToolError as error:
            problem = {"error": Problem.of(error).model_dump(mode="json")}
            yield line(problem) if follows else f"{error.message} {error.hint}\n".encode()

    kind = "application/x-ndjson" if follows else "text/plain; charset=utf-8"
    return StreamingResponse(body(), media_type=kind)


def _text(piece: dict[str, Any]) -> bytes:
    if note := piece.get("note"):
        return f"({note})\n".encode()
    return str(piece.get("text", "")).encode()


async def small_usage(visit: Visit) -> Response:
    """What a workload used of CPU in the last day, against what it asks for."""
    path = visit.request.path_params
    which = {name: path[name] for name in ("tenant", "kind", "name")}
    drawn = Markup("")
    with suppress(ToolError):
        usage = await visit.read("workload_usage", **which, last="1d", points=48)
        if containers := usage.get("containers"):
            first = containers[0]
            values, request = first.get("cpu") or [], first.get("cpu_request")
            top = peak(values, request)
            path_of = curve(values, top, WIDTH, HEIGHT)
            drawn += Markup(
                '<path d="{}" fill="none" stroke="#3b82f6" stroke-width="1.5"/>'
            ).format(path_of)
            if request and top:
                at = HEIGHT - HEIGHT * request / top
                drawn += Markup(
                    '<path d="M0 {0:.1f}H{1}" stroke="#b45309" stroke-dasharray="4 3"/>'
                ).format(at, WIDTH)
    svg = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -1 {} {}">{}</svg>').format(
        WIDTH, HEIGHT + 2, drawn
    )
    headers = {"cache-control": "private, max-age=60"}
    return Response(str(svg), media_type="image/svg+xml", headers=headers)


STREAMS = (
    ("/jobs/{tenant}/{name}/log", job_log),
    ("/workloads/{tenant}/{kind}/{name}/log", workload_log),
    ("/workloads/{tenant}/{kind}/{name}/usage.svg", small_usage),
)
