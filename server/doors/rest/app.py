"""The application: its routes, and what it says when something is wrong."""

from functools import partial

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from server.doors import live
from server.doors.http import broken, problem, too_large
from server.doors.rest.calling import NDJSON, call_tool
from server.doors.rest.description import description
from server.doors.rest.inside import Inside, Local, caller_of
from server.doors.rest.pages import PAGES
from tools.errors import Code, ToolError

# Smaller answers gain nothing by it.
GZIP_FROM = 1500
EXPOSED = ("ETag", "Location", "Retry-After", "X-Request-Id")


def rest_app(inside: Inside) -> FastAPI:
    # The framework's own pages load scripts from elsewhere; the description itself is served.
    app = FastAPI(
        title="Pilothouse",
        version=inside.version,
        docs_url=None,
        redoc_url=None,
        max_body_size=inside.most_body,
    )
    app.openapi = partial(description, inside.version)  # type: ignore[method-assign]
    app.add_exception_handler(ToolError, _tool_error)
    app.add_exception_handler(HTTPException, _no_such_page)
    app.add_exception_handler(Exception, _fault)
    # Lines are to arrive as they are told, and not when enough of them came together.
    lines = (*DEFAULT_EXCLUDED_CONTENT_TYPES, NDJSON)
    app.add_middleware(
        GZipMiddleware, minimum_size=GZIP_FROM, compresslevel=5, exclude_content_types=lines
    )
    if inside.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(inside.origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    _add_probes(app, inside)
    if inside.local:
        _add_local(app, inside.local)

    @app.get("/api/v1/caller")
    async def caller(request: Request) -> Response:
        known = await caller_of(inside, request)
        return JSONResponse(known.model_dump(mode="json", exclude_defaults=True))

    @app.get("/api/v1/tools")
    async def tools(request: Request) -> Response:
        shown = await inside.gate.tools(await caller_of(inside, request))
        return JSONResponse({"tools": [info.model_dump(mode="json") for info in shown]})

    app.add_route("/api/v1/tools/{name}", partial(call_tool, inside), ["POST"])
    if inside.events:
        followed = WebSocketRoute("/ws", partial(live.websocket, inside))
        streamed = Route("/api/v1/events", live.Events(inside), methods=["GET"])
        app.router.routes.extend((streamed, followed))
    for one in PAGES:
        app.add_route(one.path, partial(one.serve, inside), [one.method])
    return app


def _add_probes(app: FastAPI, inside: Inside) -> None:
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


def _add_local(app: FastAPI, local: Local) -> None:
    @app.get("/local")
    async def about() -> Response:
        return JSONResponse(local.about())

    @app.post("/local/hand-over")
    async def hand_over() -> Response:
        return JSONResponse({"handed_over": await local.hand_over()})

    @app.post("/local/backup")
    async def backup() -> Response:
        return JSONResponse({"file": str(await local.backup())})

    @app.post("/local/rotate-key")
    async def rotate_key() -> Response:
        return JSONResponse({"values": await local.rotate_key()})


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
