"""What is said of tomorrow from the days before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.forecast import (
    anchor,
    by_day,
    day_peaks,
    drift,
    known_days,
    recency,
    spread,
    trend,
)
from tests.recommender.made import NOW, PER_DAY, STEP, constant, gappy, growing, seasonal


def test_days_are_counted_back_from_now():
    values = np.arange(2.25 * PER_DAY)
    days = by_day(values, STEP)
    assert days.shape == (2, PER_DAY)
    assert days[-1, -1] == values[-1]


def test_more_than_half_a_day_counts_as_one():
    days = by_day(np.ones(int(1.5 * PER_DAY)), STEP)
    assert days.shape == (2, PER_DAY)
    assert np.isnan(days[0]).sum() == PER_DAY // 2


def test_a_day_without_data_is_no_day():
    assert len(known_days(gappy(7), STEP)) == 6
    assert np.isnan(day_peaks(gappy(7), STEP)[2])


@given(st.integers(0, 30), st.floats(0.1, 100))
def test_weights_add_up_and_the_last_day_is_the_heaviest(count, half_life):
    weights = recency(count, half_life)
    assert count == 0 or weights.sum() == pytest.approx(1)
    assert (np.diff(weights) >= 0).all()


def test_a_season_is_no_drift_and_a_rise_in_the_last_hours_is_one():
    values = seasonal(7)
    assert abs(drift(known_days(values, STEP), STEP)) < 0.03
    values[-36:] *= 1.2
    assert drift(known_days(values, STEP), STEP) == pytest.approx(np.log(1.2), abs=0.03)


def test_there_is_no_drift_in_one_day_or_in_nothing_used():
    assert drift(known_days(constant(1), STEP), STEP) == 0
    assert drift(known_days(constant(3, 0.0), STEP), STEP) == 0


def test_few_days_are_drawn_towards_the_prior():
    assert spread(np.array([0.0]), 0.05, 4) == pytest.approx(0.05)
    assert spread(np.zeros(100), 0.05, 4) < 0.011


def test_an_old_peak_fades():
    peaks = np.array([1.0, 0.0, 0.0])
    assert anchor(peaks, 0.1) == pytest.approx(0.8)
    assert anchor(peaks, 0.6) == 0


def test_outliers_do_not_turn_a_trend():
    values = growing(7, 100.0)
    values[::50] *= 5
    slope, level, _ = trend(values, STEP)
    assert slope * 86400 == pytest.approx(5, rel=0.2)
    assert level == pytest.approx(135, rel=0.05)
    assert np.isnan(trend(np.full(9, np.nan), STEP)[0])
    assert NOW > 0
