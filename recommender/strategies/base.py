"""What all strategies share: their shape, what they are told besides the workload, and how numbers
are said."""

from dataclasses import dataclass, field
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from recommender.backtest import Policy
from recommender.calibration import Calibration
from recommender.model import Floats, RecommenderError, Series, Subject, Suggestion, Workload

if TYPE_CHECKING:
    from recommender.strategies.saturation import SaturationSettings

DAY = 86400.0
GIB = 2.0**30
MIB = 2.0**20


class StrategySettings(BaseModel):
    """What every strategy can be told. `caution` trades slack (less than 1) for safety (more)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caution: float = Field(1.0, gt=0, le=20)
    confidence: float = Field(0.9, gt=0.5, lt=1)
    dead_band: float = Field(0.1, ge=0, lt=1)
    history_days: int = Field(7, ge=1, le=90)


@dataclass(frozen=True)
class Prices:
    """In one currency, per hour."""

    cpu_core_hour: float = 0.0316
    memory_gib_hour: float = 0.0042
    hours_a_month: float = 730.0

    def monthly(self, cores: float = 0.0, memory: float = 0.0) -> float:
        """Of that many cores and bytes."""
        hourly = cores * self.cpu_core_hour + memory / GIB * self.memory_gib_hour
        return round(hourly * self.hours_a_month, 2)


@dataclass(frozen=True)
class Context:
    """What a strategy is told besides the workload: prices, the calibration over all workloads,
    whose requests were set by a suggestion (with the container), and what is taken for a leak."""

    prices: Prices = field(default_factory=Prices)
    calibration: Calibration = field(default_factory=Calibration)
    settled: frozenset[Subject] = frozenset()
    saturation: "SaturationSettings | None" = None


class Strategy:
    """Derive from it: a `name`, `Settings` and `run`. `policy` makes it known to the backtest."""

    name: ClassVar[str]
    Settings: ClassVar[type[StrategySettings]] = StrategySettings

    def __init__(self, settings: Any = None) -> None:
        self.settings: Any = settings if settings is not None else self.Settings()

    def run(self, workload: Workload, now: float, context: Context) -> list[Suggestion]:
        """What should change about this workload; nothing where nothing should."""
        raise NotImplementedError

    def policy(self) -> Policy:
        """How it would have acted, for the backtest. Raises `RecommenderError` where that cannot be
        replayed."""
        raise RecommenderError(
            f"{self.name} cannot be replayed.", "The backtest replays rightsize and replicas."
        )


def recent(series: Series | None, now: float, days: float) -> Floats:
    """The samples of the last days, up to now; none where there is no series."""
    return series.between(now - days * DAY, now).values if series is not None else np.empty(0)


def days_known(values: Floats, step: float) -> float:
    """How many days' worth of samples are known."""
    return float(np.isfinite(values).sum()) * step / DAY


def cores(value: float) -> str:
    """As a Kubernetes quantity, rounded up to three digits."""
    return f"{round_up(value * 1000)}m"


def memory(value: float) -> str:
    """Likewise."""
    return f"{round_up(value / MIB)}Mi"


def round_up(value: float, digits: int = 3) -> int:
    unit: int = 10 ** max(0, floor(log10(max(value, 1))) - digits + 1)
    return max(1, ceil(value / unit - 1e-9) * unit)


def said_cores(value: float) -> str:
    if value < 0.9995:
        return f"{value * 1000:.0f}m"
    return f"{value:.3g} core{'' if f'{value:.3g}' == '1' else 's'}"


def said_memory(value: float) -> str:
    return f"{value / GIB:.3g} GiB" if value >= GIB else f"{value / MIB:.0f} MiB"


def said_left(seconds: float) -> str:
    return f"in {said_time(seconds)}" if seconds >= 60 else "now"


def said_time(seconds: float) -> str:
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"


def address(subject: Subject) -> dict[str, Any]:
    """A workload, as the tools' arguments name it."""
    return {"tenant": subject.namespace, "name": subject.name, "kind": subject.kind}


def named(subject: Subject) -> str:
    """What it is called among people: one name where container and workload share it."""
    if subject.container in ("", subject.name):
        return subject.name
    return f"{subject.container} of {subject.name}"


def quantiles(values: Floats) -> dict[str, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    at = np.array([0.5, 0.95, 0.99, 1.0]) * (len(known) - 1)
    below, above = np.floor(at).astype(int), np.ceil(at).astype(int)
    # Only these few are put in their places: a whole sort takes many times as long.
    ordered = np.partition(known, np.concatenate([below, above]))
    found = ordered[below] + (at - below) * (ordered[above] - ordered[below])
    return dict(zip(("p50", "p95", "p99", "max"), map(float, found), strict=True))
