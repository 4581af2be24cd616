"""What people and models may ask a Prometheus."""

import time
from collections.abc import Iterator

import pytest

from recommender import live
from recommender.history import History
from recommender.model import RecommenderError
from recommender.prometheus import Prometheus
from recommender.reading import read
from tests.recommender.standin import StandIn

SPEC = "kube_deployment_spec_replicas"


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    with StandIn() as server:
        yield Prometheus(server.url)


def test_a_value_is_plain_data(prometheus: Prometheus) -> None:
    found = live.query(prometheus, f'{SPEC}{{deployment="web"}}')
    assert found == {
        "series": [
            {
                "labels": {"__name__": SPEC, "namespace": "shop", "deployment": "web"},
                "value": 2.0,
            }
        ],
        "total": 1,
        "warnings": [],
    }


def test_a_range_has_a_value_for_every_step(prometheus: Prometheus) -> None:
    now = time.time() // 60 * 60
    found = live.query_range(prometheus, SPEC, now - 600, now, 60)
    assert [len(one["values"]) for one in found["series"]] == [11, 11]
    assert (found["start"], found["step"], found["total"]) == (now - 600, 60, 2)


def test_a_range_with_too_many_points_is_refused_with_a_step_that_would_do(
    prometheus: Prometheus,
) -> None:
    now = time.time()
    with pytest.raises(RecommenderError) as caught:
        live.query_range(prometheus, SPEC, now - 7 * 86_400, now, 15)
    assert "55 s" in caught.value.hint
    assert live.query_range(prometheus, SPEC, now - 7 * 86_400, now, 55)["total"] == 2


@pytest.mark.parametrize(
    ("start", "end", "step"), [(10, 0, 1), (0, 10, 0), (0, float("inf"), 1), (float("nan"), 1, 1)]
)
def test_a_range_that_is_none_is_refused(
    prometheus: Prometheus, start: float, end: float, step: float
) -> None:
    with pytest.raises(RecommenderError, match="range needs"):
        live.query_range(prometheus, "up", start, end, step)


def test_no_expression_is_refused(prometheus: Prometheus) -> None:
    with pytest.raises(RecommenderError, match="no expression"):
        live.query(prometheus, " ")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1.5h", 5400), ("7d", 604_800), ("1w", 604_800)],
)
def test_durations_are_understood(text: str, seconds: float) -> None:
    assert live.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "-5m", "0s", "5 m", "1y"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(RecommenderError, match="duration"):
        live.duration(text)


def test_usage_of_a_workload_comes_from_the_history(
    prometheus: Prometheus, history: History
) -> None:
    read(prometheus, history, now=time.time(), window=7200)
    web = live.usage(history, "shop", "Deployment", "web", 3600)
    assert len(web.containers[0].cpu.values) in (12, 13)  # type: ignore[union-attr]
    with pytest.raises(RecommenderError, match="No usage"):
        live.usage(history, "shop", "Deployment", "nowhere", 3600)
