"""A day in a few numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from recommender.histograms import RATIO, distilled

VALUES = some.lists(some.floats(0, 1e12), min_size=1, max_size=288)


@given(values=VALUES, q=some.floats(0.01, 1))
def test_a_quantile_is_no_lower_than_it_was_and_a_twentieth_higher_at_the_most(
    values: list[float], q: float
) -> None:
    day = distilled(1, np.array(values))
    assert day is not None
    true = float(np.quantile(values, q, method="inverted_cdf"))
    assert day.quantile(q) >= true * (1 - 1e-6)
    assert day.quantile(q) <= max(true * RATIO * (1 + 1e-6), 1e-4)


def test_what_is_unknown_does_not_count() -> None:
    day = distilled(3, np.array([np.nan, 2.0, 4.0, np.nan]))
    assert day is not None
    assert (day.day, day.seen, day.peak, day.mean) == (3, 2, 4.0, 3.0)
    assert day.quantile(1.0) == pytest.approx(4.0)


def test_a_day_without_anything_is_none() -> None:
    assert distilled(3, np.full(288, np.nan)) is None
