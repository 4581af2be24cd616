"""Streams: how each one ends."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from server.streams import AHEAD, May, Streams
from tools.errors import Code, ToolError


class Source:
    """Counts up, a piece each turn, to `most`, and then waits, or raises."""

    def __init__(self, most: int, error: Exception | None = None) -> None:
        self.most = most
        self.error = error
        self.told = 0
        self.closed = asyncio.Event()

    async def pieces(self) -> AsyncGenerator[dict[str, Any], None]:
        try:
            while self.told < self.most:
                self.told += 1
                yield {"n": self.told}
            if self.error:
                raise self.error
            await asyncio.sleep(60)
        finally:
            self.closed.set()


async def allowed() -> None:
    pass


async def ends(streams: Streams, source: Source, may: May = allowed) -> ToolError:
    seen = []

    async def read() -> None:
        async for piece in streams.read(source.pieces(), may):
            seen.append(piece["n"])

    with pytest.raises(ToolError) as ended:
        await read()
    assert seen == list(range(1, source.most + 1))
    assert source.closed.is_set()
    return ended.value


async def test_a_stream_ends_when_its_time_is_up() -> None:
    ended = await ends(Streams(0.01), Source(3))
    assert ended.code is Code.DEADLINE_EXCEEDED
    assert ended.hint


async def test_a_stream_ends_when_pilothouse_stops() -> None:
    streams, source = Streams(60), Source(3)
    reading = asyncio.create_task(ends(streams, source))
    while source.told < 3:
        await asyncio.sleep(0)
    streams.end()
    assert (await reading).code is Code.UNAVAILABLE


async def test_what_goes_wrong_in_the_middle_comes_behind_what_was_told() -> None:
    wrong = ToolError(Code.NOT_FOUND, "gone", "look")
    assert await ends(Streams(60), Source(3 * AHEAD, wrong)) is wrong


async def test_a_tool_is_ahead_of_its_reader_by_so_much_and_ends_with_it() -> None:
    source = Source(10_000)
    read = Streams(60).read(source.pieces(), allowed)
    await anext(read)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert source.told <= AHEAD + 3
    await read.aclose()
    assert source.closed.is_set()


async def test_a_stream_that_begins_while_pilothouse_stops_ends_at_once() -> None:
    streams, source = Streams(60), Source(0)
    streams.end()
    assert (await ends(streams, source)).code is Code.UNAVAILABLE


async def test_a_stream_ends_soon_after_its_reader_may_no_longer() -> None:
    gone = ToolError(Code.PERMISSION_DENIED, "no access any more", "ask")
    answers = iter([None, None, gone])

    async def may() -> None:
        if error := next(answers):
            raise error

    assert await ends(Streams(60, 0.001), Source(3), may) is gone
