"""A day of a series in a few numbers: buckets whose edges grow by a twentieth."""

from dataclasses import dataclass

import numpy as np

from recommender.model import Floats

# Bucket 0 ends here, bucket n at RATIO**n times that: the same for cores, bytes and shares.
LEAST, RATIO = 1e-4, 1.05
_STRETCH = np.log(RATIO)


@dataclass(frozen=True)
class Day:
    """A day (days since 1970): how many steps were seen, their peak and mean, and how many fell
    into each bucket from `lowest` on."""

    day: int
    seen: int
    peak: float
    mean: float
    lowest: int
    counts: Floats

    def quantile(self, q: float) -> float:
        """The upper edge of the bucket that holds it, never above the peak."""
        bucket = int(np.searchsorted(np.cumsum(self.counts), q * self.seen))
        edge = LEAST * RATIO ** (self.lowest + min(bucket, len(self.counts) - 1))
        return float(min(edge, self.peak))


def distilled(day: int, points: Floats) -> Day | None:
    """The histogram of a day's values; None where there are none."""
    known = points[~np.isnan(points)].astype(float)
    if not len(known):
        return None
    at = np.ceil(np.log(np.maximum(known, LEAST) / LEAST) / _STRETCH - 1e-9).astype(int)
    counts = np.bincount(at - at.min()).astype(float)
    return Day(day, len(known), float(known.max()), float(known.mean()), int(at.min()), counts)
