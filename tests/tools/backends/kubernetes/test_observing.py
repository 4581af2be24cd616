"""What is there in the fields that a change writes."""

from typing import Any

import pytest

from tests.tools.backends.kubernetes.bodies import by, deployment, make, prepared
from tools.backends.kubernetes import KubeCluster
from tools.backends.kubernetes.observing import intended, seen
from tools.plan import Apply, Create, Delete, Patch, Ref, Scale, Seen


def ref(kind: str = "v1/ConfigMap") -> Ref:
    return Ref(at="test", kind=kind, name="x", namespace="acme")


LIVE = {"apiVersion": "v1", "kind": "?", "metadata": {"uid": "u", "labels": {"a": "1"}}}


def test_a_deletion_is_about_the_content_but_not_about_what_moves_by_itself() -> None:
    live = LIVE | {"spec": {"replicas": 3, "paused": True}, "status": {"ready": 1}}
    assert seen(Delete(id="d", ref=ref("apps/v1/Deployment")), live) == Seen(
        uid="u", value={"spec": {"paused": True}}
    )
    config = LIVE | {"data": {"a": "1"}}
    assert seen(Delete(id="d", ref=ref()), config).value == {"data": {"a": "1"}}


@pytest.mark.parametrize(
    "kind", ["v1/Pod", "v1/Namespace", "v1/PersistentVolumeClaim", "batch/v1/Job"]
)
def test_a_deletion_of_what_lives_by_itself_is_about_which_one_it_is(kind: str) -> None:
    live = LIVE | {"spec": {"a": 1}}
    assert seen(Delete(id="d", ref=ref(kind)), live) == Seen(uid="u", value={})


def test_a_scale_of_nothing_is_zero() -> None:
    assert seen(Scale(id="s", ref=ref(), replicas=1), LIVE | {"spec": {}}).value == {"replicas": 0}


def test_what_is_intended_is_spelled_as_the_server_would() -> None:
    port = {"port": 80}
    body = {"spec": {"hard": {"requests.cpu": "2000m", "pods": "10"}, "ports": [port]}}
    change = Apply(id="a", ref=ref(), body=body)
    assert intended(change) == {
        "spec": {
            "hard": {"requests.cpu": "2", "pods": "10"},
            "ports": [{"port": 80, "protocol": "TCP"}],
        }
    }
    assert intended(Delete(id="d", ref=ref())) is None


@pytest.mark.cluster
async def test_nothing_there_is_nothing_seen(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    config = cluster.ref("v1/ConfigMap", "none", namespace)
    web = cluster.ref("apps/v1/Deployment", "none", namespace)
    for change in (
        Apply(id="a", ref=config, body={"data": {}}),
        Create(id="c", ref=config, body={}),
        Delete(id="d", ref=config),
        Patch(id="p", ref=config, fields={"data": {}}),
        Scale(id="s", ref=web, replicas=1),
    ):
        assert await cluster.observe(change) == Seen()


@pytest.mark.cluster
async def test_once_made_a_change_is_seen_as_it_was_intended(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    policy = {
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}],
        }
    }
    limits = {
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "default": {"cpu": "500m", "memory": "512Mi"},
                    "defaultRequest": {"cpu": "100m", "memory": "128Mi"},
                    "max": {"cpu": "1", "memory": "2Gi"},
                }
            ]
        }
    }
    role = "rbac.authorization.k8s.io"
    binding = {
        "roleRef": {"apiGroup": role, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": namespace}],
    }
    made = {
        "v1/ResourceQuota": {"spec": {"hard": {"requests.cpu": "2000m", "pods": "10"}}},
        "v1/LimitRange": limits,
        "networking.k8s.io/v1/NetworkPolicy": policy,
        f"{role}/v1/RoleBinding": binding,
        "v1/ServiceAccount": {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}},
        "apps/v1/Deployment": deployment(replicas=0),
    }
    for kind, body in made.items():
        change = Apply(id="a", ref=cluster.ref(kind, "x", namespace), body=body)
        await make(cluster, change)
        assert (await cluster.observe(change)).value == cluster.intended(change), kind


@pytest.mark.cluster
async def test_what_others_write_does_not_move_what_is_seen(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    web = await prepared(cluster, namespace, deployment(replicas=1))
    resources = {"limits": {"memory": "64Mi"}}
    containers = [{"name": "web", "resources": resources}]
    patch = Patch(
        id="p", ref=web, fields={"spec": {"template": {"spec": {"containers": containers}}}}
    )
    before = await cluster.observe(patch)
    assert before.value["spec"]["template"]["spec"]["containers"] == [
        {"name": "web", "resources": {"limits": {"memory": "32Mi"}}}
    ]
    await make(cluster, Scale(id="s", ref=web, replicas=0))
    await by(cluster, web, "other", {"metadata": {"annotations": {"a": "b"}}})
    assert await cluster.observe(patch) == before
