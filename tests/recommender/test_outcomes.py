"""How it went after a suggestion was applied."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.measures import Figures, figures
from recommender.model import Autoscaler, Container, Series, Subject, Suggestion, Workload
from recommender.outcomes import after, before, judge, watch_s

DAY, HOUR, STEP = 86400.0, 3600.0, 300.0
APPLIED = 20_000 * DAY
NOW = APPLIED + DAY
SINCE = APPLIED + HOUR
API = Subject("default", "shop", "Deployment", "api")
NOISE = np.random.default_rng(7)


def level(was: float, now: float, spread: float = 0.1, days: float = 7) -> Series:
    """So much until it was applied, so much since."""
    count, since = round(days * DAY / STEP), round(DAY / STEP)
    values = np.concatenate([np.full(count, was), np.full(since, now)])
    values = values * (1 + spread * NOISE.uniform(-1, 1, len(values)))
    return Series(APPLIED - days * DAY, STEP, values)


def container(**more: Any) -> Container:
    values: dict[str, Any] = {
        "cpu": level(0.1, 0.1),
        "memory": level(2e8, 2e8),
        "throttled": level(0.01, 0.01),
        "cpu_request": 0.2,
        "memory_request": 3e8,
    }
    return Container("app", **(values | more))


def workload(*containers: Container, **more: Any) -> Workload:
    values: dict[str, Any] = {"replicas": level(3, 3, 0), "wanted": 3}
    return Workload(API, containers or (container(),), **(values | more))


def smaller(**more: Any) -> Suggestion:
    values: dict[str, Any] = {
        "strategy": "rightsize",
        "subject": replace(API, container="app"),
        "title": "",
        "reason": "",
        "tool": "workload_resize",
        "arguments": {"container": "app", "cpu_request": "200m", "memory_request": "300M"},
        "bound": {"metric": "memory", "at_most": 2.5e8, "seconds": DAY},
    }
    return Suggestion(**(values | more))


def judged(suggestion: Suggestion, of: Workload, was: Workload | None = None) -> Any:
    # By way of JSON, as the baseline is kept.
    past = json.loads(json.dumps(before(was or of, APPLIED).plain()))
    return judge(suggestion, past, after(of, APPLIED, NOW))


def test_what_stayed_and_hurt_nobody_is_kept() -> None:
    found = judged(smaller(), workload())
    assert (found.outcome, found.held) == ("kept", True)
    assert found.why == (
        "The CPU request and the memory request of app stayed as applied. "
        "Nothing got worse in the 24 hours since."
    )


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        ({"oom_kills": (SINCE,)}, "killed for memory once (not once in the 7 days before)"),
        ({"restarted": (SINCE, SINCE + 60, SINCE + 99)}, "restarted 3 times (not once"),
        ({"throttled": level(0.01, 0.3)}, "throttled in"),
    ],
)
def test_what_is_worse_since_is_harm(worse: dict[str, Any], why: str) -> None:
    found = judged(smaller(), workload(container(**worse)))
    assert found.outcome == "harmful"
    assert why in found.why
    assert found.why.endswith("in the 24 hours since.")


@pytest.mark.parametrize(
    "bad_already",
    [
        {"oom_kills": (*(APPLIED - n * DAY for n in range(1, 6)), SINCE)},
        {"restarted": tuple(APPLIED - n * HOUR for n in range(1, 50, 4)) + (SINCE,) * 4},
        {"throttled": level(0.3, 0.3)},
        {"restarted": (SINCE,)},
    ],
)
def test_what_was_bad_already_is_no_harm_done(bad_already: dict[str, Any]) -> None:
    assert judged(smaller(), workload(container(**bad_already))).outcome == "kept"


def test_a_kill_is_not_a_restart_as_well() -> None:
    found = figures(workload(container(oom_kills=(SINCE,), restarted=(SINCE,))), APPLIED, NOW)
    assert (found.containers["app"].oom_kills, found.containers["app"].restarts) == (1, 0)


def test_a_spread_that_is_usual_is_no_harm() -> None:
    days = np.repeat([0.0, 0.2, 0.02, 0.25, 0.1, 0.0, 0.15, 0.24], round(DAY / STEP))
    wild = Series(APPLIED - 7 * DAY, STEP, days)
    assert judged(smaller(), workload(container(throttled=wild))).outcome == "kept"


def test_replicas_that_are_not_ready_are_harm_also_under_an_autoscaler() -> None:
    found = judged(smaller(), workload(replicas=level(3, 2, 0)))
    assert found.why.startswith("33.3% of its replicas were not ready (0.0% before)")
    flaps = level(4, 4, 0)
    flaps.values[-250::3] = 1
    scaler = Autoscaler("api", 2, 9)
    assert judged(smaller(), workload(replicas=flaps, autoscaler=scaler)).outcome == "harmful"
    grown = level(4, 8, 0)
    assert judged(smaller(), workload(replicas=grown, autoscaler=scaler)).outcome == "kept"


def test_what_a_rollout_does_in_its_first_minutes_is_no_harm() -> None:
    starts = level(0.01, 0.01)
    starts.values[-288:-286] = 1.0
    assert judged(smaller(), workload(container(throttled=starts))).outcome == "kept"


def test_too_little_is_not_judged_yet_unless_harm_is_clear_or_patience_is_over() -> None:
    of = workload()
    past = before(of, APPLIED)
    assert judge(smaller(), past, after(of, APPLIED, APPLIED + 3 * HOUR)) is None
    assert judge(smaller(), past, None, waited_s=DAY) is None
    gone_for_good = judge(smaller(), past, None, waited_s=3 * DAY)
    assert gone_for_good
    assert gone_for_good.outcome == "no_effect"
    killed = workload(container(oom_kills=(SINCE,)))
    found = judge(smaller(), past, after(killed, APPLIED, APPLIED + 3 * HOUR))
    assert found
    assert found.outcome == "harmful"
    gone = Workload(API, (Container("app"),))
    assert judge(smaller(), past, after(gone, APPLIED, NOW)) is None
    found = judge(smaller(), past, after(gone, APPLIED, APPLIED + 4 * DAY))
    assert found
    assert (found.outcome, found.held) == ("no_effect", None)


def test_without_a_baseline_only_what_is_plain_is_harm() -> None:
    of = workload(container(throttled=level(0.01, 0.5)))
    found = judge(smaller(), None, after(of, APPLIED, NOW))
    assert found
    assert found.outcome == "kept"


def test_requests_that_something_put_back_had_no_effect() -> None:
    old = workload(container(memory_request=6e8))
    found = judged(smaller(), old, old)
    assert found.outcome == "no_effect"
    assert found.why == "The memory request of app is what it was: something has put it back."
    other = workload(container(memory_request=4.5e8))
    assert "is not what was applied" in judged(smaller(), other, old).why


def test_a_bound_that_was_exceeded_did_not_hold() -> None:
    assert judged(smaller(), workload(container(memory=level(2e8, 2.6e8)))).held is False
    assert judged(smaller(bound={"at_most": float("nan")}), workload()).held is None
    demand = smaller(bound={"metric": "demand", "at_most": 10, "seconds": DAY})
    assert judged(demand, workload(demand=level(5, 5))).held is True


def replicas(**arguments: Any) -> Suggestion:
    return smaller(strategy="replicas", subject=API, arguments=arguments, monthly=9.0, bound={})


def test_replicas_are_judged_by_what_they_were_for() -> None:
    assert judged(replicas(replicas=3), workload()).outcome == "kept"
    assert judged(replicas(replicas=2), workload()).outcome == "no_effect"
    scaler = Autoscaler("api", 2, 9)
    fewer = workload(autoscaler=scaler, replicas=level(5, 3, 0), demand=level(5, 5))
    found = judged(replicas(min_replicas=2), fewer)
    assert (found.outcome, found.why[:29]) == ("kept", "It needed 40% fewer replicas.")
    busier = replace(fewer, replicas=level(5, 10, 0), demand=level(5, 12))
    assert judged(replicas(min_replicas=2), busier).outcome == "kept"
    same = replace(fewer, replicas=level(5, 5, 0))
    assert judged(replicas(min_replicas=2), same).outcome == "no_effect"
    assert judged(replicas(max_replicas=20), fewer).outcome == "no_effect"


def test_fewer_replicas_that_run_hot_are_harm() -> None:
    hot = workload(container(cpu=level(0.1, 0.25)))
    assert judged(replicas(replicas=3), hot).outcome == "harmful"
    assert judged(smaller(bound={}), hot).outcome == "kept"


def test_an_idle_workload_stays_stopped_or_was_needed() -> None:
    stop = smaller(strategy="idle", subject=API, tool="workload_stop", arguments={})
    stopped = workload(Container("app"), replicas=level(3, 0, 0), wanted=0)
    past = before(workload(), APPLIED)
    assert judge(stop, past, after(stopped, APPLIED, NOW, watch_s("idle"))) is None
    found = judge(stop, past, after(stopped, APPLIED, APPLIED + 3 * DAY))
    assert found
    assert found.outcome == "kept"
    again = judge(stop, past, after(workload(), APPLIED, NOW), watch=DAY)
    assert again
    assert again.outcome == "no_effect"


def test_what_was_full_is_relieved_or_not() -> None:
    subject = replace(API, container="app")
    restart = smaller(
        strategy="saturation", subject=subject, bound={"metric": "memory", "at_least": 4e8}
    )
    for now, outcome in ((1.5e8, "kept"), (3.9e8, "no_effect")):
        leaks = workload(container(memory=level(3.8e8, now, 0.01), memory_limit=4e8))
        assert judged(restart, leaks).outcome == outcome
    disk = replace(restart, subject=API, bound={"metric": "disk:data"})
    full = workload(disks={"data": (level(90, 40), 100.0)})
    assert "from 9" in judged(disk, full).why


@settings(deadline=None, max_examples=40)
@given(
    st.floats(0, 0.9),
    st.floats(0, 1),
    st.lists(st.floats(APPLIED - 7 * DAY, NOW), max_size=30),
    st.integers(0, 5),
)
def test_any_figures_are_judged_and_more_trouble_is_never_better(
    was: float, more: float, times: list[float], extra: int
) -> None:
    def outcome(throttled: float, kills: tuple[float, ...]) -> str:
        return str(
            judged(
                smaller(),
                workload(container(throttled=level(was, throttled, 0.01), oom_kills=kills)),
            ).outcome
        )

    calm = outcome(was, tuple(times))
    worse = outcome(was + (1 - was) * more, (*times, *(SINCE for _ in range(extra))))
    assert not (calm == "harmful" and worse == "kept")


def test_figures_survive_being_kept_as_json() -> None:
    found = figures(workload(autoscaler=Autoscaler("api", 1, 5)), APPLIED - DAY, APPLIED)
    assert Figures.of(json.loads(json.dumps(found.plain()))) == found
