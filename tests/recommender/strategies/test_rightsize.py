"""Requests and limits per container, for made workloads of every kind."""

import numpy as np
import pytest

from recommender.strategies import Context, make
from recommender.strategies.base import MIB, Prices, cores, memory, round_up
from tests.recommender.made import (
    KINDS,
    NOW,
    PER_DAY,
    autoscaler,
    constant,
    container,
    seasonal,
    series,
    workload,
)

HOUR = 3600


def run(*containers, context=None, settings=None, **more):
    return make("rightsize", **(settings or {})).run(
        workload(*containers, **more), NOW, context or Context()
    )


def test_too_much_is_lowered_with_what_it_saves():
    (found,) = run(
        container(seasonal(), seasonal(base=500 * MIB), cpu_request=8.0, memory_request=4096 * MIB)
    )
    assert found.tool == "workload_resize"
    assert found.arguments["tenant"] == "team-a"
    assert found.arguments["container"] == "web"
    assert 1200 < int(found.arguments["cpu_request"].removesuffix("m")) < 1800
    assert 700 < int(found.arguments["memory_request"].removesuffix("Mi")) < 1000
    assert found.monthly > 200
    assert found.confidence == 0.9
    assert found.bound["at_most"] > 700 * MIB
    assert "asks for 4 GiB of memory, but used at most" in found.reason
    assert found.reason.count(".") - found.reason.count(" 95") <= 4
    assert found.risk == "low"


def test_what_fits_is_left_alone():
    values = seasonal()
    (found,) = run(container(values))
    asked = int(found.arguments["cpu_request"].removesuffix("m")) / 1000
    assert run(container(values, cpu_request=asked)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_suggestion_that_was_applied_is_followed_by_none(kind):
    cpu, used = KINDS[kind](), KINDS[kind](base=800 * MIB)
    (first,) = run(container(cpu, used))
    asked = first.arguments
    second = run(
        container(
            cpu,
            used,
            cpu_request=int(asked["cpu_request"].removesuffix("m")) / 1000,
            memory_request=int(asked["memory_request"].removesuffix("Mi")) * MIB,
        )
    )
    assert second == []


def test_the_resource_that_an_autoscaler_scales_on_is_left_alone():
    one = container(
        seasonal(), seasonal(base=500 * MIB), cpu_request=8.0, memory_request=4096 * MIB
    )
    (found,) = run(one, autoscaler=autoscaler(resources=("cpu",)))
    assert "cpu_request" not in found.arguments
    assert "memory_request" in found.arguments
    assert run(one, autoscaler=autoscaler(resources=("cpu", "memory"))) == []


def test_an_oom_kill_raises_the_limit_and_lowers_nothing():
    used = constant(base=480 * MIB)
    one = container(
        memory=used,
        memory_request=500 * MIB,
        memory_limit=512 * MIB,
        oom_kills=(NOW - HOUR, NOW - 2 * HOUR),
    )
    (found,) = run(one)
    assert found.arguments["memory_limit"] == "768Mi"
    assert "killed 2 times" in found.reason
    assert found.deadline == NOW + HOUR
    assert "memory_request" not in found.arguments or found.arguments["memory_request"] == "512Mi"


def test_an_old_kill_is_forgotten():
    one = container(
        memory=constant(base=400 * MIB),
        memory_request=420 * MIB,
        memory_limit=700 * MIB,
        oom_kills=(NOW - 20 * 24 * HOUR,),
    )
    assert run(one) == []


def test_what_is_throttled_gets_a_higher_limit_and_no_lower_request():
    one = container(
        constant(base=0.5), cpu_request=2.0, cpu_limit=0.5, throttled=series(np.full(PER_DAY, 0.4))
    )
    (found,) = run(one)
    assert found.arguments["cpu_limit"] == "750m"
    assert "cpu_request" not in found.arguments
    assert "throttled in 40%" in found.reason


def test_a_request_never_goes_above_its_limit():
    one = container(
        memory=seasonal(base=1000 * MIB), memory_request=100 * MIB, memory_limit=1400 * MIB
    )
    (found,) = run(one)
    asked = int(found.arguments["memory_request"].removesuffix("Mi"))
    limit = int(found.arguments.get("memory_limit", "1400Mi").removesuffix("Mi"))
    assert asked <= limit


def test_a_day_is_too_short_and_jobs_are_not_resized():
    assert run(container(seasonal(1), cpu_request=8.0)) == []
    assert run(container(seasonal(7), cpu_request=8.0), kind="Job") == []


def test_what_was_there_before_the_window_does_not_count():
    assert run(container(np.r_[seasonal(7), np.full(7 * PER_DAY, np.nan)], cpu_request=8.0)) == []


def test_a_half_known_past_makes_a_lower_request_risky():
    (found,) = run(container(seasonal(), cpu_request=8.0), notes=("It has gaps.",))
    assert (found.risk, found.notes) == ("medium", ("It has gaps.",))


def test_prices_are_the_users():
    context = Context(prices=Prices(cpu_core_hour=1.0, memory_gib_hour=0.0, hours_a_month=1.0))
    (found,) = run(container(constant(base=1.0), cpu_request=4.0), context=context, wanted=3)
    assert found.monthly == pytest.approx(3 * 3, abs=0.3)


def test_caution_asks_for_more():
    less, more = (
        int(
            run(container(seasonal()), settings={"caution": c})[0]
            .arguments["cpu_request"]
            .removesuffix("m")
        )
        for c in (0.5, 4)
    )
    assert less < more


@pytest.mark.parametrize(
    ("value", "said"), [(0.0004, "1m"), (0.25, "250m"), (1.2345, "1240m"), (2, "2000m")]
)
def test_cores_are_said_as_kubernetes_does(value, said):
    assert cores(value) == said


def test_amounts_are_rounded_up():
    assert memory(1.0) == "1Mi"
    assert memory(1234.1 * MIB) == "1240Mi"
    assert [round_up(v) for v in (0.1, 9.2, 99.5, 1001)] == [1, 10, 100, 1010]
