"""Where a level changed: found where it did, and with few deviations where it did not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recommender.changes import coarse, last_shift


def level(before, after, at, noise=0.05, seed=0, length=168):
    rng = np.random.default_rng(seed)
    return np.where(np.arange(length) < at, before, after) * (1 + noise * rng.normal(size=length))


@pytest.mark.parametrize("detector", ["median", "kernel"])
@pytest.mark.parametrize("at", [20, 84, 160])
def test_a_step_is_found_where_it_is(at, detector):
    if detector == "kernel":
        pytest.importorskip("ruptures")
    found = last_shift(level(1.0, 2.0, at), detector=detector)
    assert found.index == pytest.approx(at, abs=1)
    assert found.after / found.before == pytest.approx(2, rel=0.1)
    assert found.deviations > 8


def test_noise_has_no_step_worth_the_name():
    assert max(last_shift(level(1, 1, 84, seed=s)).deviations for s in range(20)) < 4


def test_a_season_is_taken_out():
    season = 1 + 0.5 * np.sin(2 * np.pi * np.arange(168) / 24)
    assert last_shift(level(1, 1, 84) * season, season=24).deviations < 4
    found = last_shift(level(1, 2, 150) * season, season=24)
    assert found.index == pytest.approx(150, abs=2)


def test_single_outliers_are_no_change():
    values = level(1, 1, 84)
    values[[30, 90, 165]] = 20
    assert last_shift(values).deviations < 4


def test_too_little_has_no_shift():
    assert last_shift(np.ones(5)) is None
    assert last_shift(np.full(100, np.nan)) is None


@given(
    arrays(np.float64, st.integers(0, 80), elements=st.one_of(st.floats(0, 1e9), st.just(np.nan)))
)
@settings(max_examples=80, deadline=None)
def test_any_values_give_a_shift_or_none(values):
    found = last_shift(values, season=24)
    assert found is None or (0 < found.index < len(values) and np.isfinite(found.deviations))


def test_gaps_stay_gaps_when_made_coarse():
    assert coarse(np.array([9.0, 1, 2, 3, np.nan, np.nan, np.nan]), 3).tolist()[0] == 2
    assert np.isnan(coarse(np.full(6, np.nan), 3)).all()
