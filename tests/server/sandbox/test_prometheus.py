"""The practice Prometheus: what Pilothouse asks it answers, anything else it refuses clearly."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from recommender.model import RecommenderError
from recommender.prometheus import Prometheus
from recommender.queries import FACTS, OWNERS, RANGES, SURVEY, Queries
from server.demo_usage import lives
from server.demo_world import WORKLOADS
from server.sandbox.prometheus import PracticePrometheus
from server.sandbox.usage import Life

DAY = 86_400
# Nothing of the kind is in the demo.
NOT_THERE = ("oom", "replicas-daemonset")
WEB = Life("shop", "Deployment", "web", replicas=2, cpu=0.2)


@pytest.fixture(scope="module")
def practice() -> Iterator[PracticePrometheus]:
    with PracticePrometheus(list(lives())) as started:
        yield started


@pytest.fixture(scope="module")
def prometheus(practice: PracticePrometheus) -> Prometheus:
    return Prometheus(practice.url)


@pytest.mark.parametrize("name", [query.name for query in RANGES])
def test_every_range_that_is_read_is_answered(prometheus: Prometheus, name: str) -> None:
    query = next(query for query in RANGES if query.name == name)
    expr = Queries().expr(query.template, ["acme", "globex"])
    now = time.time() // 300 * 300
    # A week: what leaks is killed on some days only.
    found = prometheus.query_range(expr, now - 7 * DAY, now, 300)
    known = set(prometheus.label_values("__name__", now - 7 * DAY, now))
    assert bool(found.labels) == Queries().there(query.metrics, known) or name in NOT_THERE
    if query.grain == "container":
        assert all({"namespace", "pod", "container"} == set(labels) for labels in found.labels)


@pytest.mark.parametrize("name", [*FACTS, "survey"])
def test_every_fact_that_is_read_is_answered(prometheus: Prometheus, name: str) -> None:
    found = prometheus.query(Queries().expr((FACTS | {"survey": SURVEY})[name]))
    assert found.labels or name in ("wanted-daemonset", "quota-hard")


def test_owners_are_answered_also_of_pods_that_are_gone(prometheus: Prometheus) -> None:
    now = time.time()
    expr = Queries().expr(OWNERS["replicaset"], ["acme"])
    assert len(prometheus.series(expr, now - 14 * DAY, now)) > len(
        prometheus.series(expr, now, now)
    )


@pytest.mark.parametrize(
    "expr",
    [
        "predict_linear(x[1h], 3600)",
        "topk(3, up)",
        "kube_pod_owner{a=~}",
        "sum by (x",
        "a or b",
        "1 +",
    ],
)
def test_what_it_cannot_evaluate_is_refused_and_not_made_up(
    prometheus: Prometheus, expr: str
) -> None:
    with pytest.raises(RecommenderError, match="cannot answer the query"):
        prometheus.query(expr)


def test_selectors_match_as_in_prometheus(prometheus: Prometheus) -> None:
    def names(where: str) -> set[str]:
        found = prometheus.query(f"kube_deployment_spec_replicas{{{where}}}")
        return {labels["deployment"] for labels in found.labels}

    assert names('namespace="acme"') == {"web", "api", "worker"}
    assert names('namespace="acme",deployment!="web"') == {"api", "worker"}
    assert names('deployment=~"we|sho"') == set()
    assert names('deployment=~"web|sho.",namespace!~"acm.*"') == {"shop"}
    assert names('nothing="x"') == set()


def test_its_numbers_are_the_same_each_time() -> None:
    now = 1_800_000_000.0
    expr = Queries().expr(RANGES[0].template)
    found = []
    for _ in range(2):
        with PracticePrometheus([WEB], clock=lambda: now) as one:
            found.append(Prometheus(one.url).query_range(expr, now - DAY, now, 300))
    assert np.array_equal(found[0].values, found[1].values, equal_nan=True)
    assert found[0].labels == found[1].labels
    total = np.nansum(found[0].values, axis=0)
    assert 0.15 < total.mean() < 0.25


def test_what_the_cluster_changes_shows() -> None:
    changed = {"replicas": 5.0, "cpu_request": 0.7}
    with PracticePrometheus([WEB], live=lambda *who: changed) as one:
        prometheus = Prometheus(one.url)
        asked = prometheus.query('kube_pod_container_resource_requests{resource="cpu"}')
        assert asked.values.tolist() == [0.7] * 5


def test_the_demos_stories_are_of_workloads_that_the_demo_has() -> None:
    there = {(one.tenant, one.kind, one.name) for one in WORKLOADS}
    told = {(one.namespace, one.kind, one.name) for one in lives()}
    assert told <= there
    assert len(told) >= 8
