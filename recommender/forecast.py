"""What a workload will use tomorrow, from what it used in the days before.

A past is one row of samples that ends now; its days are counted back from there. NaN is no data.
"""

import warnings
from typing import Any

import numpy as np

from recommender.model import Floats

DAY = 86400.0
RECENT = 3 * 3600.0


def quietly(of: Any, *args: Any, **kwargs: Any) -> Floats:
    """NaN for a row without data, without numpy's warning about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(of(*args, **kwargs), dtype=np.float64)


def mean(rows: Floats) -> Floats:
    """Of what is known in each row, NaN where nothing is; without numpy's warning about it."""
    known = np.isfinite(rows)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, rows, 0.0).sum(axis=1) / known.sum(axis=1))


def quantile(values: Floats, level: float, axis: int = -1) -> Floats:
    """The quantile of what is known along an axis, NaN where nothing is. numpy's own that knows of
    gaps goes through all rows in Python: a hundred times as long."""
    rows = np.sort(values if axis == -1 else np.moveaxis(values, axis, -1))  # NaN comes last
    shape, width = rows.shape[:-1], rows.shape[-1]
    if not width:
        return np.full(shape, np.nan)
    if np.isfinite(rows[..., -1]).all():  # no gaps: the same places in all rows
        at = level * (width - 1)
        low, high = rows[..., int(at)], rows[..., min(int(at) + 1, width - 1)]
        return np.asarray(low + (at - int(at)) * (high - low))
    flat = rows.reshape(-1)
    first = np.arange(0, rows.size, width)
    last = np.maximum(np.isfinite(flat).reshape(-1, width).sum(axis=1) - 1, 0)
    below = (level * last).astype(np.int64)
    low = flat[first + below]
    high = flat[first + np.minimum(below + 1, last)]
    return np.asarray(low + (level * last - below) * (high - low)).reshape(shape)


def by_day(past: Floats, step: float) -> Floats:
    """(…, samples) to (…, days, samples of a day), counted back from the end. What is left over at
    the beginning counts as a day if it is at least half of one."""
    per_day = max(1, round(DAY / step))
    over = past.shape[-1] % per_day
    if over * 2 >= per_day:
        gap = np.full((*past.shape[:-1], per_day - over), np.nan)
        past = np.concatenate([gap, past], axis=-1)
    elif over:
        past = past[..., over:]
    return past.reshape(*past.shape[:-1], past.shape[-1] // per_day, per_day)


def known_days(past: Floats, step: float) -> Floats:
    """One past's days, without those that nothing is known of."""
    days = by_day(past, step)
    return days[np.isfinite(days).any(axis=1)]


def day_peaks(past: Floats, step: float) -> Floats:
    """The highest value of each day; NaN for a day without data."""
    return np.asarray(np.fmax.reduce(by_day(past, step), axis=-1))


def recency(count: int, half_life: float) -> Floats:
    """Weights of days, the last one the heaviest; they add up to 1."""
    weights = np.exp2((np.arange(count) - count) / half_life)
    return weights / weights.sum() if count else weights


def drift(days: Floats, step: float, half_life: float = 3.0) -> float:
    """By how much (log) the last hours differ from the same hours of the days before.

    About half of that is still there on the next day, which no longer average can know.
    """
    if len(days) < 2:
        return 0.0
    recent = max(1, min(days.shape[1], round(RECENT / step)))
    least = 0.02 * float(np.nanmax(days))
    if not least > 0:
        return 0.0
    logs = mean(np.log(np.maximum(days[:, -recent:], least)))
    weights = recency(len(logs) - 1, half_life) * np.isfinite(logs[:-1])
    if not (np.isfinite(logs[-1]) and weights.any()):
        return 0.0
    known = np.where(weights > 0, logs[:-1], 0.0)
    before = float((weights * known).sum() / weights.sum())
    return float(np.clip(logs[-1] - before, -0.3, 0.3))


def spread(levels: Floats, prior: float, weight: float) -> float:
    """How much a level (log) moves from day to day, drawn towards `prior` where days are few, as
    if `weight` moves of that size had been seen."""
    moves = np.diff(levels[np.isfinite(levels)])
    return float(np.sqrt((weight * prior**2 + (moves**2).sum()) / (weight + len(moves))))


def anchor(peaks: Floats, fading: float) -> float:
    """The highest day's peak (log), where a peak fades by `fading` a day."""
    age = np.arange(len(peaks) - 1, -1, -1)
    return float(np.nanmax(peaks - fading * age))


def trend(values: Floats, step: float) -> tuple[float, float, float]:
    """The robust line through `values` (Theil-Sen): its slope per second, where it stands at the
    end, and the spread of what it leaves (1.4826 x the median deviation). NaN for fewer than 3."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 3:
        return np.nan, np.nan, np.nan
    if len(known) > 200:
        known = known[np.linspace(0, len(known) - 1, 200).astype(int)]
    x, y = known * step, values[known]
    first, second = np.triu_indices(len(x), 1)
    slope = float(np.median((y[second] - y[first]) / (x[second] - x[first])))
    level = float(np.median(y - slope * x))
    left = y - level - slope * x
    noise = 1.4826 * float(np.median(np.abs(left)))
    return slope, level + slope * (len(values) - 1) * step, noise
