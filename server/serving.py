"""Listening: an ASGI application on a TCP address or on a Unix socket, in the running loop."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.events import WIRE
from tools.errors import Code, ToolError

BACKLOG = 2048
KEEP_ALIVE_S = 30
LEEWAY_S = 6.0
# How long a request may take to come in, from its first byte (or the connection) to its last.
REQUEST_S = 30.0
# What the kernel takes as the path of a socket.
MOST_PATH = 100


class _Server(uvicorn.Server):
    """Signals are the application's: it has more to stop than this."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Protocol(H11Protocol):
    """Whoever connects and says nothing, or says it a byte at a time, is not waited for: there are
    only so many connections. The connection is handed on: what is told to a thousand at once does
    not go through all layers for each of them."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = self.loop.call_later(REQUEST_S, transport.close)
        self.app_state = {**self.app_state, WIRE: transport}

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        coming = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        if self._late and not coming:
            self._late.cancel()
            self._late = None
        elif coming and not self._late:
            self._late = self.loop.call_later(REQUEST_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._late:
            self._late.cancel()
        super().connection_lost(exc)


def listen(host: str, port: int) -> socket.socket:
    """A TCP socket. Raises `ToolError` where the address cannot be had."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Its protocol is named, or asyncio would not switch off Nagle's delay: 40 ms an answer.
        listener = socket.socket(*found[:3])
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
        listener.listen(BACKLOG)
    except OSError as error:
        why = "something else listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Cannot listen on {host}:{port}: {why}.",
            "Stop that, or name another with --port (0 takes a free one).",
        ) from None
    return listener


def listen_here(path: Path) -> socket.socket:
    """A Unix socket that only this user can reach. Whoever calls holds the state's lock, so one
    that is there already was left behind."""
    if len(os.fsencode(path)) > MOST_PATH:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"The path of the state directory is too long for a socket in it: {path.parent}.",
            "Name one of fewer than 80 characters with --state.",
        )
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return listener


@asynccontextmanager
async def served(
    app: Any, listener: socket.socket, grace_s: float, tls: Mapping[str, Any] | None = None
) -> AsyncIterator["Serving"]:
    """Serves while it is entered. On leaving, what is under way may take `grace_s` to end, and a
    little more to be told that it goes on. `tls` is what `server.tls.options` makes."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        ws=_websocket,  # type: ignore[arg-type]  # called as a class is
        ws_per_message_deflate=False,  # what is sent is small, and made once for many
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(grace_s + LEEWAY_S),
        **{"http": Protocol, **(tls or {})},
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not task.done():  # noqa: ASYNC110  a few turns of the loop
        await asyncio.sleep(0)
    serving = Serving(server, task, listener)
    try:
        yield serving
    finally:
        serving.refuse()
        with suppress(asyncio.CancelledError):
            await task
        listener.close()


def _websocket(**given: Any) -> Any:
    """What serves a connection that is to be a WebSocket; loaded with the first of them."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    return WebSocketsSansIOProtocol(**given)


class Serving:
    def __init__(
        self, server: uvicorn.Server, task: "asyncio.Task[None]", listener: socket.socket
    ) -> None:
        self._server = server
        self.task = task
        self.address = listener.getsockname()

    def refuse(self) -> None:
        """Take no more connections; those that are there may end."""
        self._server.should_exit = True
