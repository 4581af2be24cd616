"""The practice cluster as a whole: started, asked for its address, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from .api import Api
from .clock import Clock
from .controllers import Controllers
from .controllers.namespaces import furnish
from .door import Door
from .faults import Faults
from .identity import ADMIN, User, users_by_token
from .kubelet import Kubelet
from .practice import snapshot
from .scheduler import Scheduler
from .seeds import default_nodes, plant
from .store import Event
from .world import Timings, World

Object = dict[str, Any]


class PracticeCluster:
    """A Kubernetes API in memory, on a port of this machine's loopback.

    `tokens` says who holds which bearer token (a name, or a `User` with groups); the token `admin`
    is always there. `speed` is how many of its seconds pass in a real one; with 0 only
    `clock.step` moves it on.
    """

    def __init__(
        self,
        port: int = 0,
        tokens: Mapping[str, User | str] | None = None,
        speed: float = 1.0,
        *,
        timings: Timings | None = None,
        nodes: list[Object] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.port = port
        self.host = host
        self.users = users_by_token({"admin": ADMIN, **(tokens or {})})
        self.clock = Clock(speed)
        self.faults = Faults()
        self.api = Api(self.clock)
        self._timings = timings or Timings()
        self._nodes = default_nodes() if nodes is None else nodes
        self._connections: dict[tuple[str, int], asyncio.Transport] = {}

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def kubeconfig(self, user: str = "admin", path: str | Path | None = None) -> Object:
        """A kubeconfig for the holder of a token, also written to `path`."""
        config: Object = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "practice",
            "clusters": [{"name": "practice", "cluster": {"server": self.url}}],
            "users": [{"name": user, "user": {"token": user}}],
            "contexts": [{"name": "practice", "context": {"cluster": "practice", "user": user}}],
        }
        if path is not None:
            target = Path(path)
            target.touch(mode=0o600)
            target.write_text(yaml.safe_dump(config, sort_keys=False))
        return config

    def snapshot(self) -> dict[str, list[Object]]:
        """All objects, by kind."""
        return snapshot(self.api)

    async def __aenter__(self) -> PracticeCluster:
        """Start, and return once it answers."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Fill the store, start the controllers and listen."""
        self._loop = asyncio.get_running_loop()
        self.world = World(self.api, self.clock, self._timings)
        self.api.store.listen(self._serve_definitions)
        self.api.store.listen(self._furnish)
        plant(self.api, self._nodes)
        self._scheduler = Scheduler(self.world)
        self._kubelet = Kubelet(self.world)
        self._controllers = Controllers(self.world)
        self._controllers.start()
        self.api.store.compact()
        door = Door(self.api, self.users, self._kubelet, self.faults, self._drop)
        await self._listen(door)

    async def stop(self) -> None:
        """Stop listening, and everything that runs."""
        self.api.store.close()
        for transport in list(self._connections.values()):
            transport.abort()
        # One turn for the connections to notice, so that nobody waits for them.
        await asyncio.sleep(0)
        self._server.stopping.set()
        await self._serving
        await self._controllers.stop()
        await self._kubelet.stop()
        self.clock.stop()

    def step(self, seconds: float) -> None:
        """Move the cluster's time on, from whatever thread."""
        self._loop.call_soon_threadsafe(self.clock.step, seconds)

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[PracticeCluster]:
        """Run in a thread of its own, for tests that are not async."""
        started: Future[None] = Future()
        done = asyncio.Event()

        async def main() -> None:
            async with self:
                started.set_result(None)
                await done.wait()

        def run() -> None:
            try:
                asyncio.run(main())
            except BaseException as wrong:
                if started.done():
                    raise
                started.set_exception(wrong)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        started.result()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(done.set)
            thread.join()

    async def _listen(self, door: Door) -> None:
        # Its protocol is named, or asyncio would not switch off Nagle's delay: 40 ms an answer.
        listener = socket.socket(proto=socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            door,
            log_level="warning",
            access_log=False,
            lifespan="off",
            date_header=False,
            http=self._protocol(),
            timeout_graceful_shutdown=1,
            # A client that comes back after a pause must not find its connection just closed.
            timeout_keep_alive=600,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            if self._serving.done():
                await self._serving
            await asyncio.sleep(0.005)

    def _protocol(self) -> type[H11Protocol]:
        connections = self._connections

        class Droppable(H11Protocol):
            """Remembers its connection, so that a fault can drop it."""

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                self._peer = transport.get_extra_info("peername")
                connections[self._peer] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                connections.pop(self._peer, None)
                super().connection_lost(exc)

        return Droppable

    def _drop(self, scope: Scope) -> None:
        if transport := self._connections.get(tuple(scope["client"])):
            transport.abort()

    def _serve_definitions(self, event: Event) -> None:
        if event.record.kind.kind == "CustomResourceDefinition":
            if event.type == "DELETED":
                self.api.kinds.forget(event.record.object)
            else:
                self.api.kinds.define(event.record.object)

    def _furnish(self, event: Event) -> None:
        # At once, so that a pod made right after its namespace finds its ServiceAccount.
        if event.record.kind.kind == "Namespace" and event.type == "ADDED":
            furnish(self.world, event.record.object["metadata"]["name"])


class _Server(uvicorn.Server):
    """Stops when it is told to, and not at the next tick of a clock."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for the end; connections are served meanwhile."""
        await self.stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the cluster."""
        yield
