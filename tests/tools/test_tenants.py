"""Tenants made, changed, mended, taken in and deleted, over a cluster and an AWS account."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from server.executor.aws import AwsWrites
from server.executor.kubernetes import KubeWrites
from tests.conftest import Kube
from tests.tools.worlds import World
from tools import tenants
from tools.errors import Code, ToolError
from tools.inputs import InTenant
from tools.plan import Apply, Create, Delete, DeleteRole, DropPrefix, EmptyPrefix, Undo
from tools.provisioning import PROTECTED, spec_of
from tools.tenant_views import TenantGet, get
from tools.tenants import TenantAdopt, TenantCreate, TenantDelete, TenantUpdate
from tools.tiers import Isolation

pytestmark = pytest.mark.cluster
NETWORK = "networking.k8s.io/v1/NetworkPolicy"


@pytest.fixture
async def world(kube: Kube, aws: AwsWrites) -> AsyncIterator[World]:
    world = World({"test": KubeWrites(kube.api)}, aws)
    yield world
    await world.clean()


async def made(world: World, **fields: Any) -> str:
    name = world.name()
    await world.do(tenants.create, TenantCreate(name=name, **fields))
    return name


async def refused(world: World, tool: Any, args: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await world.preview(tool, args)
    assert caught.value.hint
    return caught.value


async def apply(world: World, kind: str, name: str, namespace: str, **body: Any) -> None:
    """As somebody else would."""
    ref = world.cluster.ref(kind, name, namespace)
    await world.cluster.apply(Create(id="x", ref=ref, body=body), "c0")


async def test_a_tenant_is_made_in_one_plan_and_made_again_it_would_be_nothing(
    world: World,
) -> None:
    name = world.name()
    plan, previews = await world.preview(
        tenants.create, TenantCreate(name=name, plan="pro", owner="ann@example.com")
    )
    assert len(plan.changes) == 16
    assert plan.undo is Undo.EXACT
    assert {p.verb for p in previews} == {"create"}
    assert plan.result["prefix"] == f"s3://tenants/tenants/{name}-{plan.result['uid']}/"
    await world.carry_out(plan)
    answer = await world.ask(get, TenantGet(tenant=name, drift=True))
    assert answer.drifted == []
    assert (answer.status, answer.plan, answer.owner) == ("Active", "pro", "ann@example.com")
    assert answer.role_arn == plan.result["role_arn"]
    assert answer.quota["pods"].hard == "60"
    again, _ = await world.preview(tenants.repair, InTenant(tenant=name))
    assert again.changes == ()


async def test_making_a_tenant_is_undone_without_a_trace(world: World) -> None:
    name = world.name()
    plan = await world.do(tenants.create, TenantCreate(name=name))
    await world.undo(plan)
    assert await world.cluster.find(world.cluster.ref("v1/Namespace", name)) is None
    assert not (await world.aws.call("iam", "list_roles", PathPrefix="/pilothouse/"))["Roles"]
    assert not (await world.aws.call("s3", "list_objects_v2", Bucket="tenants")).get("Contents")


async def test_a_tenant_that_is_there_already_is_not_made_again(world: World) -> None:
    name = await made(world)
    error = await refused(world, tenants.create, TenantCreate(name=name))
    assert error.code is Code.ALREADY_EXISTS
    assert "tenant_update" in error.hint


async def test_a_namespace_that_is_no_tenant_can_be_adopted_instead(world: World) -> None:
    name = world.name()
    await apply(world, "v1/Namespace", name, "")
    error = await refused(world, tenants.create, TenantCreate(name=name))
    assert error.code is Code.ALREADY_EXISTS
    assert "tenant_adopt" in error.hint


async def test_an_unknown_tier_is_refused_with_those_there_are(world: World) -> None:
    error = await refused(world, tenants.create, TenantCreate(name=world.name(), plan="gold"))
    assert error.code is Code.INVALID_ARGUMENT
    assert error.hint == "One of: free, pro, enterprise."


async def test_without_aws_a_tenant_is_made_in_the_cluster_alone_and_says_so(
    world: World,
) -> None:
    world.aws = None
    plan = await world.plan(tenants.create, TenantCreate(name=world.name()))
    assert {c.ref.backend for c in plan.changes} == {"kubernetes"}
    assert any("No AWS account" in note for note in plan.notes)


async def test_a_changed_tier_changes_the_quota_the_limits_and_the_label_only(
    world: World,
) -> None:
    name = await made(world)
    plan = await world.do(tenants.update, TenantUpdate(tenant=name, plan="pro"))
    assert {c.id for c in plan.changes} == {"namespace", "resourcequota-plan", "limitrange-plan"}
    assert (await world.ask(get, TenantGet(tenant=name))).quota["pods"].hard == "60"
    await world.undo(plan)
    answer = await world.ask(get, TenantGet(tenant=name))
    assert (answer.plan, answer.quota["pods"].hard, answer.drift) == ("free", "10", 0)


async def test_a_tier_below_what_is_in_use_is_refused_with_the_numbers(world: World) -> None:
    name = await made(world, plan="pro")
    pod = {"containers": [{"name": "a", "image": "nginx:1.27",
                           "resources": {"requests": {"memory": "5Gi"},
                                         "limits": {"memory": "5Gi"}}}]}  # fmt: skip
    await apply(world, "v1/Pod", "big", name, spec=pod)

    async def in_use() -> bool:
        answer = await world.ask(get, TenantGet(tenant=name))
        return bool(answer.quota["requests.memory"].used == "5Gi")

    from tests.tools.conftest import eventually

    await eventually(in_use)
    error = await refused(world, tenants.update, TenantUpdate(tenant=name, plan="free"))
    assert error.code is Code.FAILED_PRECONDITION
    assert "requests.memory 5Gi of 4Gi" in error.message
    plan = await world.plan(tenants.update, TenantUpdate(tenant=name, plan="free", force=True))
    assert "requests.memory 5Gi of 4Gi" in plan.notes[0]


async def test_what_drifted_is_shown_and_put_back(world: World) -> None:
    name = await made(world)
    cluster = world.cluster
    await cluster.apply(Delete(id="x", ref=cluster.ref(NETWORK, "default-deny", name)), "c0")
    await cluster.api.request(
        "PATCH", f"/api/v1/namespaces/{name}/resourcequotas/plan", {"fieldManager": "mallory"},
        {"spec": {"hard": {"pods": "999"}}}, content_type="application/merge-patch+json",
    )  # fmt: skip
    labels = {"pilothouse.dev/tenant-uid": (await world.ask(get, TenantGet(tenant=name))).uid,
              "app.kubernetes.io/managed-by": "pilothouse"}  # fmt: skip
    await apply(world, NETWORK, "allow-egress", name, metadata={"labels": labels},
                spec={"podSelector": {}, "egress": [{}], "policyTypes": ["Egress"]})  # fmt: skip
    answer = await world.ask(get, TenantGet(tenant=name, drift=True))
    assert answer.drift == 2
    assert any("default-deny" in line and "missing" in line for line in answer.drifted)
    assert any("spec.hard.pods is 999, not 10" in line for line in answer.drifted)
    plan = await world.do(tenants.repair, InTenant(tenant=name))
    assert {c.id for c in plan.changes} == {
        "networkpolicy-default-deny", "resourcequota-plan", "old-networkpolicy-allow-egress",
    }  # fmt: skip
    assert (await world.ask(get, TenantGet(tenant=name))).drift == 0
    assert await cluster.find(cluster.ref(NETWORK, "allow-egress", name)) is None


async def test_what_users_put_there_stays_untouched(world: World) -> None:
    name = await made(world)
    await apply(world, NETWORK, "theirs", name, spec={"podSelector": {}})
    cluster = world.cluster
    await cluster.api.request(
        "PATCH", f"/api/v1/namespaces/{name}", {"fieldManager": "theirs"},
        {"metadata": {"labels": {"cost-centre": "7"}}},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    assert (await world.plan(tenants.repair, InTenant(tenant=name))).changes == ()
    await world.do(tenants.update, TenantUpdate(tenant=name, plan="pro"))
    namespace = await cluster.get(cluster.ref("v1/Namespace", name))
    assert namespace["metadata"]["labels"]["cost-centre"] == "7"
    assert await cluster.find(cluster.ref(NETWORK, "theirs", name))


async def test_a_protected_tenant_is_not_deleted_until_that_is_lifted(world: World) -> None:
    name = await made(world, protected=True)
    error = await refused(world, tenants.delete, TenantDelete(tenant=name))
    assert error.code is Code.FAILED_PRECONDITION
    assert "protected=false" in error.hint
    await world.do(tenants.update, TenantUpdate(tenant=name, protected=False))
    namespace = await world.cluster.get(world.cluster.ref("v1/Namespace", name))
    assert PROTECTED not in namespace["metadata"]["annotations"]
    assert (await world.plan(tenants.delete, TenantDelete(tenant=name))).undo is Undo.NONE


async def test_a_deleted_tenant_leaves_nothing_but_its_objects_where_they_are_kept(
    world: World,
) -> None:
    name = await made(world)
    uid = (await world.ask(get, TenantGet(tenant=name))).uid
    key = f"tenants/{name}-{uid}/report"
    await world.aws.call("s3", "put_object", Bucket="tenants", Key=key, Body=b"12")
    await apply(world, "v1/ConfigMap", "theirs", name)
    plan, _ = await world.preview(tenants.delete, TenantDelete(tenant=name))
    assert [type(c) for c in plan.changes] == [Delete, DeleteRole, DropPrefix]
    assert plan.notes == (
        "Inside are 1 ConfigMaps: all go.",
        f"1 objects (2 bytes) stay at s3://tenants/tenants/{name}-{uid}/.",
    )
    await world.carry_out(plan)
    assert await world.cluster.find(world.cluster.ref("v1/Namespace", name)) is None
    assert not (await world.aws.call("iam", "list_roles", PathPrefix="/pilothouse/"))["Roles"]
    left = await world.aws.call("s3", "list_objects_v2", Bucket="tenants")
    assert [o["Key"] for o in left["Contents"]] == [key]
    with pytest.raises(ToolError) as caught:
        await world.ask(get, TenantGet(tenant=name))
    assert caught.value.code is Code.NOT_FOUND


async def test_a_tenant_s_objects_are_deleted_where_that_is_told(world: World) -> None:
    name = await made(world)
    uid = (await world.ask(get, TenantGet(tenant=name))).uid
    for n in range(3):
        await world.aws.call("s3", "put_object", Bucket="tenants", Body=b"x",
                             Key=f"tenants/{name}-{uid}/{n}")  # fmt: skip
    plan, previews = await world.preview(
        tenants.delete, TenantDelete(tenant=name, objects="delete")
    )
    assert isinstance(plan.changes[-1], EmptyPrefix)
    assert "3 objects (3 bytes) are deleted for good" in previews[-1].notes[0]
    await world.carry_out(plan)
    assert not (await world.aws.call("s3", "list_objects_v2", Bucket="tenants")).get("Contents")


async def test_a_tenant_with_a_role_is_not_deleted_without_aws(world: World) -> None:
    name = await made(world)
    world.aws = None
    error = await refused(world, tenants.delete, TenantDelete(tenant=name))
    assert error.code is Code.FAILED_PRECONDITION


async def test_a_bucket_that_is_gone_keeps_no_tenant_from_being_deleted(world: World) -> None:
    name = await made(world)
    uid = (await world.ask(get, TenantGet(tenant=name))).uid
    await world.aws.call("s3", "delete_object", Bucket="tenants", Key=f"tenants/{name}-{uid}/")
    await world.aws.call("s3", "delete_bucket", Bucket="tenants")
    plan, _ = await world.preview(tenants.delete, TenantDelete(tenant=name))
    assert "could not be counted" in plan.notes[-1]
    await world.carry_out(plan)
    assert not (await world.aws.call("iam", "list_roles", PathPrefix="/pilothouse/"))["Roles"]


async def test_an_adopted_namespace_keeps_what_it_has(world: World) -> None:
    name = world.name()
    await apply(world, "v1/Namespace", name, "", metadata={"labels": {"team": "x"}})
    await apply(world, "v1/ConfigMap", "theirs", name, data={"a": "1"})
    plan, previews = await world.preview(tenants.adopt, TenantAdopt(name=name, plan="pro"))
    assert {p.id: p.verb for p in previews}["namespace"] == "update"
    assert not any(isinstance(c, Apply) and c.force for c in plan.changes)
    await world.carry_out(plan)
    namespace = await world.cluster.get(world.cluster.ref("v1/Namespace", name))
    assert namespace["metadata"]["labels"]["team"] == "x"
    assert spec_of(namespace, "test").plan == "pro"
    await world.undo(plan)
    namespace = await world.cluster.get(world.cluster.ref("v1/Namespace", name))
    assert "pilothouse.dev/tenant" not in namespace["metadata"]["labels"]
    assert await world.cluster.find(world.cluster.ref("v1/ConfigMap", "theirs", name))


async def test_adopting_takes_over_no_object_of_theirs(world: World) -> None:
    name = world.name()
    await apply(world, "v1/Namespace", name, "")
    await apply(world, NETWORK, "default-deny", name, spec={"podSelector": {}})
    error = await refused(world, tenants.adopt, TenantAdopt(name=name))
    assert error.code is Code.FAILED_PRECONDITION
    assert "NetworkPolicy default-deny" in error.message


async def test_a_namespace_that_is_not_there_is_not_adopted(world: World) -> None:
    error = await refused(world, tenants.adopt, TenantAdopt(name=world.name()))
    assert error.code is Code.NOT_FOUND
    assert "tenant_create" in error.hint


@pytest.mark.parametrize("tool", [tenants.update, tenants.repair, tenants.delete])
async def test_what_is_no_tenant_is_not_found(world: World, tool: Any) -> None:
    arguments = {tenants.update: TenantUpdate, tenants.repair: InTenant}.get(tool, TenantDelete)
    error = await refused(world, tool, arguments(tenant=world.name()))
    assert error.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    "name",
    ["", "a" * 41, "a" * 64, "../etc", "Acme", "-acme", "acme-", "a.b", "kube-public",
     "openshift-x", "pilothouse", "pilothouse-x", "default", "ac\nme", "a b", "é"],
)  # fmt: skip
@pytest.mark.parametrize("arguments", [TenantCreate, TenantAdopt])
def test_a_wrong_name_is_refused(arguments: Any, name: str) -> None:
    with pytest.raises(ValidationError):
        arguments(name=name)


@pytest.mark.parametrize("name", ["a", "acme", "a" * 40, "1a", "a-1", "kubernetes", "defaults"])
def test_a_good_name_is_taken(name: str) -> None:
    assert TenantCreate(name=name).name == name


@pytest.mark.parametrize(
    "field",
    [{"isolation": "galaxy"}, {"owner": "a\nb"}, {"owner": "x" * 201}, {"protected": "maybe"},
     {"plan": "../x"}, {"surprise": 1}, {"pool": "A"}],
)  # fmt: skip
def test_every_other_argument_is_checked_too(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TenantCreate(name="acme", **field)


async def test_a_pool_of_nodes_that_nobody_configured_is_refused(world: World) -> None:
    error = await refused(
        world, tenants.create, TenantCreate(name=world.name(), isolation="node-pool")
    )
    assert error.code is Code.FAILED_PRECONDITION
    world.isolation = Isolation(node_pools=["big"])
    args = TenantCreate(name=world.name(), isolation="node-pool", pool="small")
    assert (await refused(world, tenants.create, args)).code is Code.INVALID_ARGUMENT
    error = await refused(
        world, tenants.create, TenantCreate(name=world.name(), isolation="node-pool")
    )
    assert "without nodes" in error.message
