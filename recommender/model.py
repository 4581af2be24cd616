"""The words of the recommender: what was used, what is asked for, and what is suggested."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class RecommenderError(Exception):
    """What went wrong, what to do next, and whether trying again can help."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        passing: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.passing = passing
        self.retry_after = retry_after


@dataclass(frozen=True)
class Series:
    """Values at even steps: `values[i]` stands for the `step` seconds from `start + i * step`
    (seconds since 1970, UTC). NaN where nothing is known."""

    start: float
    step: float
    values: Floats

    @property
    def end(self) -> float:
        return self.start + self.step * len(self.values)

    def between(self, start: float, end: float) -> "Series":
        """The part of it from `start` up to `end`."""
        first = max(0, int(np.ceil((start - self.start) / self.step)))
        last = max(first, int(np.ceil((end - self.start) / self.step)))
        return Series(self.start + first * self.step, self.step, self.values[first:last])


@dataclass(frozen=True)
class Subject:
    """What a suggestion is about. `container` is empty where it is about the whole workload."""

    cluster: str
    namespace: str
    kind: str
    name: str
    container: str = ""

    def __str__(self) -> str:
        inner = f" ({self.container})" if self.container else ""
        return f"{self.kind} {self.name}{inner} in {self.namespace}"


@dataclass(frozen=True)
class Container:
    """One container of a workload's pods. The series are of its busiest pod at each step, because a
    request is made for every pod: CPU in cores, memory in bytes, throttled as a share of periods.

    Requests and limits are None where they are not set. `restarts` counts those of all its pods;
    `restarted` is when they were, once for each.
    """

    name: str
    cpu: Series | None = None
    memory: Series | None = None
    throttled: Series | None = None
    cpu_request: float | None = None
    cpu_limit: float | None = None
    memory_request: float | None = None
    memory_limit: float | None = None
    oom_kills: tuple[float, ...] = ()
    restarts: int = 0
    restarted: tuple[float, ...] = ()


@dataclass(frozen=True)
class Autoscaler:
    """A HorizontalPodAutoscaler's bounds, and the resources that it scales on (`cpu`, …)."""

    name: str
    min_replicas: int
    max_replicas: int
    resources: frozenset[str] = frozenset()
    target: float | None = None


@dataclass(frozen=True)
class Workload:
    """A workload and its past, through all its rollouts. `demand` is what it serves in all (cores
    over all pods, or requests per second), `replicas` how many pods were ready. `notes` say what
    lowers the confidence (gaps, yesterday's child, half the data).

    A namespace comes as one, too, of kind `Namespace`, with its `quotas` (each a resource's use and
    bound) and the `disks` (each a claim's use and size, in bytes) that no workload has."""

    subject: Subject
    containers: tuple[Container, ...] = ()
    replicas: Series | None = None
    demand: Series | None = None
    wanted: int | None = None
    autoscaler: Autoscaler | None = None
    starts_in: float = 120.0
    traffic: Series | None = None
    disks: dict[str, tuple[Series, float]] = field(default_factory=dict)
    quotas: dict[str, tuple[Series, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


Risk = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class Suggestion:
    """What should change and why: a tool with its arguments, and the evidence.

    `confidence` is the probability that `bound` (how usage stays: metric, at most or at least, for
    how many seconds) holds, None where the past is too short to say. `monthly` is what it saves a
    month (negative: costs) in the currency of the prices. `deadline` is the moment at which it is
    likely to fail if nothing is done. `tool` is empty for a warning only.
    """

    strategy: str
    subject: Subject
    title: str
    reason: str
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)
    bound: dict[str, Any] = field(default_factory=dict)
    confidence: float | None = None
    monthly: float = 0.0
    deadline: float | None = None
    risk: Risk = "low"
    notes: tuple[str, ...] = ()
