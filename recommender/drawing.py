"""The picture of a suggestion: which of a workload's series it is about, and what goes with it."""

from typing import Literal, NamedTuple

import numpy as np

from recommender.amounts import Unit
from recommender.forecast import by_day, quietly
from recommender.likeness import number_of
from recommender.model import Container, Series, Suggestion, Workload
from recommender.pictures import Band, Level, Role, picture

DAY, HOUR = 86400.0, 3600.0


class About(NamedTuple):
    """A series with its lines, and what is expected of it."""

    usage: Series
    unit: Unit
    levels: list[Level]
    band: Band | None
    label: str = "Used"


def drawn(
    suggestion: Suggestion,
    workload: Workload,
    format: Literal["svg", "png"] = "svg",
    dark: bool = False,
) -> bytes | None:
    """The picture that goes with it; None where nothing of its past is known."""
    about = _about(suggestion, workload)
    if about is None or not np.isfinite(about.usage.values).any():
        return None
    return picture(
        suggestion.title,
        *about[:4],
        label=about.label,
        subtitle=suggestion.reason,
        format=format,
        dark=dark,
    )


def _about(suggestion: Suggestion, workload: Workload) -> About | None:
    metric = str(suggestion.bound.get("metric") or "cpu")
    what, _, name = metric.partition(":")
    held = {"disk": workload.disks, "quota": workload.quotas}.get(what, {}).get(name)
    if held:
        series, bound = held
        level = Level("limit", "Size" if what == "disk" else "Quota", bound)
        return About(series, "bytes" if bound > 1e6 else "", [level], _heading(suggestion, series))
    if metric == "demand":
        return _replicas(suggestion, workload)
    wanted = suggestion.subject.container
    for container in workload.containers:
        if container.name == wanted or not wanted:
            return _used(suggestion, container, "memory" if metric == "memory" else "cpu")
    return None


def _used(
    suggestion: Suggestion, container: Container, metric: Literal["cpu", "memory"]
) -> About | None:
    series: Series | None = getattr(container, metric)
    if series is None:
        return None
    new: dict[str, Role] = {"request": "proposed", "limit": "proposed_limit"}
    now: dict[str, Role] = {"request": "request", "limit": "limit"}
    levels = []
    for what in ("request", "limit"):
        if live := getattr(container, f"{metric}_{what}"):
            levels.append(Level(now[what], f"{what.title()} now", live))
        if asked := number_of(suggestion.arguments.get(f"{metric}_{what}")):
            levels.append(Level(new[what], f"Suggested {what}", asked))
    most = number_of(suggestion.bound.get("at_most"))
    if most and suggestion.confidence:
        levels.append(Level("bound", f"At most, {suggestion.confidence:.0%} sure", most))
    band = _heading(suggestion, series) or _season(series)
    return About(series, "cores" if metric == "cpu" else "bytes", levels, band)


def _replicas(suggestion: Suggestion, workload: Workload) -> About | None:
    """How many were needed, which is what the demand comes to."""
    one = number_of(suggestion.evidence.get("one_replica_serves"))
    target = number_of(suggestion.evidence.get("target")) or 1.0
    series = workload.demand
    if series is None or not one:
        return None
    needed = Series(series.start, series.step, series.values / (one * target))
    scaler = workload.autoscaler
    levels = []
    if scaler:
        levels += [Level("request", "Minimum now", scaler.min_replicas),
                   Level("limit", "Maximum now", scaler.max_replicas)]  # fmt: skip
    elif workload.wanted is not None:
        levels.append(Level("request", "Replicas now", workload.wanted))
    said: dict[str, tuple[Role, str]] = {
        "replicas": ("proposed", "Suggested"),
        "min_replicas": ("proposed", "Suggested minimum"),
        "max_replicas": ("proposed_limit", "Suggested maximum"),
    }
    for what, (role, label) in said.items():
        if count := number_of(suggestion.arguments.get(what)):
            levels.append(Level(role, label, count))
    return About(needed, "replicas", levels, _season(needed), "Needed")


def _season(series: Series) -> Band | None:
    """Tomorrow, if it is like the days before at the same hours: eight of ten days lie within."""
    days = by_day(np.asarray(series.values, dtype=float), series.step)
    if len(days) < 2 or not np.isfinite(days).any(axis=1).sum() >= 2:
        return None
    size = max(1, round(HOUR / series.step))
    days = days[:, : days.shape[1] // size * size]
    hours = days.reshape(len(days), -1, size).swapaxes(0, 1).reshape(days.shape[1] // size, -1)
    low, middle, high = (
        Series(series.end, size * series.step, quietly(np.nanquantile, hours, q, axis=1))
        for q in (0.1, 0.5, 0.9)
    )
    return Band(low, high, middle, "Expected tomorrow")


def _heading(suggestion: Suggestion, series: Series) -> Band | None:
    """Where it goes, for what only grows."""
    level, grows, seconds = (
        number_of(suggestion.evidence.get(name))
        for name in ("level", "grows_per_hour", "full_in_seconds")
    )
    if level is None or not grows or seconds is None:
        return None
    span = min(max(1.1 * seconds, 6 * HOUR), max(2 * (series.end - series.start), DAY))
    hours = np.linspace(0, span / HOUR, 25)
    going = level + grows * hours
    unsure = 0.15 * grows * hours
    step = span / 24
    low, middle, high = (
        Series(series.end - step / 2, step, values)
        for values in (going - unsure, going, going + unsure)
    )
    return Band(low, high, middle, "At this pace")
