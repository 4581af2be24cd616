"""The commands that stay: `serve` and `mcp`."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from server.commands.running import caller
from tools.calls import Gate
from tools.errors import Code, ToolError

if TYPE_CHECKING:
    from server.app import App
    from server.settings import Settings

HAND_OVER_S = 25.0
HAND_OVER = "/local/hand-over"
# MCP clients kill a process that is still there a few seconds after they closed its stdin.
MCP_GRACE_S = 1.0


async def serve(**options: Any) -> int:
    import structlog

    from server.logs import set_up
    from server.settings import load

    tls = {name: options.pop(f"tls_{name}", None) for name in ("cert", "key")}
    tls["client_ca"] = options.pop("client_ca", None)
    given = {name: str(path) for name, path in tls.items() if path}
    settings = load(**options, tls=given or None)
    set_up(settings)
    stop = stop_signals()
    with suppress(asyncio.CancelledError):
        starting = cancelled_at(stop)
        async with serving(settings) as (_, url):
            starting.cancel()
            structlog.get_logger("pilothouse").info(
                "serving", mcp=f"{url}/mcp", rest=f"{url}/api/v1/tools", state=str(settings.state)
            )
            await stop.wait()
    # A thread that AWS keeps waiting is not waited for.
    sys.stdout.flush()
    os._exit(0)


def stop_signals() -> asyncio.Event:
    """Set by SIGTERM or Ctrl-C; a second one ends the process as it stands."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    return stop


def cancelled_at(stop: asyncio.Event) -> "asyncio.Task[None]":
    """Cancels who calls this when it is time to stop, unless it is cancelled before."""
    me = asyncio.current_task()
    assert me is not None

    async def cancel() -> None:
        await stop.wait()
        me.cancel()

    return asyncio.create_task(cancel())


@asynccontextmanager
async def serving(settings: "Settings") -> "AsyncIterator[tuple[App, str]]":
    """The application, and the URL that it is served at. Raises `ToolError`."""
    from server.app import guarded, hosts
    from server.chat import slack_of
    from server.connection import owning
    from server.doors.mcp_serving import HttpDoor
    from server.serving import listen, served

    async def keep() -> bool:
        return False  # a server does not give its state away

    if settings.tls.cert:
        from server.tls import WithToken, check, options

        check(settings.tls)
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        port = listener.getsockname()[1]
        scheme = "https" if settings.tls.cert else "http"
        url = f"{scheme}://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{port}"
        seat = await _seat(settings)
        app = await stack.enter_async_context(owning(settings, seat, keep, url))
        if not settings.loopback and not (app.identity.any() or settings.oidc.issuer):
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"Anybody could reach {settings.host}, and there is no token yet.",
                "Make one first: pilothouse token create --subject NAME --operator",
            )

        async def who(token: str) -> Any:
            return await app.who(token, "mcp", local=False)

        door = HttpDoor(
            app.gate,
            who,
            hosts=hosts(settings),
            origins=settings.allowed_origins,
            url=f"{(settings.public_url or url).rstrip('/')}/mcp",
            issuers=[settings.oidc.issuer] if settings.oidc.issuer else [],
            most_body=settings.limits.body_kb * 1024,
            plans=tuple(settings.all_tiers.tiers),
            state_keys=[await app.state_key()],
        )
        await stack.enter_async_context(door.run())
        rest = app.http()
        if slack := await stack.enter_async_context(slack_of(app)):
            rest.router.routes.extend(slack.routes(app.rates.stranger))
        http = _with_mcp(rest, door.routes)
        grace = settings.limits.grace_s
        http = guarded(http, settings, app.rates)
        tls: dict[str, Any] = {}
        if settings.tls.cert:
            tls, http = options(settings.tls, app.identity.certificates), WithToken(http)
        serving = await stack.enter_async_context(served(http, listener, grace, tls))
        stack.enter_context(_settled_memory())
        try:
            yield app, url
        finally:
            serving.refuse()
            await app.stop()


def _with_mcp(rest: Any, routes: Any) -> Any:
    """Calls over MCP go past the layers that REST's framework puts around its routes: they would
    make each a tenth longer."""
    from starlette.routing import Match

    rest.router.routes.extend(routes)
    endpoint = routes[0]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and endpoint.matches(scope)[0] is Match.FULL:
            await endpoint.app(scope, receive, send)
        else:
            await rest(scope, receive, send)

    return app


@contextmanager
def _settled_memory() -> Iterator[None]:
    """What was loaded to serve stays while it serves: Python need not look through all of it for
    garbage again and again, which it does the more often the more calls there are at once."""
    import gc

    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def _seat(settings: "Settings") -> Any:
    """The lock on the state; an MCP client's process that has it is asked to hand it over."""
    import structlog

    from server.remote import RemoteGate
    from server.seat import SOCKET, Seat

    if seat := Seat.take(settings.state):
        return seat
    log = structlog.get_logger("pilothouse")
    log.info("waiting for the process that has the state", state=str(settings.state))
    asked, about = False, {}
    # One that is stopping may take its grace, which is ours as a rule.
    end = time.monotonic() + HAND_OVER_S + settings.limits.grace_s
    while (seat := Seat.take(settings.state)) is None:
        if not asked:
            remote = RemoteGate(settings.state / SOCKET)
            with suppress(ToolError):  # it is not there yet, or no more
                there = await remote.get("/local")
                asked = there["stopping"] or (await remote.post(HAND_OVER))["handed_over"]
                about = there
            await remote.close()
        if about and not asked:
            at = f", at {about['url']}" if about.get("url") else ""
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"Another server has the state in {settings.state} (process {about['pid']}{at}).",
                "Use that one, or name another --state directory.",
            )
        if time.monotonic() > end:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"Another process holds the state in {settings.state} and does not let it go.",
                "Stop it, or name another --state directory.",
            )
        await asyncio.sleep(0.02)
    return seat


async def mcp(*, token: str | None, url: str | None, **options: Any) -> int:
    """MCP over stdio. Nothing heavy is imported before the first tools are listed."""
    from server.doors.mcp_serving import serve_stdio
    from server.settings import load

    settings = load(**options)
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    toolsets = None if settings.toolsets is None else frozenset(settings.toolsets)
    me = caller(door="mcp", agent=True, read_only=settings.read_only, toolsets=toolsets)

    @asynccontextmanager
    async def make_gate() -> AsyncIterator[Gate]:
        from server.app import check_toolsets
        from server.commands.running import connected
        from server.logs import set_up

        set_up(settings, least="warning")
        check_toolsets(settings)
        async with connected(token=token, url=url, most_grace_s=MCP_GRACE_S, **options) as gate:
            yield gate

    with suppress(asyncio.CancelledError):
        # What a door says of itself from afar is not believed.
        asks = not (url or os.environ.get("PILOTHOUSE_URL"))
        await serve_stdio(make_gate, me, plans=tuple(settings.all_tiers.tiers), asks=asks)
    # The SDK's reader thread waits for a line that will not come.
    sys.stdout.flush()
    os._exit(0)
