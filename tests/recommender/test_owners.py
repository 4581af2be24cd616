"""Whose a pod is."""

import pytest

from recommender.owners import Owner, Owners, guessed


@pytest.mark.parametrize(
    ("pod", "kind", "name"),
    [
        ("web-7d9c5b8f6d-x2x4z", "Deployment", "web"),
        ("my-web-app-7d9c5b8f6d-x2x4z", "Deployment", "my-web-app"),
        ("db-0", "StatefulSet", "db"),
        ("db-cluster-12", "StatefulSet", "db-cluster"),
        ("agent-x2x4z", "DaemonSet", "agent"),
        ("nightly-29123456-abcde", "CronJob", "nightly"),
        ("debug", "Pod", "debug"),
        ("my-debug-shell", "Pod", "my-debug-shell"),
    ],
)
def test_a_name_tells_what_a_pod_is_of(pod: str, kind: str, name: str) -> None:
    assert guessed(pod) == Owner(kind, name, guessed=True)


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        (("ReplicaSet", "web-7d9c5b8f6d"), ("Deployment", "web")),
        (("ReplicaSet", "lonely"), ("ReplicaSet", "lonely")),
        (("ReplicaSet", "canary-1"), ("Rollout", "canary")),
        (("Job", "nightly-29123456"), ("CronJob", "nightly")),
        (("Job", "once"), ("Job", "once")),
        (("StatefulSet", "db"), ("StatefulSet", "db")),
        (("Kafka", "events"), ("Kafka", "events")),
        (("<none>", "<none>"), ("Pod", "p-node-1")),
        (("Node", "node-1"), ("Pod", "p")),
    ],
)
def test_an_owner_is_followed_up_to_what_a_person_made(
    owner: tuple[str, str], expected: tuple[str, str]
) -> None:
    owners = Owners()
    owners.pods["shop", "p-node-1"] = owner
    owners.replicasets["shop", "canary-1"] = ("Rollout", "canary")
    owners.replicasets["shop", "lonely"] = ("<none>", "<none>")
    assert owners.of("shop", "p-node-1") == Owner(*expected)


def test_a_pod_of_the_same_name_elsewhere_is_another() -> None:
    owners = Owners()
    owners.pods["shop", "db-0"] = ("Deployment", "odd")
    assert owners.of("bank", "db-0").guessed
