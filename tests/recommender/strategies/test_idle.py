"""What nobody uses is stopped, and nothing else."""

import numpy as np

from recommender.strategies import Context, make
from tests.recommender.made import NOW, PER_DAY, constant, container, series, workload


def run(cpu, **more):
    one = workload(container(cpu, cpu_request=0.5, memory_request=2.0**30), **more)
    return make("idle").run(one, NOW, Context())


def test_what_was_idle_for_a_week_is_stopped():
    (found,) = run(constant(7, 0.001), traffic=series(constant(7, 0.0)))
    assert found.tool == "workload_stop"
    assert found.arguments == {"tenant": "team-a", "name": "shop", "kind": "Deployment"}
    assert "for 7 days, and keeps 1 core and 2 GiB reserved" in found.reason
    assert found.monthly > 0
    assert found.risk == "low"
    assert 0.85 < found.confidence < 0.95


def test_without_traffic_it_says_so_and_is_less_sure():
    (found,) = run(constant(7, 0.001))
    assert found.risk == "medium"
    assert any("CPU alone" in note for note in found.notes)


def test_use_three_days_ago_keeps_it():
    used = constant(7, 0.001)
    used[-3 * PER_DAY] = 0.2
    assert run(used) == []


def test_what_serves_without_cpu_is_kept():
    assert run(constant(7, 0.001), traffic=series(constant(7, 3.0))) == []


def test_yesterdays_child_and_what_is_not_known_are_kept():
    assert run(constant(1, 0.0)) == []
    assert run(np.full(7 * PER_DAY, np.nan)) == []
    assert run(None) == []
    assert run(constant(7, 0.001), wanted=0) == []
    assert run(constant(7, 0.001), kind="DaemonSet") == []
