"""The backtest's figures, by hand where they can be had, and on recorded usage where it is there."""

import json
from pathlib import Path

import numpy as np
import pytest

from recommender.backtest import BASELINES, BacktestSettings, Policy, backtest
from recommender.figures import tables
from recommender.model import RecommenderError
from recommender.simulation import Service
from recommender.strategies import make
from recommender.traces import Traces, read_traces

RECORDED = Path(__file__).parents[3] / "shared" / "data"
recorded = pytest.mark.skipif(not RECORDED.exists(), reason="the recorded usage is not here")


def constant(level):
    return Policy(str(level), cpu=lambda past, step, current: np.full(len(past), float(level)))


def traces(*series, step=3600.0, what="cpu"):
    return Traces(
        tuple(f"s{i}" for i in range(len(series))), 0.0, step, {what: np.array(series, float)}
    )


def test_slack_minutes_and_what_went_unserved_are_as_defined():
    usage = [1.0] * 23 + [3.0]
    row = backtest(traces(usage * 4), [constant(2)])["cpu"][0]
    assert row["slack"] == pytest.approx(23 * 0.5 / 24)
    assert row["under"] == 60
    assert row["unserved"] == pytest.approx(1 / 26)
    assert row["exceeded"] == 1
    assert row["series_days"] == 1


def test_a_change_inside_the_dead_band_is_not_made():
    asked = iter([1.0, 1.09, 1.2, 1.2])
    policy = Policy("moves", cpu=lambda past, step, current: np.array([next(asked)]))
    row = backtest(traces([1.0] * 24 * 7), [policy])["cpu"][0]
    assert row["changes"] == pytest.approx(1 / 3)
    assert row["slack"] == pytest.approx((0 + 0 + 2 * (1 - 1 / 1.2)) / 4)


def test_a_policy_sees_at_most_seven_days_and_nothing_of_the_day_it_acts_for():
    seen = []
    days = np.repeat(np.arange(12.0), 24)

    def watch(past, step, current):
        seen.append((past.min(), past.max()))
        return np.ones(1)

    backtest(traces(days), [Policy("watch", cpu=watch)])
    assert seen == [(max(0, d - 7), d - 1) for d in range(3, 12)]


def test_days_without_data_are_not_counted():
    usage = np.array([1.0] * 24 * 6)
    usage[4 * 24 : 5 * 24] = np.nan
    row = backtest(traces(usage), [constant(2)])["cpu"][0]
    assert row["series_days"] == 2
    assert row["slack"] == 0.5


def test_a_recording_that_is_too_short_says_so():
    with pytest.raises(RecommenderError, match="2 days are too few"):
        backtest(traces([1.0] * 48), [constant(2)])


def test_what_is_not_recorded_is_left_out():
    assert "memory" not in backtest(traces([1.0] * 24 * 5), [BASELINES["krr"]])


@recorded
def test_the_baselines_do_on_recorded_jobs_as_was_measured():
    found = backtest(
        read_traces(RECORDED / "cluster_jobs.parquet"), [BASELINES["krr"], BASELINES["vpa"]]
    )
    (krr, vpa), (krr_memory, vpa_memory) = found["cpu"], found["memory"]
    assert krr["slack"] == pytest.approx(0.205, abs=5e-4)
    assert krr["under"] == pytest.approx(94, abs=0.5)
    assert krr["unserved"] == pytest.approx(0.0063, abs=5e-5)
    assert vpa["slack"] == pytest.approx(0.285, abs=6e-4)
    assert vpa["under"] == pytest.approx(25, abs=0.5)
    assert vpa["unserved"] == pytest.approx(0.0024, abs=5e-5)
    assert (krr_memory["slack"], krr_memory["exceeded"]) == pytest.approx((0.277, 0.012), abs=5e-4)
    assert (vpa_memory["slack"], vpa_memory["exceeded"]) == pytest.approx((0.263, 0.037), abs=5e-4)
    assert krr["changes"] + krr_memory["changes"] == pytest.approx(0.09, abs=5e-3)
    assert vpa["changes"] + vpa_memory["changes"] == pytest.approx(0.29, abs=5e-3)


@recorded
def test_what_pilothouse_asks_for_beats_the_baselines_on_recorded_jobs():
    found = backtest(
        read_traces(RECORDED / "cluster_jobs.parquet"),
        [make("rightsize").policy(), BASELINES["krr"], BASELINES["vpa"]],
    )
    (cpu, _, vpa), (memory, krr, _) = found["cpu"], found["memory"]
    assert cpu["slack"] <= 0.265 < vpa["slack"]
    assert cpu["under"] <= 20 < vpa["under"]
    assert cpu["unserved"] <= 0.002
    assert memory["slack"] <= 0.24 < krr["slack"]
    assert memory["exceeded"] <= krr["exceeded"]
    assert cpu["changes"] + memory["changes"] <= 0.15
    assert 0.86 <= cpu["held"] <= 0.94
    assert 0.86 <= memory["held"] <= 0.94


@recorded
def test_replicas_follow_recorded_requests_more_closely_than_the_autoscaler():
    found = backtest(read_traces(RECORDED / "web_requests.parquet"), [make("replicas").policy()])
    (row,) = found["replicas"]
    assert row["replicas"] <= 1.5
    assert row["under"] <= 60
    assert row["saturated"] <= 4


@recorded
def test_the_autoscaler_does_on_recorded_requests_as_was_measured():
    policies = [BASELINES["hpa"], BASELINES["hpa-schedule"]]
    hpa, schedule = backtest(read_traces(RECORDED / "web_requests.parquet"), policies)["replicas"]
    assert (hpa["replicas"], hpa["under"], hpa["saturated"]) == pytest.approx(
        (1.31, 186, 22), rel=0.02
    )
    assert (schedule["replicas"], schedule["under"]) == pytest.approx((2.09, 10.8), rel=0.02)
    assert schedule["saturated"] < 0.2


def test_a_curve_has_a_row_for_each_setting_of_the_knob():
    knob = [(c, make("rightsize", caution=c).policy()) for c in (0.5, 2.0)]
    usage = np.tile(1 + np.sin(np.arange(24.0)), 6)
    found = backtest(traces(usage), [make("rightsize").policy()], knob)
    assert [row["caution"] for row in found["curves"]["cpu"]] == [0.5, 2.0]
    assert found["curves"]["cpu"][0]["slack"] <= found["curves"]["cpu"][1]["slack"]
    titles = [table.title for table in tables(json.loads(json.dumps(found)))]
    assert titles == ["CPU (1 series, 6 days)", "CPU: slack against safety"]


@pytest.mark.parametrize("name", ["rightsize", "replicas"])
def test_what_is_not_there_yet_changes_nothing(name):
    """Nothing that a policy asks for a day depends on that day or a later one."""
    policy = make(name).policy()
    days = np.random.default_rng(0).random((3, 24 * 9)) + 1
    later = days.copy()
    later[:, 24 * 6 :] = 50.0
    if policy.replicas:
        service = Service(1.0, step=3600.0)
        asked = [policy.replicas(row, service)[: 24 * 6] for row in (days[0], later[0])]
    else:
        now = np.full(3, np.nan)
        asked = [policy.cpu(x[:, : 24 * 6], 3600.0, now).requests for x in (days, later)]
    assert (asked[0] == asked[1]).all()


def test_the_settings_say_from_which_day_it_counts():
    early = backtest(traces([1.0] * 48), [constant(2)], settings=BacktestSettings(first=1))
    assert early["cpu"][0]["series_days"] == 1
