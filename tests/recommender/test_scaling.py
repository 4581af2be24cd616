"""Replicas follow the demand, from what came before alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recommender.scaling import fading, follow
from recommender.simulation import Service, judge, needed, service_for


def day_and_night(days=10, seed=0):
    rng = np.random.default_rng(seed)
    mean = 40 * (1.2 + np.sin(2 * np.pi * np.arange(days * 1440) / 1440))
    return rng.poisson(mean).astype(float)


def test_it_is_nearly_always_enough_and_not_much_more():
    demand = day_and_night()
    service = service_for(demand)
    found = judge(demand[4320:], follow(demand, service)[4320:], service)
    assert found["under"] < 80
    assert found["saturated"] < 1
    assert found["replicas"] < 1.35


def test_caution_trades_replicas_for_safety():
    demand = day_and_night()
    service = service_for(demand)
    rows = [judge(demand, follow(demand, service, caution=c), service) for c in (0.6, 1, 2)]
    assert sorted(r["replicas"] for r in rows) == [r["replicas"] for r in rows]
    assert sorted((r["under"] for r in rows), reverse=True) == [r["under"] for r in rows]


@given(cut=st.integers(10, 4000), seed=st.integers(0, 5))
@settings(max_examples=10, deadline=None)
def test_what_comes_later_changes_nothing_before(cut, seed):
    demand = day_and_night(3, seed)
    other = demand.copy()
    other[cut:] = 0.0
    service = Service(5.0)
    assert (follow(demand, service)[: cut + 2] == follow(other, service)[: cut + 2]).all()


@given(
    arrays(np.float64, st.integers(0, 400), elements=st.one_of(st.floats(0, 1e6), st.just(np.nan)))
)
@settings(max_examples=60, deadline=None)
def test_any_demand_gives_at_least_one_replica(demand):
    ready = follow(demand, Service(100.0, step=600.0))
    assert len(ready) == len(demand)
    assert (ready >= 1).all()


def test_nothing_to_serve_needs_one():
    assert (follow(np.zeros(3000), Service(5.0)) == 1).all()


def test_a_gap_keeps_the_level():
    assert fading(np.array([4.0, np.nan, np.nan]), 60, 60).tolist() == [4, 4, 4]


def test_needed_is_the_fewest_at_the_target():
    assert needed(np.array([0, 7, 7.1]), Service(10.0, target=0.7)).tolist() == [1, 1, 2]
    assert judge(np.full(1440, 7.0), np.ones(1440), Service(10.0))["replicas"] == pytest.approx(1)
