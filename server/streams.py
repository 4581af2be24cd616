"""Tools that answer piece by piece: each runs in a task of its own, so that its time can be up
wherever the one who reads it is."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from tools.errors import Code, ToolError

AHEAD = 100  # pieces that a slow reader may be behind

Piece = dict[str, Any]


class Streams:
    """The streams that are open, at most `most_s` seconds each."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._limits: set[asyncio.Timeout] = set()
        self._over = False

    async def read(self, pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
        """The same pieces. Raises `ToolError` when the time is up."""
        told: asyncio.Queue[Piece | Exception | None] = asyncio.Queue(AHEAD)
        task = asyncio.create_task(self._pump(pieces, told))
        try:
            while isinstance(piece := await told.get(), dict):
                yield piece
            if piece is not None:
                raise piece
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

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


def stopping() -> ToolError:
    return ToolError(Code.UNAVAILABLE, "Pilothouse is stopping.", "Try again in a moment.")


def _open_too_long() -> ToolError:
    return ToolError(
        Code.DEADLINE_EXCEEDED, "The stream was open too long.", "Follow it again, with `since`."
    )
