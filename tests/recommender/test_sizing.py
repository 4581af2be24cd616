"""The requests that come of made usage, and what must hold of them for any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recommender.sizing import cpu_request, memory_request
from tests.recommender.made import KINDS, PER_DAY, STEP, constant, growing, seasonal, spiky

asks = pytest.mark.parametrize("ask", [cpu_request, memory_request])
usage = arrays(
    np.float64,
    st.integers(1, 3 * 24),
    elements=st.one_of(st.floats(0, 1e12, allow_subnormal=False), st.just(np.nan)),
)


@asks
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_is_of_the_size_of_what_is_used(ask, kind):
    values = KINDS[kind]()
    found = ask(values, STEP)
    assert np.nanmedian(values) < found < 1.5 * np.nanmax(values)


@asks
@given(values=usage, current=st.one_of(st.just(np.nan), st.floats(1e-3, 1e12)))
@settings(max_examples=150, deadline=None)
def test_any_past_gives_a_request_or_nan_and_the_same_each_time(ask, values, current):
    found = ask(values, 3600.0, current)
    half_a_day = np.isfinite(values[-12:]).any() and len(values) >= 12
    assert found >= 0 or (np.isnan(found) and not half_a_day)
    again = ask(values, 3600.0, current)
    assert found == again or (np.isnan(found) and np.isnan(again))


@asks
@given(values=usage, current=st.floats(1e-3, 1e12))
@settings(max_examples=150, deadline=None)
def test_a_change_is_outside_the_dead_band_or_not_made(ask, values, current):
    found = ask(values, 3600.0, current)
    if np.isfinite(found) and found > 0:
        assert found == current or abs(found / current - 1) > 0.1


@asks
@given(scale=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_the_unit_does_not_matter(ask, scale):
    assert ask(seasonal(5) * scale, STEP) == pytest.approx(scale * ask(seasonal(5), STEP), rel=1e-6)


@asks
def test_more_caution_asks_for_no_less(ask):
    for kind in KINDS.values():
        found = [ask(kind(), STEP, caution=c) for c in (0.5, 1, 2, 4)]
        assert found == sorted(found)


@asks
def test_what_fits_is_left_alone(ask):
    values = seasonal(7)
    first = ask(values, STEP)
    assert ask(values, STEP, first) == first
    assert ask(values, STEP, 0.95 * first) in (0.95 * first, pytest.approx(first, rel=0.2))


@asks
def test_ten_times_too_much_is_lowered_and_too_little_raised(ask):
    values = seasonal(7)
    assert ask(values, STEP, 15.0) < 2
    assert ask(values, STEP, 0.3) > 1.2


def test_memory_that_pilothouse_set_is_not_lowered_lightly():
    values = constant(7, 1000.0)
    assert memory_request(values, STEP, 1600.0) == 1600
    assert memory_request(values, STEP, 1600.0, ours=False) < 1150
    assert memory_request(values, STEP, 5000.0) < 1150


def test_memory_stands_above_every_recent_peak_and_a_short_past_gets_more():
    values = spiky(7)
    assert memory_request(values, STEP) > values[-5 * PER_DAY :].max() * 0.9
    short, long = (memory_request(constant(days), STEP) for days in (3, 7))
    assert 1 < long < short < 1.2


def test_rare_spikes_do_not_make_a_cpu_request():
    assert cpu_request(spiky(7), STEP) < 1.5


def test_growth_is_followed():
    assert cpu_request(growing(7), STEP) > 1.3
    assert memory_request(growing(7), STEP) > 1.35


@asks
def test_nothing_known_is_no_request_and_nothing_used_is_zero(ask):
    assert np.isnan(ask(np.full(PER_DAY, np.nan), STEP))
    assert np.isnan(ask(np.empty(0), STEP))
    assert ask(constant(3, 0.0), STEP, 1.0) == 0
