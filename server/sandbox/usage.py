"""What a practice world's workloads have used: made up from a seed, computed when it is asked for.

Everything is a function of the time, so two weeks of it cost nothing until somebody looks.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Labels = dict[str, str]
# The value of a series at some times (seconds since 1970); NaN where it was not there.
Course = Callable[[Floats], Floats]

DAY, WEEK = 86_400.0, 604_800.0
HOUR = 3600.0
# Every few days a new version is rolled out, with pods of other names.
ROLLOUT_S = 5 * DAY
PERIODS_A_SECOND = 10.0
LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True)
class Life:
    """How one workload lives: cores of all its pods together, bytes of each of them.

    `day` and `weekend` say how far its demand falls at night and at the end of the week; `growth`
    by what part it grows in a week. A `leak` (bytes a day) goes on until the limit kills the pod.
    """

    namespace: str
    kind: str
    name: str
    replicas: int = 1
    cpu: float = 0.1
    memory: float = 100e6
    day: float = 0.0
    weekend: float = 1.0
    growth: float = 0.0
    leak: float = 0.0
    throttled: float = 0.0
    traffic: float = 2e5
    cpu_request: float = 0.1
    cpu_limit: float = 1.0
    memory_request: float = 128 * 2**20
    memory_limit: float = 2.0**30
    scales: tuple[int, int] = (0, 0)
    disk: tuple[float, float, float] = (0.0, 0.0, 0.0)  # size, used now, growth a day: bytes
    starts_in: float = 30.0
    born: float = 0.0

    @property
    def seed(self) -> int:
        return zlib.crc32(f"{self.namespace}/{self.kind}/{self.name}".encode())

    def demand(self, at: Floats, now: float) -> Floats:
        """Cores, over all pods."""
        hour = at % DAY / HOUR
        season = 1 - self.day * (0.5 + 0.5 * np.cos((hour - 14) / 24 * 2 * np.pi + np.pi)) ** 1.5
        # The first of January 1970 was a Thursday.
        weekday = (at // DAY + 3) % 7
        week = np.where(weekday >= 5, self.weekend, 1.0)
        trend = np.maximum(0.05, 1 + self.growth * (at - now) / WEEK)
        slow = _smooth(self.seed, at, HOUR)
        fast = _random(self.seed + 1, at // 300)
        burst = np.where(_random(self.seed + 2, at // 300) > 0.99, 1.6, 1.0)
        wobble = (0.85 + 0.2 * slow + 0.15 * fast) * burst
        found: Floats = self.cpu * season * week * trend * wobble
        return found

    def pods_at(self, at: Floats, now: float) -> Floats:
        """How many pods run."""
        least, most = self.scales
        if not most:
            return np.full(len(at), float(self.replicas))
        # The autoscaler looks at 70 % of the requests, and takes its time.
        steady = self.demand(at // 900 * 900, now)
        found: Floats = np.clip(np.ceil(steady / (0.7 * self.cpu_request)), least, most)
        return found

    def per_pod(self, ordinal: int, at: Floats, now: float) -> Floats:
        """Cores of one pod."""
        uneven = 0.9 + 0.2 * _random(self.seed + 10 + ordinal, at // 300)
        found: Floats = self.demand(at, now) / np.maximum(1, self.pods_at(at, now)) * uneven
        return np.minimum(found, self.cpu_limit)

    def memory_of(self, ordinal: int, at: Floats) -> Floats:
        """Bytes of one pod."""
        base = self.memory * (0.97 + 0.06 * _smooth(self.seed + 20 + ordinal, at, 4 * HOUR))
        if not self.leak:
            return base
        found: Floats = np.minimum(base + self.leak * (at % self.lives_s) / DAY, self.memory_limit)
        return found

    @property
    def lives_s(self) -> float:
        """Seconds until the leak has filled the limit."""
        return (self.memory_limit - self.memory) / self.leak * DAY if self.leak else np.inf

    def kills(self, at: Floats, now: float) -> Floats:
        """How often it was killed for its memory, since well before anybody looked."""
        if not self.leak:
            return np.zeros(len(at))
        found: Floats = at // self.lives_s - (now - 60 * DAY) // self.lives_s
        return found


@dataclass(frozen=True)
class Pod:
    """One pod of a workload, and when it ran."""

    life: Life
    ordinal: int
    name: str
    replicaset: str
    start: float
    end: float

    @property
    def owner(self) -> tuple[str, str]:
        if self.replicaset:
            return "ReplicaSet", self.replicaset
        return self.life.kind, self.life.name

    def there(self, at: Floats, now: float) -> NDArray[np.bool_]:
        ran = (at >= self.start) & (at < self.end)
        return ran & (self.life.pods_at(at, now) > self.ordinal)


def pods(life: Life, start: float, end: float) -> Iterator[Pod]:
    """All pods that a workload had between two moments."""
    most = max(life.replicas, life.scales[1])
    if life.kind != "Deployment":
        for n in range(most):
            yield Pod(life, n, f"{life.name}-{n}", "", life.born, np.inf)
        return
    for rollout in range(int(max(start, life.born) // ROLLOUT_S), int(end // ROLLOUT_S) + 1):
        replicaset = f"{life.name}-{_letters(life.seed, rollout, 9)}"
        begin = max(life.born, rollout * ROLLOUT_S)
        for n in range(most):
            name = f"{replicaset}-{_letters(life.seed + n + 1, rollout, 5)}"
            yield Pod(life, n, name, replicaset, begin, (rollout + 1) * ROLLOUT_S)


def _letters(seed: int, n: int, length: int) -> str:
    number = zlib.crc32(f"{seed} {n}".encode()) << 20 | zlib.crc32(f"{n} {seed}".encode()) % 2**20
    letters = []
    for _ in range(length):
        number, at = divmod(number, len(LETTERS))
        letters.append(LETTERS[at])
    return "".join(letters)


def _random(seed: int, at: Floats) -> Floats:
    """Between 0 and 1: the same for the same seed and number, and unlike its neighbours'."""
    x = at.astype(np.int64).astype(np.uint64) + np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: Floats = (x ^ (x >> np.uint64(31))).astype(np.float64) / 2.0**64
    return found


def _smooth(seed: int, at: Floats, step: float) -> Floats:
    """The same, but going gently from one number to the next."""
    place = at / step
    before = np.floor(place)
    part = place - before
    part = part * part * (3 - 2 * part)
    found: Floats = _random(seed, before) * (1 - part) + _random(seed, before + 1) * part
    return found


# What a workload is now, where a cluster says so: `replicas`, `cpu_request`, `memory_limit`, ….
Live = Callable[[str, str, str], Mapping[str, float] | None]
Found = tuple[Labels, Course]
Lives = Sequence[Life]
