"""Bounds hold as often as they say, also on workloads that were not among those scored."""

import numpy as np
import pytest

from recommender.calibration import Calibration, calibrated, peak_bound, scored
from tests.recommender.made import PER_DAY, STEP, constant, gappy


def walk(days, seed, heavy):
    """Days whose peaks move as a random walk, with a jump now and then."""
    rng = np.random.default_rng(seed)
    moves = rng.standard_t(3, days) * 0.05 if heavy else rng.normal(size=days) * 0.03
    level = np.exp(np.cumsum(moves) - 0.3 * np.arange(days) * 0)
    return np.repeat(level, PER_DAY // 12) * (1 + 0.1 * rng.random(days * PER_DAY // 12))


@pytest.mark.parametrize("heavy", [False, True])
def test_what_claims_ninety_percent_holds_about_that_often(heavy):
    step = STEP * 12
    pasts = [walk(8, seed, heavy) for seed in range(400)]
    per_day = PER_DAY // 12
    before = np.array([past[:-per_day] for past in pasts[:200]])
    calibration = calibrated([("cpu", before[:90]), ("cpu", before[90:])], step)
    held = [
        past[-per_day:].max() <= peak_bound(past[:-per_day], step, "cpu", 0.9, calibration)
        for past in pasts[200:]
    ]
    assert 0.86 <= np.mean(held) <= 0.95


def test_a_surer_bound_is_a_higher_one():
    past = walk(7, 1, True)
    bounds = [peak_bound(past, STEP * 12, "cpu", c, Calibration()) for c in (0.6, 0.8, 0.9, 0.99)]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1]


def test_one_day_is_too_short_for_a_bound():
    assert np.isnan(peak_bound(constant(1), STEP, "cpu", 0.9, Calibration()))
    assert len(scored(constant(2), STEP)) == 0
    assert len(scored(constant(5), STEP)) == 3


def test_gaps_and_days_without_use_are_no_scores():
    assert len(scored(gappy(7), STEP)) == 4
    assert len(scored(constant(7, 0.0), STEP)) == 0
    assert len(calibrated([("cpu", np.empty((0, 288)))], STEP).scores["cpu"]) == 0
    assert len(calibrated([("cpu", np.empty((3, 0)))], STEP).scores["cpu"]) == 0


def test_pasts_are_scored_together_as_each_by_itself():
    pasts = np.array([walk(7, seed, True) for seed in range(20)])
    pasts[3, :100], pasts[8, 50:90], pasts[9] = np.nan, np.nan, np.nan
    alone = [scored(past, STEP * 12) for past in pasts]
    together = scored(pasts, STEP * 12)
    assert np.allclose(np.sort(np.concatenate(alone)), np.sort(together))
