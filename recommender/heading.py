"""Where something that grows is heading: when it reaches its bound, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from recommender.changes import coarse
from recommender.forecast import quantile, trend
from recommender.model import Floats, Series

HOUR = 3600.0
# A run that grew to this share of its bound ended because of it.
FULL = 0.8
# Of what it was before: less is a restart or a clean-up.
FALL = 0.75


@dataclass(frozen=True)
class Heading:
    """It stands at `level`, began this run at `began`, grows by `grows` a second, and reaches the
    bound in `seconds` (the likeliest), and within the `horizon` (seconds) with the probability
    `sure`. That was seen for `hours`; `before`: how often it has got there already."""

    level: float
    began: float
    grows: float
    seconds: float
    sure: float
    hours: float
    horizon: float
    before: int = 0


@dataclass(frozen=True)
class _Line:
    """The growth of one run: what it began and ended at, its slope and how far that may be off."""

    began: float
    level: float
    slope: float
    unsure: float
    noise: float
    hours: int


def heading(
    series: Series,
    bound: float,
    now: float,
    *,
    horizon: float,
    history: float,
    sure: float = 0.8,
    least_hours: float = 12.0,
    ended: Sequence[float] = (),
) -> Heading | None:
    """Where it goes since its last fall (a restart, a clean-up), if that is towards `bound`. What
    has got there before, and began anew, is expected to grow as it did then. `ended`: moments at
    which it began anew beside its falls (kills)."""
    past = series.between(now - history, now)
    hours = coarse(past.values, max(1, round(HOUR / series.step)))
    if not np.isfinite(hours).any() or not bound > 0:
        return None
    runs = np.split(hours, _cuts(hours, past.end, ended))
    last = _line(runs[-1], bound)
    full = [
        line
        for run in runs[:-1]
        if (line := _line(run, bound)) and line.hours >= least_hours and line.level >= FULL * bound
    ]
    line, level = last, last.level if last else np.nan
    if full and _goes_on(last, full[-1], runs[-1]):
        line = full[-1]
        level = last.level if last else _latest(runs[-1], line.began)
    if line is None or line.hours < least_hours or line.slope < 3 * line.unsure:
        return None
    # A trend is believed for three times as long as it was seen.
    horizon = min(horizon, 3 * line.hours * HOUR)
    deviation = sqrt(line.noise**2 + (line.unsure * horizon) ** 2)
    reaches = level + line.slope * horizon
    likely = 0.5 * (1 + erf((reaches - bound) / deviation / sqrt(2)))
    if likely < sure:
        return None
    return Heading(
        level,
        line.began,
        line.slope,
        max(0.0, (bound - level) / line.slope),
        min(likely, 0.99),
        float(sum(one.hours for one in full) + len(runs[-1]) if full else line.hours),
        horizon,
        len(full),
    )


def _cuts(hours: Floats, end: float, ended: Sequence[float]) -> list[int]:
    """Where a new run begins."""
    filled = np.where(np.isfinite(hours), hours, np.inf)
    before = np.where(filled < np.inf, filled, 0)
    cuts = set((np.flatnonzero(filled[1:] < FALL * before[:-1]) + 1).tolist())
    cuts |= {len(hours) - int((end - at) // HOUR) for at in ended}
    return sorted(cut for cut in cuts if 0 < cut <= len(hours))


def _line(run: Floats, bound: float) -> _Line | None:
    """None where too little is known, or it does not grow."""
    known = int(np.isfinite(run).sum())
    third = len(run) // 3
    if known < 3 or not quantile(run[-third:], 0.5) > quantile(run[:third], 0.5):
        return None
    slope, level, noise = trend(run, HOUR)
    if not slope > 0:
        return None
    span = len(run) * HOUR
    noise += 1e-3 * bound
    # Neighbouring hours resemble each other: a quarter of them counts as samples of their own.
    unsure = noise * sqrt(12 / max(known / 4, 2)) / span
    return _Line(level - slope * span, level, slope, unsure, noise, len(run))


def _goes_on(last: _Line | None, before: _Line, run: Floats) -> bool:
    """Whether what there is of the last run is too short to say otherwise than the one before."""
    if last is None:
        return len(run) < 6
    return last.hours < before.hours and last.slope + 3 * last.unsure > 0.5 * before.slope


def _latest(run: Floats, otherwise: float) -> float:
    known = run[np.isfinite(run)]
    return float(known[-1]) if len(known) else otherwise
