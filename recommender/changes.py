"""Where a level changed and stayed: the change point, by medians (or by `ruptures`' KernelCPD)."""

import importlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from recommender.forecast import quantile
from recommender.model import Floats, RecommenderError

Detector = Literal["median", "kernel"]


@dataclass(frozen=True)
class Shift:
    """From sample `index` on the level is `after`, before it was `before`; `deviations` says by how
    many of the robust deviations of what is usual."""

    index: int
    before: float
    after: float
    deviations: float


def coarse(values: Floats, by: int) -> Floats:
    """Medians of `by` samples each, counted back from the end."""
    rows = values[len(values) % by :].reshape(-1, by)
    return quantile(rows, 0.5)


def last_shift(
    values: Floats, season: int = 0, fewest: int = 3, detector: Detector = "median"
) -> Shift | None:
    """The strongest change of level in `values`, if there is one: both sides at least `fewest`.

    What a period of `season` samples explains is taken out first, where there are three of them.
    The level counts in log, so that a doubling is a doubling at any size. `detector="kernel"`
    needs the extra package `ruptures`. Raises `RecommenderError` where it is missing.
    """
    known = np.isfinite(values)
    if known.sum() < 4 * fewest:
        return None
    least = max(0.01 * float(np.nanmedian(values[known])), 1e-9)
    logs = np.log(np.maximum(np.where(known, values, np.nan), least))
    logs = _filled(logs)
    rest = logs - _seasonal(logs, season) if season and len(logs) >= 3 * season else logs
    split = _kernel(rest, fewest) if detector == "kernel" else _medians(rest, fewest)
    before, after = rest[:split], rest[split:]
    step = float(np.median(after) - np.median(before))
    left = np.concatenate([before - np.median(before), after - np.median(after)])
    noise = 1.4826 * float(np.median(np.abs(left))) + 0.01
    return Shift(
        split,
        float(np.exp(np.median(logs[:split]))),
        float(np.exp(np.median(logs[:split]) + step)),
        abs(step) / noise,
    )


def _filled(logs: Floats) -> Floats:
    known = np.flatnonzero(np.isfinite(logs))
    return np.interp(np.arange(len(logs)), known, logs[known])


def _seasonal(logs: Floats, season: int) -> Floats:
    """Each phase's median over all periods but the last, about the median of all."""
    periods = logs[len(logs) % season :].reshape(-1, season)[:-1]
    phase = np.median(periods - np.median(periods, axis=1, keepdims=True), axis=0)
    return np.asarray(phase[(np.arange(len(logs)) - len(logs) % season) % season])


def _medians(values: Floats, fewest: int) -> int:
    """The split that leaves the least absolute deviation from the two medians: looked for in
    strides first, then from one to the next."""

    def left(split: int) -> float:
        sides = (values[:split], values[split:])
        return float(sum(np.abs(side - np.median(side)).sum() for side in sides))

    last = len(values) - fewest
    near = min(range(fewest, last + 1, 6), key=left)
    return min(range(max(fewest, near - 6), min(last, near + 6) + 1), key=left)


def _kernel(values: Floats, fewest: int) -> int:
    try:
        ruptures: Any = importlib.import_module("ruptures")
    except ImportError:
        raise RecommenderError(
            "The kernel detector needs ruptures.", "pip install ruptures, or take median."
        ) from None
    found = ruptures.KernelCPD(kernel="rbf", min_size=fewest).fit(values.reshape(-1, 1))
    return int(found.predict(n_bkps=1)[0])
