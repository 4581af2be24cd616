"""Whether a workload's pods are let in."""

from decimal import Decimal
from typing import Any

import pytest

from tests.tools.backends.kubernetes.bodies import container, deployment, limited, prepared, until
from tools.backends.kubernetes import KubeCluster
from tools.backends.kubernetes.probing import probe, usage
from tools.errors import Code, ToolError
from tools.plan import Apply, Create, Patch, Plan, Scale


def test_a_pod_counts_for_all_its_containers_or_for_its_largest_start() -> None:
    start = container("init", cpu="300m")
    sidecar = container("proxy", cpu="20m") | {"restartPolicy": "Always"}
    spec = {
        "initContainers": [start, sidecar],
        "containers": [container("a", cpu="100m"), container("b", cpu="50m")],
        "overhead": {"cpu": "10m"},
    }
    counted = usage(spec)
    assert counted["requests.cpu"] == counted["cpu"] == Decimal("0.310")
    assert counted["limits.cpu"] == Decimal("0.310")
    assert counted["pods"] == 1


def test_a_request_that_is_not_said_is_the_limit() -> None:
    spec = {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}
    assert usage(spec)["requests.cpu"] == 1


@pytest.mark.cluster
async def test_nothing_is_tried_where_no_pod_comes(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    web = cluster.ref("apps/v1/Deployment", "web", namespace)
    assert await probe(cluster, web, None, deployment(replicas=0)) is False
    assert await probe(cluster, web, deployment(replicas=3), deployment(replicas=1)) is False
    assert await probe(cluster, web, None, deployment(replicas=2)) is True
    config = cluster.ref("v1/ConfigMap", "x", namespace)
    assert await probe(cluster, config, None, {"data": {}}) is False


@pytest.mark.cluster
async def test_a_rollout_that_takes_an_old_pod_away_first_may_fill_the_quota(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    await limited(cluster, namespace, {"requests.cpu": "400m"})
    body = deployment(replicas=4, cpu="100m")
    body["spec"]["strategy"] = {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    web = await prepared(cluster, namespace, body)
    await _used(cluster, namespace, "400m")

    def resized(cpu: str) -> Patch:
        amounts = {"cpu": cpu}
        one = {"name": "web", "resources": {"requests": amounts, "limits": amounts}}
        fields = {"spec": {"template": {"spec": {"containers": [one]}}}}
        return Patch(id="p", ref=web, fields=fields)

    smaller, larger = resized("90m"), resized("110m")
    assert (await cluster.preview(smaller, Plan.of("", [smaller]))).how == "probed"
    with pytest.raises(ToolError) as refused:
        await cluster.preview(larger, Plan.of("", [larger]))
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert "exceeded quota: plan" in refused.value.message


@pytest.mark.cluster
async def test_the_api_agrees_with_what_was_counted(kube: Any, namespace: str) -> None:
    """Just as many replicas as there is room for are let in, and one more is not."""
    cluster = KubeCluster(kube.api)
    await limited(cluster, namespace, {"requests.cpu": "400m", "pods": "9"})
    web = await prepared(cluster, namespace, deployment(replicas=1, cpu="100m"))
    await _used(cluster, namespace, "100m")
    fits, too_many = (Scale(id="s", ref=web, replicas=n) for n in (4, 5))
    assert (await cluster.preview(fits, Plan.of("", [fits]))).how == "probed"
    with pytest.raises(ToolError) as refused:
        await cluster.preview(too_many, Plan.of("", [too_many]))
    assert refused.value.message == (
        "4 more pods of web are forbidden: exceeded quota: plan, requested: requests.cpu=400m, "
        "used: requests.cpu=100m, limited: requests.cpu=400m"
    )


@pytest.mark.cluster
async def test_a_full_quota_has_no_room_for_more_replicas_however_they_are_rolled_out(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    await limited(cluster, namespace, {"requests.cpu": "400m"})
    web = await prepared(cluster, namespace, deployment(replicas=4, cpu="100m"))
    await _used(cluster, namespace, "400m")
    for more, said in ((5, 'pods "web" is forbidden'), (7, "3 more pods of web are forbidden")):
        change = Scale(id="s", ref=web, replicas=more)
        with pytest.raises(ToolError) as refused:
            await cluster.preview(change, Plan.of("", [change]))
        assert refused.value.message.startswith(f"{said}: exceeded quota: plan, requested: ")
        assert f"requests.cpu={(more - 4) * 100}m, used" in refused.value.message


@pytest.mark.cluster
async def test_many_replicas_of_a_new_workload_are_counted_too(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    await limited(cluster, namespace, {"pods": "3"})
    web = cluster.ref("apps/v1/Deployment", "web", namespace)
    for change in (
        Create(id="c", ref=web, body=deployment(replicas=4)),
        Apply(id="a", ref=web, body=deployment(replicas=4)),
    ):
        with pytest.raises(ToolError) as refused:
            await cluster.preview(change, Plan.of("", [change]))
        assert "requested: pods=4, used: pods=0, limited: pods=3" in refused.value.message


async def _used(cluster: KubeCluster, namespace: str, cpu: str) -> None:
    async def used() -> bool:
        quota = await cluster.get(cluster.ref("v1/ResourceQuota", "plan", namespace))
        return bool(quota["status"]["used"].get("requests.cpu") == cpu)

    await until(used)
