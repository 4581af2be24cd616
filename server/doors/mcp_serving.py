"""How the MCP door is served: streamable HTTP with a bearer token, and stdio."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware, get_access_token
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import (
    StreamableHTTPASGIApp,
    StreamableHTTPSessionManager,
)
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.requests import HTTPConnection
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from server.doors.mcp import Request, mcp_server
from server.doors.mcp_tools import listed_unseen
from tools.calls import Caller, Gate, Outcome, Problem, Progress, State, ToolInfo
from tools.errors import Code, ToolError

log = logging.getLogger(__name__)

# Whose token it is, or None. Asked with "" where there is none: an anonymous caller may be let in.
# Raises `ToolError` saying why somebody is not let in.
Identify = Callable[[str], Awaitable[Caller | None]]
MakeGate = Callable[[], AbstractAsyncContextManager[Gate]]
MOST_BODY = 1 << 20  # bytes of a request
UNQUOTED = str.maketrans('"\\', "''")  # what may not be in a header's quoted word


class HttpDoor:
    """The door over streamable HTTP: `routes` for the application, and `run` for its lifespan.

    It is stateless and answers with event streams where there is progress to tell, which is the
    one mode of the SDK in which progress arrives in both eras.
    """

    def __init__(
        self,
        gate: Gate,
        identify: Identify,
        *,
        hosts: Sequence[str],
        origins: Sequence[str] = (),
        path: str = "/mcp",
        url: str = "",
        issuers: Sequence[str] = (),
        most_body: int = MOST_BODY,
        **options: Any,
    ) -> None:
        """`hosts` are the names that it may be called by, without port, and `origins` the other
        sites that may; a request with another Host (421) or Origin (403) is refused. `url` is where
        clients see it, and `issuers` are the OAuth issuers whose tokens `identify` takes; both are
        told in the resource's metadata. `options` are `mcp_server`'s."""
        server = mcp_server(gate, _token_caller, **options)
        self._manager = StreamableHTTPSessionManager(
            server,
            stateless=True,
            json_response=False,
            security_settings=_security(hosts, origins),
            max_request_body_size=most_body,
        )
        resource = AnyHttpUrl(url) if url and issuers else None
        metadata = build_resource_metadata_url(resource) if resource else None
        app = AuthContextMiddleware(StreamableHTTPASGIApp(self._manager))
        endpoint = _Bearer(app, identify, str(metadata or ""))
        # A stateless server has no stream to open by GET and no session to DELETE: 405.
        self.routes = [Route(path, endpoint, methods=["POST"])]
        if resource:
            told = create_protected_resource_routes(
                resource, [AnyHttpUrl(issuer) for issuer in issuers], resource_name="Pilothouse"
            )
            # Clients that know of no path behind the well-known one ask there.
            whole = Route(told[0].path.removesuffix(path), told[0].endpoint, methods=["GET"])
            self.routes += [*told, whole]

    def run(self) -> AbstractAsyncContextManager[None]:
        """Serves while it is entered; once only."""
        return self._manager.run()


class _CallerToken(AccessToken):
    caller: Caller


class _Bearer:
    """Lets in who has a token, and tells the others what is wrong as RFC 6750 and 9728 have it."""

    def __init__(self, app: ASGIApp, identify: Identify, metadata: str) -> None:
        self._app = app
        self._identify = identify
        self._metadata = metadata

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = HTTPConnection(scope).headers
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        try:
            caller = await self._identify(token)
            if caller is None:
                raise ToolError(
                    Code.UNAUTHENTICATED,
                    "This token lets nobody in: it is unknown, expired or revoked."
                    if token
                    else "A token is needed.",
                    "Send Authorization: Bearer.",
                )
        except ToolError as error:
            await self._refuse(error, bool(token))(scope, receive, send)
            return
        # What is kept of the request names the caller and not the token.
        known = _CallerToken(
            token="", client_id=caller.subject, subject=caller.person, scopes=[], caller=caller
        )
        scope["user"] = AuthenticatedUser(known)
        await self._app(scope, receive, send)

    def _refuse(self, error: ToolError, came_with_one: bool) -> ASGIApp:
        from server.doors.http import problem  # over stdio nobody needs what it brings

        answer = problem(error)
        if error.code is Code.UNAUTHENTICATED:
            said = {"resource_metadata": self._metadata} if self._metadata else {}
            if came_with_one:  # who brings none is told of no error
                told = error.message.encode("ascii", "replace").decode().translate(UNQUOTED)
                said = {"error": "invalid_token", "error_description": told} | said
            pairs = ", ".join(f'{name}="{value}"' for name, value in said.items())
            answer.headers["WWW-Authenticate"] = f"Bearer {pairs}".strip()
        return answer


def _token_caller(ctx: Request) -> Caller:
    token = get_access_token()
    assert isinstance(token, _CallerToken), "_Bearer lets nobody else in"
    return token.caller


def _security(hosts: Sequence[str], origins: Sequence[str]) -> TransportSecuritySettings:
    named = [f"[{host}]" if ":" in host else host for host in hosts]
    own = [f"{scheme}://{host}" for scheme in ("http", "https") for host in named]
    return TransportSecuritySettings(
        allowed_hosts=[form for host in named for form in (host, f"{host}:*")],
        allowed_origins=[*origins, *(form for site in own for form in (site, f"{site}:*"))],
    )


async def serve_stdio(
    make_gate: MakeGate,
    caller: Caller,
    *,
    listed: Callable[[Caller], list[ToolInfo]] = listed_unseen,
    **options: Any,
) -> None:
    """Serve one client over stdin and stdout until it leaves.

    The gate is made when it is first needed and left at the end, in one task of its own; the
    tools are `listed` without it, so that a client is not kept waiting for a cluster.
    `options` are `mcp_server`'s.
    """
    async with anyio.create_task_group() as tasks:
        gate = _LateGate(make_gate, tasks, listed)
        server = mcp_server(gate, lambda ctx: caller, **options)
        try:
            async with stdio_server() as (read, write):
                await server.run(read, write, server.create_initialization_options())
        finally:
            gate.leave.set()


class _LateGate:
    """A gate that is made at the first call. One that cannot be made is tried again at the next."""

    def __init__(
        self,
        make_gate: MakeGate,
        tasks: anyio.abc.TaskGroup,
        listed: Callable[[Caller], list[ToolInfo]],
    ) -> None:
        self.leave = anyio.Event()
        self._listed = listed
        self._make_gate = make_gate
        self._tasks = tasks
        self._making = anyio.Lock()
        self._gate: Gate | None = None

    async def tools(self, caller: Caller) -> list[ToolInfo]:
        return self._listed(caller)

    async def call(
        self,
        caller: Caller,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        key: str | None = None,
        preview: bool = False,
        wait_s: float | None = None,
        progress: Progress | None = None,
    ) -> Outcome:
        try:
            gate = await self._made()
        except ToolError as error:
            return Outcome(state=State.FAILED, tool=tool, error=Problem.of(error))
        return await gate.call(
            caller, tool, arguments, key=key, preview=preview, wait_s=wait_s, progress=progress
        )

    async def stream(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        gate = await self._made()
        async for piece in gate.stream(caller, tool, arguments):
            yield piece

    async def _made(self) -> Gate:
        async with self._making:
            if self._gate is None:
                made = await self._tasks.start(self._hold)
                if isinstance(made, ToolError):
                    raise made
                self._gate = made
            return self._gate

    async def _hold(
        self, *, task_status: anyio.abc.TaskStatus[Any] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Made and left in the same task, as whatever it is made of may want, and left in peace."""
        with anyio.CancelScope(shield=True):
            async with AsyncExitStack() as stack:
                try:
                    gate = await stack.enter_async_context(self._make_gate())
                except ToolError as error:
                    task_status.started(error)
                    return
                task_status.started(gate)
                await self.leave.wait()
