"""Leaks, full disks and sudden changes are told of, seasons and noise are not."""

import numpy as np
import pytest

from recommender.strategies import Context, make
from recommender.strategies.saturation import SaturationSettings
from tests.recommender.made import (
    DAY,
    KINDS,
    MIB,
    NOW,
    PER_DAY,
    constant,
    container,
    leaking,
    noise,
    seasonal,
    series,
    workload,
)

GIB = 2.0**30


def run(*containers, settings=None, **more):
    return make("saturation", **(settings or {})).run(workload(*containers, **more), NOW, Context())


def test_a_leak_is_told_with_its_time_and_a_restart():
    (found,) = run(container(memory=leaking(3), memory_limit=700 * MIB))
    assert found.tool == "workload_restart"
    assert found.evidence["full_in_seconds"] == pytest.approx(2 * 86400, rel=0.15)
    assert found.confidence > 0.8
    assert "a restart buys time" in found.reason


def test_a_leak_is_seen_from_its_last_restart_on():
    memory = np.concatenate([leaking(4, seed=1), leaking(2, seed=2)])
    (found,) = run(container(memory=memory, memory_limit=800 * MIB))
    assert found.evidence["hours_seen"] == pytest.approx(48, abs=1)
    assert found.evidence["full_in_seconds"] == pytest.approx(4 * 86400, rel=0.15)


def test_a_leak_that_began_anew_is_told_of_at_once_and_not_given_more_memory():
    """As after a kill: three days from 200 MiB to the limit, and two hours of the next."""
    once = leaking(3, a_day=270 * MIB)
    memory = np.concatenate([once, once, once[:24]])
    killed = tuple(NOW - (2 / 24 + days) * DAY for days in (0, 3))
    known = container(memory=memory, memory_request=256 * MIB, memory_limit=GIB, oom_kills=killed)
    (found,) = run(known)
    assert found.evidence["times_before"] == 2
    assert found.evidence["full_in_seconds"] == pytest.approx(2.95 * DAY, rel=0.1)
    assert "does not mend" in found.reason
    assert found.tool == ""  # a restart would buy nothing
    (sized,) = make("rightsize").run(workload(known), NOW, Context()) or [None]
    assert sized is None or not [a for a in sized.arguments if a.startswith("memory")]


def test_what_the_user_takes_for_a_leak_is_what_gets_no_more_memory():
    once = leaking(3, a_day=270 * MIB)
    memory = np.concatenate([once, once, once[:24]])
    killed = tuple(NOW - (2 / 24 + days) * DAY for days in (0, 3))
    known = container(memory=memory, memory_request=256 * MIB, memory_limit=GIB, oom_kills=killed)
    near = Context(saturation=SaturationSettings(horizon_days=1))
    (sized,) = make("rightsize").run(workload(known), NOW, near)
    assert "memory_limit" in sized.arguments


def test_what_fills_has_a_moment_at_which_it_fails():
    (found,) = run(container(memory=leaking(3), memory_limit=700 * MIB))
    assert found.deadline == pytest.approx(NOW + found.evidence["full_in_seconds"])
    used = 50 * GIB + 5 * GIB * np.arange(7 * PER_DAY) / PER_DAY
    (found,) = run(disks={"data-shop-0": (series(used), 100 * GIB)})
    assert found.deadline == pytest.approx(NOW + 3 * DAY, rel=0.01)


def test_a_disk_that_is_cleared_out_every_day_is_not_about_to_fill():
    day = 30 * GIB + 20 * GIB * np.arange(PER_DAY) / PER_DAY
    assert run(disks={"logs": (series(np.tile(day, 7)[: -PER_DAY // 2]), 100 * GIB)}) == []


def test_what_is_killed_by_its_spikes_is_no_leak_and_gets_more_memory():
    memory = 300 * MIB * (1 + 0.02 * noise(7))
    memory[[-700, -400]] = 1000 * MIB
    killed = tuple(NOW - n * 300.0 for n in (700, 400))
    known = container(memory=memory, memory_request=512 * MIB, memory_limit=GIB, oom_kills=killed)
    assert run(known) == []
    (sized,) = make("rightsize").run(workload(known), NOW, Context())
    assert "memory_limit" in sized.arguments


def test_a_leak_that_takes_months_is_none_yet():
    assert run(container(memory=leaking(7, a_day=MIB), memory_limit=2 * GIB)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_seasons_spikes_and_gaps_are_no_leak(kind):
    if kind == "growing":
        pytest.skip("that one is")
    assert run(container(KINDS[kind](), KINDS[kind](base=500 * MIB), memory_limit=GIB)) == []


def test_a_disk_that_fills_is_told_of_without_a_call():
    used = 50 * GIB + 5 * GIB * np.arange(7 * PER_DAY) / PER_DAY + 0.1 * GIB * noise(7)
    (found,) = run(disks={"data-shop-0": (series(used), 100 * GIB)})
    assert found.tool == ""
    assert "full in about 3 days" in found.reason
    assert found.bound["metric"] == "disk:data-shop-0"


def test_a_quota_that_fills_is_told_of():
    used = 10 + 2 * np.arange(5 * PER_DAY) / PER_DAY
    (found,) = run(kind="Namespace", quotas={"team/requests.cpu": (series(used), 24.0)})
    assert "raise the quota" in found.reason


def test_a_jump_without_traffic_is_reported_as_what_a_scale_up_does_not_mend():
    cpu = seasonal(7, 0.2)
    cpu[-8 * PER_DAY // 24 :] *= 3
    steady = series(seasonal(7, 100.0))
    (found,) = run(container(cpu), traffic=steady)
    assert found.tool == ""
    assert found.evidence["hours_ago"] == pytest.approx(8, abs=1)
    assert "more replicas would not mend it" in found.reason


def test_a_jump_that_came_with_traffic_is_none():
    cpu, served = seasonal(7, 0.2), seasonal(7, 100.0)
    for values in (cpu, served):
        values[-8 * PER_DAY // 24 :] *= 3
    assert run(container(cpu), traffic=series(served)) == []


def test_a_jump_of_last_week_is_no_news():
    cpu = seasonal(7, 0.2)
    cpu[-4 * PER_DAY :] *= 3
    assert run(container(cpu)) == []


def test_the_kernel_detector_finds_the_same_jump():
    pytest.importorskip("ruptures")
    cpu = constant(7, 0.2) * (1 + 0.05 * noise(7))
    cpu[-8 * PER_DAY // 24 :] *= 3
    (found,) = run(container(cpu), settings={"detector": "kernel"})
    assert found.evidence["hours_ago"] == pytest.approx(8, abs=1)


def test_little_data_says_nothing():
    assert run(container(leaking(0.25), leaking(0.25), memory_limit=GIB)) == []
    assert (
        run(container(np.full(PER_DAY, np.nan), np.full(PER_DAY, np.nan), memory_limit=GIB)) == []
    )
