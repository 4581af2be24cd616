"""The practice cluster's time: real, faster, or stepped by a test."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

UTC = UTC


@dataclass(order=True)
class _Timer:
    at: float
    number: int
    action: Callable[[], object] | None = field(compare=False)

    def call_off(self) -> None:
        self.action = None


class Clock:
    """Tells the time and wakes what waits for it.

    `speed` is how many of the cluster's seconds pass in a real one; 0 stands still until `step`.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._started = time.time()
        self._since = time.monotonic()
        self._stepped = 0.0
        self._timers: list[_Timer] = []
        self._order = itertools.count()
        self._handle: asyncio.TimerHandle | None = None

    def seconds(self) -> float:
        """The time as seconds since the epoch."""
        passed = (time.monotonic() - self._since) * self.speed
        return self._started + passed + self._stepped

    def now(self) -> datetime:
        """The time."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    def call_later(self, seconds: float, action: Callable[[], object]) -> Callable[[], None]:
        """Do something when that much time has passed; the answer calls it off."""
        timer = _Timer(self.seconds() + seconds, next(self._order), action)
        heapq.heappush(self._timers, timer)
        if self._timers[0] is timer:
            self._set_alarm()
        return timer.call_off

    async def sleep(self, seconds: float) -> None:
        """Wait until that much time has passed."""
        done = asyncio.Event()
        cancel = self.call_later(seconds, done.set)
        try:
            await done.wait()
        finally:
            cancel()

    def step(self, seconds: float) -> None:
        """Move the time on, and wake all that was waiting for it."""
        self._stepped += seconds
        self._fire()

    def stop(self) -> None:
        """Forget everything that waits."""
        self._timers.clear()
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._handle:
            self._handle.cancel()
            self._handle = None
        if self._timers and self.speed > 0:
            wait = max(0.0, (self._timers[0].at - self.seconds()) / self.speed)
            self._handle = asyncio.get_running_loop().call_later(wait, self._fire)

    def _fire(self) -> None:
        now = self.seconds()
        while self._timers and self._timers[0].at <= now:
            if action := heapq.heappop(self._timers).action:
                action()
        self._set_alarm()


def stamp(moment: datetime) -> str:
    """A time as objects carry it: whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def fine_stamp(moment: datetime) -> str:
    """A time as log lines carry it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def parse_stamp(text: str) -> datetime:
    """The time that a stamp stands for."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def later(moment: datetime, seconds: float) -> datetime:
    """A time some seconds on."""
    return moment + timedelta(seconds=seconds)
