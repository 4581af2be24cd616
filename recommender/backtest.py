"""Recorded usage replayed: what would have been asked for day by day, and how it would have gone.

Each policy sees at most the last 7 days, acts for the next day, and rolls on daily.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from recommender import baselines
from recommender.forecast import quietly
from recommender.model import Floats, RecommenderError
from recommender.simulation import Service, judge, service_for
from recommender.traces import DAY, Traces


@dataclass(frozen=True)
class Sized:
    """Requests for the next day, one per series, and the level that the day's peak stays within
    with the probability `confidence` (NaN where the past is too short to say)."""

    requests: Floats
    bounds: Floats
    confidence: float


# Past (series, samples), its step in seconds, the requests in force (NaN at first).
Sizing = Callable[[Floats, float, Floats], Sized | Floats]
# The demand from the first day on; the replicas ready at each step, each from what came before it.
Scaling = Callable[[Floats, Service], Floats]


@dataclass(frozen=True)
class Policy:
    """What is replayed, by name: how it sizes CPU and memory, and how it scales."""

    name: str
    cpu: Sizing | None = None
    memory: Sizing | None = None
    replicas: Scaling | None = None


BASELINES = {
    "krr": Policy("krr", baselines.krr_cpu, baselines.krr_memory),
    "vpa": Policy("vpa", baselines.vpa_cpu, baselines.vpa_memory),
    "hpa": Policy("hpa", replicas=baselines.hpa),
    "hpa-schedule": Policy("hpa-schedule", replicas=baselines.hpa_with_schedule),
}


@dataclass(frozen=True)
class BacktestSettings:
    """`first` days go by before the first request is made, `first_replicas` before replicas count
    (both with at most `history` days of past); changes inside `dead_band` are not made."""

    history: int = 7
    first: int = 3
    first_replicas: int = 7
    dead_band: float = 0.1
    peak_replicas: int = 20


def backtest(
    traces: Traces,
    policies: Sequence[Policy],
    curve: Sequence[tuple[float, Policy]] = (),
    settings: BacktestSettings | None = None,
) -> dict[str, Any]:
    """How each policy would have done, as plain data: `cpu`, `memory` and `replicas` are lists of
    rows, one per policy; `curves` has the rows of one strategy at each setting of its knob.

    Raises `RecommenderError` where the recording is too short.
    """
    settings = settings or BacktestSettings()
    rows: dict[str, list[dict[str, Any]]] = {what: [] for what in ("cpu", "memory", "replicas")}
    curves: dict[str, list[dict[str, Any]]] = {}
    knobs: list[float | None] = [None] * len(policies) + [knob for knob, _ in curve]
    for knob, policy in zip(knobs, [*policies, *(p for _, p in curve)], strict=True):
        for what, row in _replayed(traces, policy, settings).items():
            if knob is None:
                rows[what].append(row)
            else:
                curves.setdefault(what, []).append({"caution": knob} | row)
    return {
        "series": len(traces.series),
        "days": traces.days,
        "step": traces.step,
        "settings": asdict(settings),
        **{what: found for what, found in rows.items() if found},
        "curves": curves,
    }


def _replayed(
    traces: Traces, policy: Policy, settings: BacktestSettings
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for what, sizing in (("cpu", policy.cpu), ("memory", policy.memory)):
        if sizing and what in traces.values:
            row = sized_daily(traces.values[what], traces.step, sizing, settings)
            found[what] = {"policy": policy.name} | row
    if policy.replicas and "requests" in traces.values:
        row = scaled(traces.values["requests"], traces.step, policy.replicas, settings)
        found["replicas"] = {"policy": policy.name} | row
    return found


def sized_daily(
    usage: Floats, step: float, sizing: Sizing, settings: BacktestSettings
) -> dict[str, Any]:
    """One resource of all series under one policy. Shares are of 1, `under` minutes a day."""
    per_day = round(DAY / step)
    days = range(settings.first, usage.shape[1] // per_day)
    if not days:
        raise RecommenderError(
            f"{usage.shape[1] // per_day} days are too few.",
            f"The first {settings.first} days go by before the first request is made.",
        )
    current = np.full(len(usage), np.nan)
    total: dict[str, list[Floats]] = {}
    for day in days:
        past = usage[:, max(0, day - settings.history) * per_day : day * per_day]
        answer = sizing(past, step, current)
        sized = (
            answer if isinstance(answer, Sized) else Sized(answer, np.full(len(usage), np.nan), 0)
        )
        with np.errstate(invalid="ignore"):
            moved = ~(np.abs(sized.requests / current - 1) <= settings.dead_band)
        moved &= np.isfinite(sized.requests)
        changed = np.where(np.isfinite(current), moved.astype(float), np.nan)
        current = np.where(moved, sized.requests, current)
        today = usage[:, day * per_day : (day + 1) * per_day]
        found = _day(today, current, step) | {"changes": changed, **_held(today, sized)}
        for key, value in found.items():
            total.setdefault(key, []).append(value)
    all_of = {key: np.concatenate(value) for key, value in total.items()}
    claimed = np.isfinite(all_of["held"])
    return {
        "slack": _mean(all_of["slack"]),
        "under": _mean(all_of["under"]),
        "unserved": float(np.nansum(all_of["excess"]) / max(np.nansum(all_of["used"]), 1e-300)),
        "exceeded": _mean(all_of["exceeded"]),
        "changes": _mean(all_of["changes"]),
        "claims": int(claimed.sum()),
        "held": _mean(all_of["held"]) if claimed.any() else None,
        "series_days": int(np.isfinite(all_of["slack"]).sum()),
    }


def _day(today: Floats, request: Floats, step: float) -> dict[str, Floats]:
    """One day of each series under its request; NaN where there is no request or no usage."""
    known = np.isfinite(today).any(axis=1) & np.isfinite(request)
    r = np.where(known, request, np.nan)[:, None]
    return {
        "slack": quietly(np.nanmean, 1 - np.minimum(today, r) / r, axis=1),
        "under": np.where(known, (today > r).sum(axis=1) * step / 60, np.nan),
        "exceeded": np.where(known, (today > r).any(axis=1).astype(float), np.nan),
        "excess": np.where(known, np.nansum(np.maximum(today - r, 0), axis=1), np.nan),
        "used": np.where(known, np.nansum(today, axis=1), np.nan),
    }


def _held(today: Floats, sized: Sized) -> dict[str, Floats]:
    peak = quietly(np.nanmax, today, axis=1)
    said = np.isfinite(peak) & np.isfinite(sized.bounds)
    return {"held": np.where(said, (peak <= sized.bounds).astype(float), np.nan)}


def scaled(
    demand: Floats, step: float, scaling: Scaling, settings: BacktestSettings
) -> dict[str, Any]:
    """Each series' replicas under one policy, and the mean over the series."""
    first = settings.first_replicas * round(DAY / step)
    found = []
    for row in demand:
        known = np.flatnonzero(np.isfinite(row))
        if not len(known) or known[-1] < first:
            continue
        service = service_for(row, settings.peak_replicas, step=step)
        ready = scaling(row[: known[-1] + 1], service)
        found.append(judge(row[first : known[-1] + 1], ready[first:], service))
    if not found:
        raise RecommenderError(
            "No series is long enough.", f"Replicas count after {settings.first_replicas} days."
        )
    return {key: float(np.mean([f[key] for f in found])) for key in found[0]}


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
