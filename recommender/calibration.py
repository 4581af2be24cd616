"""Bounds that hold as often as they say, calibrated on what was forecast and came out before.

Split-conformal over a rolling origin: each past day's peak is scored against the forecast that the
days before it would have given, in units of the workload's own day-to-day spread. The scores of all
workloads are pooled, so that a week is enough, and begin with a few that stand for no knowledge.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from recommender.forecast import anchor, day_peaks, spread
from recommender.model import Floats

FADING = 0.03
SPREAD = 0.05
FEWEST_DAYS = 2
# Exponential, as the scores of most workloads are: a peak above the anchor is rare, but may be far.
PRIOR = -0.45 * np.log(1 - (np.arange(20) + 0.5) / 20)


@dataclass(frozen=True)
class Calibration:
    """Scores by resource (sorted). `quantile` is how many spreads above its anchor a day's peak
    stays, with the given probability."""

    scores: Mapping[str, Floats] = field(default_factory=dict)
    # Every workload asks for the same few.
    _known: dict[tuple[str, float], float] = field(default_factory=dict, repr=False, compare=False)

    def quantile(self, what: str, confidence: float) -> float:
        if (what, confidence) not in self._known:
            scores = np.concatenate([self.scores.get(what, PRIOR[:0]), PRIOR])
            level = min(1.0, confidence * (1 + 1 / len(scores)))
            self._known[what, confidence] = float(np.quantile(scores, level))
        return self._known[what, confidence]


def scored(pasts: Floats, step: float) -> Floats:
    """The scores of pasts, one a row: of each day that at least two days go before."""
    with np.errstate(divide="ignore"):
        peaks = np.log(day_peaks(np.atleast_2d(pasts), step))
    known = np.isfinite(peaks)
    counts = known.sum(axis=1)
    found = [PRIOR[:0]]
    for count in np.unique(counts[counts > FEWEST_DAYS]):
        alike = counts == count
        rows = peaks[alike][known[alike]].reshape(-1, count)
        # `anchor` and `spread` of the days before each day, all at once.
        day = np.arange(count)
        anchors = np.maximum.accumulate(rows + FADING * day, axis=1) - FADING * day
        moved = np.cumsum(np.diff(rows, axis=1, prepend=rows[:, :1]) ** 2, axis=1)
        spreads = np.sqrt((4 * SPREAD**2 + moved) / (4 + day))
        scores = (rows[:, 1:] - anchors[:, :-1]) / spreads[:, :-1]
        found.append(scores[:, FEWEST_DAYS - 1 :].ravel())
    return np.concatenate(found)


def calibrated(pasts: Iterable[tuple[str, Floats]], step: float) -> Calibration:
    """From many workloads' pasts, one a row, by resource."""
    found: dict[str, list[Floats]] = defaultdict(list)
    for what, rows in pasts:
        found[what].append(scored(rows, step))
    return Calibration({what: np.concatenate(of) for what, of in found.items()})


def peak_bound(
    past: Floats, step: float, what: str, confidence: float, calibration: Calibration
) -> float:
    """What the next day's peak stays within, with the probability `confidence`; NaN if fewer than
    two days are known."""
    with np.errstate(divide="ignore"):
        peaks = np.log(day_peaks(past, step))
    peaks = peaks[np.isfinite(peaks)]
    if len(peaks) < FEWEST_DAYS:
        return float("nan")
    reach = calibration.quantile(what, confidence) * spread(peaks, SPREAD, 4)
    return float(np.exp(anchor(peaks, FADING) + reach))
