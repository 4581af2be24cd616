"""Tenants on nodes of their own, and in clusters of their own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.executor.aws import AwsWrites
from server.executor.kubernetes import KubeWrites
from server.sandbox import PracticeCluster, node
from tests.conftest import Kube
from tests.tools.conftest import eventually
from tests.tools.worlds import World
from tools import placing, tenants
from tools.backends.kubernetes import Api
from tools.errors import Code, ToolError
from tools.inputs import InTenant
from tools.plan import Apply, Create, Delete
from tools.provisioning import TenantSpec, desired
from tools.tenant_views import TenantGet, get
from tools.tenants import TenantAdopt, TenantCreate, TenantDelete, TenantUpdate
from tools.tiers import DEFAULT_TIERS, Isolation, Tiers

POLICY = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"


@pytest.fixture
async def world(aws: AwsWrites, tmp_path: Path) -> AsyncIterator[World]:
    """Two shared clusters, of which one has pools of nodes, and one that tenants may have alone."""
    nodes = [node("n1"), node("n2", 2, "big"), node("n3", 3, "wide")]
    isolation = Isolation(node_pools=["big", "wide", "empty"], clusters=["alone"])
    with (
        PracticeCluster(nodes=nodes).in_thread() as main,
        PracticeCluster().in_thread() as alone,
    ):
        apis = {}
        for name, started in {"main": main, "alone": alone}.items():
            started.kubeconfig(path=tmp_path / name)
            apis[name] = Api(name, str(tmp_path / name))
        yield World({n: KubeWrites(api) for n, api in apis.items()}, aws, isolation)
        for api in apis.values():
            await api.close()


async def made(world: World, **fields: Any) -> str:
    name = world.name()
    await world.do(tenants.create, TenantCreate(name=name, **fields))
    return name


async def refused(world: World, tool: Any, args: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await world.preview(tool, args)
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert caught.value.hint
    return caught.value


async def policies(world: World) -> list[str]:
    found, _ = await world.cluster.list(POLICY)
    return [p["metadata"]["name"] for p in found]


async def test_each_tenant_gets_a_pool_of_nodes_of_its_own_while_there_are_any(
    world: World,
) -> None:
    one, two = [await made(world, isolation="node-pool") for _ in range(2)]
    pools = [(await world.ask(get, TenantGet(tenant=name))).pool for name in (one, two)]
    assert pools == ["big", "wide"]
    await refused(world, tenants.create, TenantCreate(name=world.name(), isolation="node-pool"))
    taken = TenantCreate(name=world.name(), isolation="node-pool", pool="big")
    assert "big taken" in (await refused(world, tenants.create, taken)).message


async def test_a_tenant_that_leaves_its_pool_leaves_no_policy_behind(world: World) -> None:
    name = await made(world)
    plan = await world.do(tenants.update, TenantUpdate(tenant=name, isolation="node-pool"))
    assert plan.notes == ("Pods that run stay where they are until they are started anew.",)
    assert await policies(world) == [f"pilothouse-pool-{name}"]
    assert (await world.plan(tenants.repair, InTenant(tenant=name))).changes == ()
    back = await world.do(tenants.update, TenantUpdate(tenant=name, isolation="namespace"))
    assert await policies(world) == []
    assert (await world.ask(get, TenantGet(tenant=name, drift=True))).drifted == []
    await world.undo(back)
    assert await policies(world) == [f"pilothouse-pool-{name}"]
    await world.do(tenants.delete, TenantDelete(tenant=name))
    assert await policies(world) == []


async def test_a_cluster_of_its_own_is_no_other_tenant_s(world: World) -> None:
    name = await made(world, isolation="cluster")
    assert (await world.ask(get, TenantGet(tenant=name))).cluster == "alone"
    await refused(world, tenants.create, TenantCreate(name=world.name(), isolation="cluster"))
    for cluster in ("alone", "main"):
        isolation = "namespace" if cluster == "alone" else "cluster"
        args = TenantCreate(name=world.name(), isolation=isolation, cluster=cluster)
        await refused(world, tenants.create, args)
    name = world.name()
    await refused(world, tenants.adopt, TenantAdopt(name=name, cluster="alone"))


async def test_an_unknown_cluster_is_refused_with_those_there_are(world: World) -> None:
    with pytest.raises(ToolError) as caught:
        await world.preview(tenants.create, TenantCreate(name=world.name(), cluster="moon"))
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.hint == "One of: main, alone."


async def test_a_tenant_with_nothing_inside_moves_to_a_cluster_of_its_own_and_keeps_its_role(
    world: World,
) -> None:
    name = await made(world)
    before = await world.ask(get, TenantGet(tenant=name))
    ref = world.cluster.ref("v1/ConfigMap", "theirs", name)
    await world.cluster.apply(Create(id="x", ref=ref, body={}), "c0")
    move = TenantUpdate(tenant=name, isolation="cluster")
    assert "1 ConfigMaps" in (await refused(world, tenants.update, move)).message
    await world.cluster.apply(Delete(id="x", ref=ref), "c0")
    await world.do(tenants.update, move)
    after = await world.ask(get, TenantGet(tenant=name))
    assert (after.cluster, after.isolation, after.drift) == ("alone", "cluster", 0)
    assert (after.uid, after.role_arn, after.prefix) == (
        before.uid, before.role_arn, before.prefix
    )  # fmt: skip
    assert await world.cluster.find(world.cluster.ref("v1/Namespace", name)) is None


@pytest.mark.cluster
async def test_a_pool_s_policy_puts_pods_on_its_nodes_and_keeps_what_they_say(
    kube: Kube, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["kube"] == "practice":
        pytest.skip("the practice cluster carries out only policies that are literals")
    cluster = KubeWrites(kube.api)
    world = World({"test": cluster})
    spec = TenantSpec(name=world.name(), uid="1", cluster="test", plan="pro",
                      isolation="node-pool", pool="big")  # fmt: skip
    mine = {"key": "mine", "operator": "Exists"}
    bare: dict[str, Any] = {"containers": [{"name": "a", "image": "nginx:1.27"}]}
    said = bare | {"nodeSelector": {"disk": "ssd"}, "tolerations": [mine]}

    async def placed(pod: dict[str, Any]) -> dict[str, Any] | None:
        stored = await cluster.probe("v1/Pod", spec.name, {"metadata": {"name": "p"}, "spec": pod})
        there = stored["spec"].get("nodeSelector", {}).get("pilothouse.dev/pool")
        return stored["spec"] if there else None

    try:
        served = await placing.admission(cluster)
        for change in desired(spec, Tiers(tiers=DEFAULT_TIERS), None, admission=served):
            if isinstance(change, Apply) and ("pool" in change.id or change.id == "namespace"):
                made = await cluster.apply(change, "c0")
                assert made.value == cluster.intended(change), "it would be called drift"
        # The API server takes a policy up within a second or so of its making.
        first = await eventually(lambda: placed(bare))
        taint = {"key": "pilothouse.dev/pool", "operator": "Equal", "value": "big",
                 "effect": "NoSchedule"}  # fmt: skip
        assert first["tolerations"].count(taint) == 1
        second = await placed(said)
        assert second is not None
        assert second["nodeSelector"] == {"disk": "ssd", "pilothouse.dev/pool": "big"}
        assert mine in second["tolerations"]
        assert second["tolerations"].count(taint) == 1
    finally:
        await world.clean()
