"""What containers wrote, kept for a while, and read as `kubectl logs` does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta

from .clock import fine_stamp, parse_stamp
from .errors import bad_request

Line = tuple[datetime, str]
KEPT_BYTES = 1 << 20


class Log:
    """The lines of one run of one container; the oldest go when there are too many.

    A server's lines are made up when they are read, so that idle pods cost nothing.
    """

    def __init__(self, invent: Callable[[Line | None], list[Line]] | None = None) -> None:
        self._lines: deque[Line] = deque()
        self._size = 0
        self._invent = invent
        self._more = asyncio.Event()
        self.closed = False

    def append(self, moment: datetime, text: str) -> None:
        """One line more."""
        self._lines.append((moment, text))
        self._size += len(text) + 1
        while self._size > KEPT_BYTES:
            self._size -= len(self._lines.popleft()[1]) + 1
        self._more.set()

    def close(self) -> None:
        """The container ended."""
        self._catch_up()
        self._invent = None
        self.closed = True
        self._more.set()

    def lines(self) -> list[Line]:
        """All lines that are kept."""
        self._catch_up()
        return list(self._lines)

    async def after(self, last: Line | None, wait: Callable[[float], object]) -> list[Line]:
        """The lines after one, waiting for the first of them; none when the log has ended."""
        while True:
            lines = self.lines()
            fresh = lines if last is None else _behind(lines, last)
            if fresh or self.closed:
                return fresh
            self._more.clear()
            if self._invent:
                wait(1.0)
            await self._more.wait()

    def wake(self) -> None:
        """Let readers look again."""
        self._more.set()

    def _catch_up(self) -> None:
        if self._invent:
            for moment, text in self._invent(self._lines[-1] if self._lines else None):
                self.append(moment, text)


def _behind(lines: list[Line], last: Line) -> list[Line]:
    for index in range(len(lines) - 1, -1, -1):
        if lines[index] is last:
            return lines[index + 1 :]
    return [line for line in lines if line[0] > last[0]]


class Reading:
    """What part of a log a request asks for."""

    def __init__(self, query: Mapping[str, str], now: datetime) -> None:
        self.follow = query.get("follow") in ("true", "1")
        self.timestamps = query.get("timestamps") in ("true", "1")
        self.tail = _number(query, "tailLines", least=0)
        self.limit = _number(query, "limitBytes", least=1)
        self.since: datetime | None = None
        if (seconds := _number(query, "sinceSeconds", least=1)) is not None:
            self.since = now - timedelta(seconds=seconds)
        elif "sinceTime" in query:
            self.since = parse_stamp(query["sinceTime"])

    def chosen(self, lines: list[Line]) -> list[Line]:
        """The lines that are wanted, of those there are."""
        if self.since is not None:
            lines = [line for line in lines if line[0] >= self.since]
        if self.tail is not None:
            lines = lines[max(0, len(lines) - self.tail) :]
        return lines

    def shown(self, lines: list[Line]) -> bytes:
        """Lines as they are answered."""
        stamped = (f"{fine_stamp(at)} {text}" if self.timestamps else text for at, text in lines)
        return "".join(f"{text}\n" for text in stamped).encode()

    def all(self, log: Log) -> bytes:
        """What a reader gets who does not follow."""
        shown = self.shown(self.chosen(log.lines()))
        return shown if self.limit is None else shown[: self.limit]

    async def followed(self, log: Log, wait: Callable[[float], object]) -> AsyncIterator[bytes]:
        """What a reader gets who follows, piece by piece until the container ends."""
        lines = log.lines()
        left = self.limit
        pending = self.chosen(lines)
        last = lines[-1] if lines else None
        while True:
            if pending:
                piece = self.shown(pending)
                if left is not None:
                    piece, left = piece[:left], left - len(piece)
                yield piece
                if left is not None and left <= 0:
                    return
            pending = await log.after(last, wait)
            if not pending:
                return
            last = pending[-1]


def _number(query: Mapping[str, str], name: str, least: int) -> int | None:
    if name not in query:
        return None
    try:
        value = int(query[name])
    except ValueError:
        raise bad_request(f"{name} must be a number, not {query[name]!r}") from None
    if value < least:
        raise bad_request(f"{name} must be at least {least}")
    return value
