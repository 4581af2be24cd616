"""Work that goes on after Slack was answered, and the memory of what was done already."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import structlog

from tools.errors import ToolError

log = structlog.get_logger(__name__)

# So few that an acknowledgement never stands behind many of them; what takes longer than a moment
# (a change that is waited for, a log that is followed) gives its place up and goes on.
AT_ONCE = 12
MOMENT_S = 2.0
MOST_WAITING = 5000
LONGEST_S = 3600.0


class Jobs:
    """Runs work side by side, a bounded number at a time, each for a bounded time."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)

    def start(self, work: Coroutine[Any, Any, Any]) -> bool:
        """False where there is too much to do already."""
        if len(self._tasks) >= MOST_WAITING:
            work.close()
            return False
        task = asyncio.create_task(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def stop(self, grace_s: float = 5) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._places.acquire()
            place = loop.call_later(MOMENT_S, self._places.release)
            try:
                async with asyncio.timeout(LONGEST_S):
                    await work
            finally:
                if place.when() > loop.time():
                    place.cancel()
                    self._places.release()
        except ToolError as error:  # it is told where somebody asked; the rest is looked at again
            log.warning("slack: not done", why=str(error))
        except Exception:
            log.exception("slack: what was asked for broke down")
        finally:
            work.close()


class Once:
    """Says of each thing whether it is the first time, for a while."""

    def __init__(self, seconds: float, most: int = 50_000) -> None:
        self._seconds = seconds
        self._most = most
        self._seen: OrderedDict[str, float] = OrderedDict()

    def first(self, what: str) -> bool:
        now = time.monotonic()
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] > now and len(self._seen) < self._most:
                break
            del self._seen[oldest]
        if what in self._seen:
            return False
        self._seen[what] = now + self._seconds
        return True
