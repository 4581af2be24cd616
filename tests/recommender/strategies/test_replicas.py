"""Replicas and autoscalers' bounds, for made demand."""

import numpy as np

from recommender.simulation import Service
from recommender.strategies import Context, make
from recommender.strategies.replicas import schedule
from tests.recommender.made import (
    NOW,
    PER_DAY,
    STEP,
    autoscaler,
    constant,
    container,
    seasonal,
    series,
    workload,
)


def run(demand, replicas=None, settings=None, **more):
    one = workload(
        container(cpu_request=1.0, memory_request=2.0**30),
        demand=series(demand),
        replicas=None if replicas is None else series(replicas),
        **more,
    )
    return make("replicas", **(settings or {})).run(one, NOW, Context())


def test_too_many_are_scaled_down_and_too_few_up():
    (down,) = run(seasonal(base=3.0), wanted=20)
    assert down.tool == "workload_scale"
    assert 5 <= down.arguments["replicas"] <= 8
    assert down.monthly > 0
    assert "runs 20 replicas, but" in down.reason
    (up,) = run(seasonal(base=3.0), wanted=2)
    assert 5 <= up.arguments["replicas"] <= 8
    assert up.monthly < 0


def test_what_is_enough_is_left_alone():
    (found,) = run(seasonal(base=3.0), wanted=20)
    assert run(seasonal(base=3.0), wanted=found.arguments["replicas"]) == []


def test_two_replicas_are_not_made_one_and_a_stopped_workload_stays_so():
    assert run(constant(base=0.1), wanted=2) == []
    assert run(constant(base=0.1), wanted=0) == []


def test_an_autoscaler_at_its_maximum_may_go_higher():
    (found,) = run(
        seasonal(base=4.0), replicas=np.full(7 * PER_DAY, 4.0), autoscaler=autoscaler(2, 4)
    )
    assert found.tool == "autoscaler_update"
    assert found.arguments["name"] == "shop-hpa"
    assert 8 <= found.arguments["max_replicas"] <= 14
    assert "sat at its 4 replicas for 100%" in found.reason


def test_an_autoscaler_at_a_minimum_that_is_not_needed_may_go_lower():
    (found,) = run(
        constant(base=1.0), replicas=np.full(7 * PER_DAY, 10.0), autoscaler=autoscaler(10, 20)
    )
    assert found.arguments["min_replicas"] == 2
    assert found.monthly > 0


def test_an_autoscaler_that_moves_is_left_alone():
    moving = np.tile([2.0, 3.0, 4.0, 5.0], 7 * PER_DAY // 4)
    assert run(seasonal(base=2.0), replicas=moving, autoscaler=autoscaler(2, 8)) == []


def test_the_schedule_has_more_by_day_than_by_night_ahead_of_the_need():
    hours = schedule(seasonal(base=10.0), Service(1.0, STEP))
    assert len(hours) == 24
    assert hours[6] > 2 * hours[18]
    assert hours[0] < hours[3] < hours[6]


def test_for_now_the_last_minutes_count():
    demand = seasonal(base=3.0)
    demand[-24:] = 9.0
    (found,) = run(demand, settings={"horizon": "now"}, wanted=5)
    assert found.arguments["replicas"] > 12


def test_without_demand_or_with_too_little_of_it_nothing_is_said():
    assert run(constant(1)) == []
    assert run(constant(7, 0.0)) == []
    assert run(np.full(7 * PER_DAY, np.nan)) == []
    assert run(seasonal(), kind="DaemonSet") == []


def test_what_a_replica_serves_is_seen_where_nothing_is_asked_for():
    one = workload(
        container(),
        demand=series(constant(base=80.0)),
        replicas=series(constant(base=4.0)),
        wanted=12,
    )
    (found,) = make("replicas").run(one, NOW, Context())
    assert found.arguments["replicas"] == 4
