"""What was used in the past, in all, from a history that is made."""

import msgspec
import numpy as np
import pytest

from recommender.facts import Told
from recommender.history import Facts, History, Key, Rows
from recommender.model import Floats
from recommender.past import past
from tests.recommender.made import NOW

HOUR = 3600.0
PER_HOUR = 12


def put(history: History, name: str, metric: str, *hours: float, namespace: str = "shop") -> None:
    """A Deployment with a container of the same name, that many values an hour until now."""
    told = msgspec.json.encode(Told(containers={name: {}})).decode()
    inner = name if metric in ("cpu", "memory") else ""
    key = Key(namespace, "Deployment", name, inner, metric)
    values = np.repeat(hours, PER_HOUR)[None, :]
    history.put_facts([Facts(namespace, "Deployment", name, NOW, told)])
    history.keep([Rows(NOW - len(hours) * HOUR, [key], values)], [])


def of(history: History, metric: str, name: str = "", hours: int = 4, points: int = 4) -> Floats:
    start, step, found = past(history, ["shop"], name, hours * HOUR, points)
    assert (start, step) == (NOW - hours * HOUR, hours * HOUR / points)
    (one,) = [one for one in found if one.metric == metric]
    return one.values


def test_a_tenant_used_what_all_pods_of_all_its_workloads_did(history: History) -> None:
    put(history, "web", "cpu", 1, 1, 2, 2)
    put(history, "web", "replicas", 2, 2, 2, 3)
    put(history, "db", "cpu", 0.5, 0.5, 0.5, 0.5)
    put(history, "other", "cpu", 9, 9, 9, 9, namespace="bank")
    assert of(history, "cpu").tolist() == [2.5, 2.5, 4.5, 6.5]
    assert of(history, "cpu", "web").tolist() == [2, 2, 4, 6]


def test_what_nobody_knows_is_unknown_and_what_one_knows_counts(history: History) -> None:
    put(history, "web", "memory", np.nan, np.nan, 30, 30)
    put(history, "db", "memory", np.nan, 5, np.nan, 5)
    assert of(history, "memory") == pytest.approx([np.nan, 5, 30, 35], nan_ok=True)


def test_parts_longer_than_a_step_are_its_mean_and_shorter_ones_are_not_holes(
    history: History,
) -> None:
    put(history, "web", "cpu", 1, 3)
    assert of(history, "cpu", hours=2, points=1).tolist() == [2]
    assert of(history, "cpu", hours=2, points=120).tolist() == [1] * 60 + [3] * 60


def test_traffic_is_told_as_what_came_in_and_is_not_times_the_pods(history: History) -> None:
    put(history, "web", "cpu", 1, 1)
    put(history, "web", "network", 700, 900)
    put(history, "web", "replicas", 4, 4)
    assert of(history, "network_in", hours=2, points=2).tolist() == [700, 900]


def test_of_a_service_that_is_not_there_nothing_is_known(history: History) -> None:
    put(history, "web", "cpu", 1, 1)
    assert past(history, ["shop"], "none", HOUR, 2)[2] == []
    assert past(history, [], "", HOUR, 2)[2] == []
