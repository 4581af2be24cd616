"""This process's way to the gate: its own while it owns the state, else the owner's, and its own
again when that one has gone; or a server's elsewhere."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from server.remote import RemoteGate, Unreached
from server.seat import SOCKET, Seat
from server.settings import Settings
from server.streams import stopping
from server.world import asked, must_match, world
from tools.calls import Caller, Outcome, Problem, Progress, State, ToolInfo
from tools.errors import Code, ToolError

if TYPE_CHECKING:
    from server.app import App

# An owner that stops may take its grace to do so, and its successor a second to open the state.
TRY_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
# A call of our own is told in this that it goes on elsewhere; a read may end.
TOLD_S = 5.0
# Who handed the state over does not take it back before the one who asked has it.
STAND_BACK_S = 2.0


class Connection:
    """A `Gate` for one process and one token. What the `Caller` that it is called with says about
    who that is counts for nothing; its door and its restrictions do."""

    def __init__(self, settings: Settings, token: str = "", *, strict: bool = True) -> None:
        """`strict` refuses an owner that works on other clusters than were asked for here."""
        self._settings = settings
        self._token = token
        self._strict = strict
        self._taking = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._app: App | None = None
        self._remote: RemoteGate | None = None
        self._met = False
        self._busy = 0
        self._stand_back = 0.0
        self._over = False
        self._leaving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._over = True
        if self._leaving:
            await self._leaving
        await self._leave()
        if self._remote:
            await self._remote.close()

    async def tools(self, caller: Caller) -> list[ToolInfo]:
        async with self._gate(caller) as (gate, me):
            shown: list[ToolInfo] = await gate.tools(me)
            return shown

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
        """As `Gate.call`. It is sent again, to whoever owns the state next, when its owner stops or
        went away under it: each write has a key, so that it happens once."""
        options: dict[str, Any] = {
            "key": key or secrets.token_hex(12),
            "preview": preview,
            "wait_s": wait_s,
            "progress": progress,
        }
        end = time.monotonic() + TRY_S
        while True:
            try:
                async with self._gate(caller, tool) as (gate, me):
                    ask = gate.ask if isinstance(gate, RemoteGate) else gate.call
                    outcome: Outcome = await ask(me, tool, arguments, **options)
                if self._over or time.monotonic() > end or not _stops(outcome.error):
                    return outcome
                self._met = False
            except Unreached as error:
                if time.monotonic() > end or (error.lost and _decides(tool)):
                    return _failure(tool, error)
                self._met = False
            except ToolError as error:
                return _failure(tool, error)

    async def owner(self) -> RemoteGate:
        """The owner of the state as another process has it, also where that is this one. Raises
        `ToolError`."""
        await self._reach()
        return RemoteGate(self._settings.state / SOCKET, self._token)

    async def stream(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        begun = False
        end = time.monotonic() + TRY_S
        while True:
            try:
                async with self._gate(caller, tool) as (gate, me):
                    async for piece in gate.stream(me, tool, arguments):
                        begun = True
                        yield piece
                    return
            except ToolError as error:
                gone = self._met if isinstance(error, Unreached) else _stops(error)
                if begun or self._over or not gone or time.monotonic() > end:
                    raise
                self._met = False

    @asynccontextmanager
    async def _gate(self, caller: Caller, tool: str = "") -> AsyncIterator[tuple[Any, Caller]]:
        """The gate, and who calls there."""
        await self._reach()
        if self._app is None:
            assert self._remote is not None
            yield self._remote, caller
            return
        self._busy += 1
        try:
            yield self._app.gate, await self._known(self._app, caller, tool)
        finally:
            self._busy -= 1

    async def _known(self, app: "App", caller: Caller, tool: str) -> Caller:
        from server.doors.rest import narrow, unknown_caller

        me = await app.who(self._token, caller.door, tool, local=True)
        if me is None:
            raise unknown_caller(self._token)
        return narrow(me, caller.read_only, caller.toolsets)

    async def _reach(self) -> None:
        """Own the state, or be connected to who does. Raises `ToolError`."""
        end, pause = time.monotonic() + TRY_S, FIRST_PAUSE_S
        async with self._taking:
            while self._app is None:
                if self._remote and await self._answers(self._remote):
                    return
                if await self._take():
                    return
                if time.monotonic() > end:
                    raise ToolError(
                        Code.UNAVAILABLE,
                        "Another Pilothouse holds the state, and stops or does not answer.",
                        f"It listens on {self._settings.state / SOCKET}; stop it, and try again.",
                    )
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _take(self) -> bool:
        if time.monotonic() >= self._stand_back and (seat := Seat.take(self._settings.state)):
            if self._remote:
                await self._remote.close()
                self._remote, self._met = None, False
            self._app = await self._stack.enter_async_context(
                owning(self._settings, seat, self.hand_over)
            )
            return True
        if self._remote is None:
            self._remote = RemoteGate(self._settings.state / SOCKET, self._token)
        return False

    async def _answers(self, remote: RemoteGate) -> bool:
        """Is there an owner that stays, and does it work on what we were asked to work on?"""
        if self._met:
            return True
        try:
            about = await remote.get("/local")
        except Unreached:
            return False
        if about["stopping"]:
            return False
        if self._strict:
            must_match(asked(self._settings), about["world"], about["pid"])
        self._met = True
        return True

    async def hand_over(self) -> bool:
        """Another process of this user is to own the state: a server outlives an MCP client."""
        if self._leaving is None or self._leaving.done():
            self._leaving = asyncio.create_task(self._leave())
        return True

    async def _leave(self) -> None:
        async with self._taking:
            app, self._app = self._app, None
            self._stand_back = time.monotonic() + STAND_BACK_S
            if app:
                await app.stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(TOLD_S):
                    while self._busy:  # noqa: ASYNC110  calls of our own that are under way
                        await asyncio.sleep(FIRST_PAUSE_S)
            await self._stack.aclose()
            self._stack = AsyncExitStack()


class Afar(RemoteGate):
    """A server elsewhere. One that answered before and is away is waited for: another may be taking
    its place."""

    _met = False

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
        key = key or secrets.token_hex(12)
        options: dict[str, Any] = {"key": key, "preview": preview, "wait_s": wait_s}
        end, pause = time.monotonic() + TRY_S, FIRST_PAUSE_S
        while True:
            try:
                outcome = await self.ask(caller, tool, arguments, progress=progress, **options)
                self._met = True
                if not _stops(outcome.error):
                    return outcome
            except ToolError as error:
                outcome = _failure(tool, error)
                again = self._met and isinstance(error, Unreached)
                if not again or (error.lost and _decides(tool)):
                    return outcome
            if time.monotonic() > end:
                self._met = False
                return outcome
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)


@asynccontextmanager
async def owning(
    settings: Settings, seat: Seat, hand_over: Any, url: str = ""
) -> AsyncIterator["App"]:
    """The application with the state, and its socket for the other processes of this user."""
    from server.app import guarded, open_app, our_version
    from server.doors.rest import Local
    from server.serving import listen_here, served

    def about() -> dict[str, Any]:
        told = {"pid": os.getpid(), "version": our_version(), "world": works_on, "url": url}
        return told | {"stopping": app.stopping}

    try:
        works_on = world(settings)
        async with open_app(settings) as app:
            path = settings.state / SOCKET
            local = guarded(app.http(Local(about, hand_over, app.backup, app.rotate_key)), settings)
            async with served(local, listen_here(path), settings.limits.grace_s) as serving:
                try:
                    yield app
                finally:
                    path.unlink(missing_ok=True)
                    serving.refuse()
                    await app.stop()
    finally:
        seat.leave()


def _stops(error: Problem | ToolError | None) -> bool:
    """Was it refused, with nothing begun, because the owner of the state stops?"""
    return error is not None and error.message == stopping().message


def _decides(tool: str) -> bool:
    from tools.tool import Effect, catalog

    found = catalog().get(tool)
    return found is not None and found.effect is Effect.DECIDE


def _failure(tool: str, error: ToolError) -> Outcome:
    return Outcome(state=State.FAILED, tool=tool, error=Problem.of(error))
