"""What every HTTP door shares: problems (RFC 9457), and a guard around the application."""

import json
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable
from http import HTTPStatus
from typing import Any

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from tools.calls import Problem
from tools.errors import Code, ToolError

log = structlog.get_logger(__name__)

STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.FAILED_PRECONDITION: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.DEADLINE_EXCEEDED: 504,
    Code.UNAVAILABLE: 503,
    Code.INTERNAL: 500,
}
RETRY_S = 5  # where a backend did not say
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# A prober calls these by whatever address it finds the process under; they say nothing of anybody.
OPEN = frozenset({"/health", "/ready", "/metrics"})
Rate = Callable[[str, str, str], Awaitable[None]]
REQUEST_ID = re.compile(r"[\w.:-]{1,64}")


def problem(error: Problem | ToolError, status: int | None = None, **members: Any) -> Response:
    """An error as `application/problem+json`, with our code and hint."""
    if isinstance(error, ToolError):
        error = Problem.of(error)
    status = status or STATUS[error.code]
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = str(max(1, round(error.retry_after or RETRY_S)))
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code.value,
        "hint": error.hint,
    }
    return JSONResponse(body | members, status, headers, "application/problem+json")


def too_large() -> Response:
    hint = "Send less, or raise the setting limits.body_kb."
    return problem(ToolError(Code.INVALID_ARGUMENT, "The request is too large.", hint), 413)


def broken() -> Response:
    """What is said of a fault of our own: nothing but where to find it in the log."""
    request_id = structlog.contextvars.get_contextvars().get("request", "")
    hint = f"The server's log has it as {request_id}."
    return problem(ToolError(Code.INTERNAL, "Something broke down.", hint))


class Guard:
    """Around the whole application: request ids, Host and Origin, and an answer that says
    nothing of our insides when something breaks."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str] | None,
        origins: Collection[str],
        most_body: int,
        rate: Rate | None = None,
    ) -> None:
        """`hosts` without ports; None is for a socket that only its owner can reach. `rate` is
        handed the address, the method and the path, and raises for an address that asks too
        often."""
        self.app = app
        self.hosts = hosts
        self.origins = origins
        self.most_body = most_body
        self.rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope.get("headers", ()))
        if scope["type"] == "websocket" and (refused := await self._refused(scope, headers)):
            await WebSocket(scope, receive, send).send_denial_response(refused)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = message.get("headers", [])
                names = {name for name, _ in own}
                message["headers"] = [*own, *(e for e in _extra(request_id) if e[0] not in names)]
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request_id):
            if refused := await self._refused(scope, headers):
                await refused(scope, receive, send_on)
                return
            try:
                await self.app(scope, receive, send_on)
            except ClientDisconnect:
                pass  # who leaves in the middle of a request is told nothing
            except Exception:
                log.exception("request failed", path=scope["path"])
                if not started:
                    await broken()(scope, receive, send_on)

    async def _refused(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        path = scope["path"]
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.most_body:
            return too_large()
        if path in OPEN or self.hosts is None:
            return None
        host = _bare(headers.get("host", ""))
        if host not in self.hosts:
            return problem(
                ToolError(
                    Code.PERMISSION_DENIED,
                    f"This server is not called {host[:80]!r}.",
                    "Call it by its own name, or add that one to the setting allowed_hosts.",
                ),
                421,
            )
        origin = headers.get("origin")
        own = {f"{scheme}://{headers.get('host', '')}" for scheme in ("http", "https")}
        if origin and origin not in self.origins and origin not in own:
            return problem(
                ToolError(
                    Code.PERMISSION_DENIED,
                    f"Pages of {origin[:80]!r} may not call this server.",
                    "Add the origin to the setting allowed_origins, if they should.",
                )
            )
        if self.rate and (client := scope.get("client")):
            try:
                await self.rate(client[0], scope.get("method", "GET"), path)
            except ToolError as error:
                return problem(error)
        return None


def _extra(request_id: str) -> Iterable[tuple[bytes, bytes]]:
    return (
        (b"x-request-id", request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    )


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}


def _bare(host: str) -> str:
    """A Host without its port: `[::1]:8000` is `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def line(value: Any) -> bytes:
    """One line of `application/x-ndjson`."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
