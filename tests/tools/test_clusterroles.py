"""The shipped ClusterRoles hold what the tools need, and no more."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.executor.kubernetes import KubeWrites
from tests.conftest import Kube
from tests.tools.worlds import World
from tools import tenants
from tools.backends.kubernetes import Identity
from tools.inputs import InTenant
from tools.plan import Delete
from tools.tenant_views import TenantGet, TenantListArguments, get, list_
from tools.tenants import TenantCreate, TenantDelete, TenantUpdate

pytestmark = pytest.mark.cluster
GROUP = "rbac.authorization.k8s.io"
BINDINGS = f"/apis/{GROUP}/v1/clusterrolebindings"
ACCOUNT = {"kind": "ServiceAccount", "name": "pilothouse", "namespace": "pilothouse"}


@pytest.fixture
async def world(kube: Kube) -> AsyncIterator[World]:
    """A cluster with just the rights that deploy/ gives Pilothouse."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    role = {"apiGroup": GROUP, "kind": "ClusterRole", "name": "pilothouse"}
    binding = {"metadata": {"name": name}, "roleRef": role, "subjects": [ACCOUNT]}
    await kube.api.request("POST", BINDINGS, body=binding)
    world = World({"test": KubeWrites(kube.api, Identity("pilothouse", "pilothouse"))})
    yield world
    world.clusters = {"test": KubeWrites(kube.api)}
    await world.clean()
    await kube.api.request("DELETE", f"{BINDINGS}/{name}")


async def test_pilothouse_s_own_rights_do_for_all_that_befalls_a_tenant(world: World) -> None:
    name = world.name()
    plan = await world.do(tenants.create, TenantCreate(name=name))
    assert not any("ClusterRoles" in note for note in plan.notes)
    await world.do(tenants.update, TenantUpdate(tenant=name, plan="pro"))
    network = world.cluster.ref("networking.k8s.io/v1/NetworkPolicy", "allow-dns", name)
    await world.cluster.apply(Delete(id="x", ref=network), "c0")
    await world.do(tenants.repair, InTenant(tenant=name))
    assert (await world.ask(get, TenantGet(tenant=name, drift=True))).drifted == []
    assert (await world.ask(list_, TenantListArguments(text=name))).tenants
    await world.do(tenants.delete, TenantDelete(tenant=name))


RIGHTS = [
    ("list", "v1/Pod", "viewer user admin"),
    ("list", "apps/v1/Deployment", "viewer user admin"),
    ("list", "batch/v1/Job", "viewer user admin"),
    ("list", "v1/Event", "viewer user admin"),
    ("list", "v1/ResourceQuota", "viewer user admin"),
    ("create", "batch/v1/Job", "user admin"),
    ("patch", "apps/v1/Deployment", "user admin"),
    ("create", "v1/Pod", "user admin"),
    ("create", "apps/v1/Deployment", "admin"),
    ("delete", "apps/v1/StatefulSet", "admin"),
    ("get", "v1/Secret", "admin"),
    ("patch", "v1/ConfigMap", "admin"),
    ("patch", "autoscaling/v2/HorizontalPodAutoscaler", "admin"),
    ("patch", "v1/ResourceQuota", ""),
    ("patch", "v1/LimitRange", ""),
    ("patch", "networking.k8s.io/v1/NetworkPolicy", ""),
    ("create", "networking.k8s.io/v1/NetworkPolicy", ""),
    ("create", "rbac.authorization.k8s.io/v1/RoleBinding", ""),
    ("patch", "v1/ServiceAccount", ""),
    ("get", "v1/Namespace", ""),
    ("patch", "v1/Namespace", ""),
    ("delete", "v1/Namespace", ""),
    ("list", "v1/Node", ""),
]


async def test_each_role_may_do_in_its_tenant_what_the_tools_need_and_nowhere_anything(
    kube: Kube, tenant: str
) -> None:
    for role in ("viewer", "user", "admin"):
        cluster = KubeWrites(kube.api, Identity(f"pilothouse-{role}", tenant))
        for verb, kind, roles in RIGHTS:
            may = await cluster.allowed(verb, kind, tenant)
            assert may is (role in roles.split()), (role, verb, kind)
            assert not await cluster.allowed(verb, kind, "kube-system"), (role, verb, kind)


async def test_pilothouse_may_act_as_a_tenant_s_accounts_and_as_nobody_else(world: World) -> None:
    name = world.name()
    await world.do(tenants.create, TenantCreate(name=name))

    async def may(account: str, where: str) -> Any:
        return await world.cluster.allowed("impersonate", "v1/ServiceAccount", where, account)

    assert await may("pilothouse-viewer", name)
    assert not await may("default", name)
    assert not await may("pilothouse-viewer", "kube-system")
    assert not await world.cluster.allowed("list", "v1/Secret", name)


@pytest.fixture
async def tenant(kube: Kube) -> AsyncIterator[str]:
    world = World({"test": KubeWrites(kube.api)})
    name = world.name()
    await world.do(tenants.create, TenantCreate(name=name))
    yield name
    await world.clean()
