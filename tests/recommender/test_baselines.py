"""The published formulas, by hand."""

import numpy as np
import pytest

from recommender.baselines import MIB, hpa, krr_cpu, krr_memory, vpa_cpu, vpa_memory
from recommender.simulation import Service
from tests.recommender.made import PER_DAY, STEP, constant

GIB = 2.0**30


def rows(*values):
    return np.array(values)


def test_krr_is_a_percentile_and_a_maximum_with_floors():
    past = rows(np.arange(1001.0), np.zeros(1001))
    assert krr_cpu(past, STEP).tolist() == [950, 0.01]
    assert krr_memory(past * GIB, STEP) == pytest.approx([1150 * GIB, 100 * MIB])


def test_vpa_is_the_end_of_a_bucket_and_fifteen_percent():
    ends = 0.01 * (1.05 ** np.arange(1, 200) - 1) / 0.05
    bucket = ends[np.searchsorted(ends, 1.0, side="right")]
    assert vpa_cpu(rows(constant(7, 1.0)), STEP) == pytest.approx([bucket * 1.15])
    assert vpa_cpu(rows(constant(7, 0.0)), STEP) == pytest.approx([0.025])
    assert vpa_memory(rows(constant(7, 1.0)), STEP) == pytest.approx([250 * MIB])


def test_vpa_forgets_by_half_a_day():
    past = np.concatenate([constant(3, 10.0), constant(4, 1.0)])
    assert vpa_cpu(rows(past), STEP)[0] < 1.3
    past = np.concatenate([constant(5, 10.0), constant(2, 1.0)])
    assert vpa_cpu(rows(past), STEP)[0] > 10


def test_nothing_known_is_nan():
    nothing = np.full((1, PER_DAY), np.nan)
    for ask in (krr_cpu, krr_memory, vpa_cpu, vpa_memory):
        assert np.isnan(ask(nothing, STEP)).all()


def test_the_autoscaler_goes_up_after_a_start_and_down_after_five_minutes():
    service = Service(10.0)
    demand = np.array([7.0] * 10 + [21.0] * 20 + [7.0] * 20)
    ready = hpa(demand, service)
    assert ready[11] == 1
    assert ready[12] == 3
    assert ready[30 + 6] == 3
    assert ready[30 + 7] == 1


def test_the_autoscaler_lets_a_tenth_be():
    assert (hpa(np.array([7.0] * 5 + [7.6] * 20), Service(10.0)) == 1).all()
