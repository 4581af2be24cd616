"""Tools that answer piece by piece: each runs in a task of its own, so that its time can be up
wherever the one who reads it is."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from tools.errors import Code, ToolError

AHEAD = 100  # pieces that a slow reader may be behind
AGAIN_S = 5.0

# What says nothing about whether somebody may.
NOT_NOW = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)

Piece = dict[str, Any]
# Raises `ToolError` where they may not (any more).
May = Callable[[], Awaitable[object]]


class Streams:
    """The streams that are open, at most `most_s` seconds each; every `again_s` it is asked anew
    whether their readers may."""

    def __init__(self, most_s: float, again_s: float = AGAIN_S) -> None:
        self._most_s = most_s
        self._again_s = again_s
        self._limits: set[asyncio.Timeout] = set()
        self._over = False

    async def read(
        self, pieces: AsyncGenerator[Piece, None], may: May
    ) -> AsyncGenerator[Piece, None]:
        """The same pieces. Raises `ToolError` when the time is up, and what `may` raises."""
        told: asyncio.Queue[Piece | Exception | None] = asyncio.Queue(AHEAD)
        tasks = [
            asyncio.create_task(self._pump(pieces, told)),
            asyncio.create_task(self._ask(may, told)),
        ]
        try:
            while isinstance(piece := await told.get(), dict):
                yield piece
            if piece is not None:
                raise piece
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def end(self) -> None:
        """Pilothouse stops: so do those who follow something."""
        self._over = True
        for limit in self._limits:
            limit.reschedule(0)

    async def _pump(
        self, pieces: AsyncGenerator[Piece, None], told: "asyncio.Queue[Piece | Exception | None]"
    ) -> None:
        end: Exception | None = None
        try:
            async with asyncio.timeout(0 if self._over else self._most_s) as limit:
                self._limits.add(limit)
                try:
                    async with aclosing(pieces):
                        async for piece in pieces:
                            await told.put(piece)
                finally:
                    self._limits.discard(limit)
        except TimeoutError:
            end = stopping() if self._over else _open_too_long()
        except Exception as error:
            end = error
        await told.put(end)

    async def _ask(self, may: May, told: "asyncio.Queue[Piece | Exception | None]") -> None:
        while True:
            await asyncio.sleep(self._again_s)
            try:
                await may()
            except ToolError as error:
                if error.code not in NOT_NOW:
                    await told.put(error)
                    return


def stopping() -> ToolError:
    return ToolError(Code.UNAVAILABLE, "Pilothouse is stopping.", "Try again in a moment.")


def _open_too_long() -> ToolError:
    return ToolError(
        Code.DEADLINE_EXCEEDED, "The stream was open too long.", "Follow it again, with `since`."
    )
