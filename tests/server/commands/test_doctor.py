"""What `pilothouse doctor` says of a cluster: whom it takes us for, and whether that may do all."""

import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.commands.doctor_cluster import SHIPPED, Finding, cluster
from server.sandbox import PracticeCluster
from tests.conftest import Kube, reached
from tools.backends.kubernetes import Api, Identity
from tools.provisioning import PILOTHOUSE

pytestmark = pytest.mark.cluster
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture
async def tenant(kube: Kube, namespace: str) -> AsyncIterator[str]:
    """A namespace that is a tenant, whose binding lets the shipped account act for its callers. What
    is bound in the whole cluster here is taken away."""
    uid = namespace.rpartition("-")[2]
    marks = {"app.kubernetes.io/managed-by": "pilothouse", "pilothouse.dev/tenant-uid": uid}
    await kube.api.request(
        "PATCH", f"/api/v1/namespaces/{namespace}", body={"metadata": {"labels": marks}},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    await bind(kube, f"namespaces/{namespace}/rolebindings", "pilothouse:impersonator", PILOTHOUSE)
    yield namespace
    for one in (await kube.api.get(f"{RBAC}/clusterrolebindings"))["items"]:
        if (name := one["metadata"]["name"]).endswith(namespace):
            await kube.api.request("DELETE", f"{RBAC}/clusterrolebindings/{name}")


async def bind(
    kube: Kube, where: str, role: str, subject: dict[str, str], name: str = "impersonator"
) -> None:
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    body = {"metadata": {"name": name}, "roleRef": ref, "subjects": [subject]}
    await kube.api.request("POST", f"{RBAC}/{where}", body=body)


async def obey(kube: Kube, tenant: str, mend: str) -> None:
    """Bind what a finding says is to be bound."""
    _, _, command = mend.partition("kubectl create clusterrolebinding ")
    name, role, account = shlex.split(command.partition(";")[0])
    namespace, _, user = account.removeprefix("--serviceaccount=").partition(":")
    who = {"kind": "ServiceAccount", "name": user, "namespace": namespace}
    role = role.removeprefix("--clusterrole=")
    await bind(kube, "clusterrolebindings", role, who, f"{name}-{tenant}")


async def found(api: Api) -> dict[str, Finding]:
    """What is found in a cluster, by what was looked at."""
    return {one.what.rpartition(": ")[2]: one async for one in cluster("test", api)}


async def test_an_account_that_deploy_does_not_name_is_told_how_it_gets_what_it_needs(
    kube: Kube, tenant: str
) -> None:
    me = f"system:serviceaccount:{tenant}:mine"
    mine = kube.api.as_(Identity("mine", tenant))
    nothing = await found(mine)
    assert nothing["as"].said == me
    await obey(kube, tenant, nothing["rights"].mend)
    some = await found(mine)
    assert not some["rights"].wrong
    assert f"{me} may not act for them" in some["callers"].wrong
    assert tenant in some["callers"].wrong
    await obey(kube, tenant, some["callers"].mend)
    after = await found(mine)
    assert not any(one.wrong for one in after.values()), after


async def test_where_no_tenant_is_yet_it_is_said_who_will_be_refused(tmp_path: Path) -> None:
    with PracticeCluster().in_thread() as empty:
        empty.kubeconfig(path=tmp_path / "kubeconfig")
        async with reached(str(tmp_path / "kubeconfig")) as kube:
            admin = await found(kube.api)
            assert admin["callers"].said == "no tenants yet"
            other = {"kind": "ServiceAccount", "name": "other", "namespace": "default"}
            await bind(kube, "clusterrolebindings", "pilothouse", other)
            wrong = (await found(kube.api.as_(Identity("other", "default"))))["callers"]
            assert f"tenants let {SHIPPED} act" in wrong.wrong
            assert "--clusterrole=pilothouse:impersonator" in wrong.mend


async def test_the_account_that_deploy_names_is_sent_to_repair_a_tenant_that_refuses_it(
    kube: Kube, tenant: str
) -> None:
    await bind(kube, "clusterrolebindings", "pilothouse", PILOTHOUSE, f"pilothouse-{tenant}")
    ours = kube.api.as_(Identity(PILOTHOUSE["name"], PILOTHOUSE["namespace"]))
    first = await found(ours)
    assert first["as"].said == SHIPPED
    assert not any(one.wrong for one in first.values()), first
    await kube.api.request("DELETE", f"{RBAC}/namespaces/{tenant}/rolebindings/impersonator")
    after = await found(ours)
    assert tenant in after["callers"].wrong
    assert "tenant_repair" in after["callers"].mend
