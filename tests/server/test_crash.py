"""`kill -9` after every single change: a restart ends each plan wholly done or wholly undone."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest

from server.settings import Settings
from tests.conftest import Kube
from tests.crashing import MOMENTS, Moment, run_and_be_killed
from tests.house import OLIVIA, House, opened, settings
from tools.calls import State
from tools.errors import Code, ToolError

pytestmark = pytest.mark.cluster

KINDS = (
    "/api/v1/namespaces/{}/serviceaccounts",
    "/api/v1/namespaces/{}/resourcequotas",
    "/api/v1/namespaces/{}/limitranges",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
)
MOST_CHANGES = 40


@pytest.fixture
def there(kube: Kube, aws: Any, moto_url: str, tmp_path: Path) -> Settings:
    return settings(tmp_path, kube.kubeconfig, moto_url)


async def traces(kube: Kube, aws: Any, tenant: str) -> dict[str, Any]:
    """All that there is of a tenant, in the cluster, IAM and S3, without what moves by itself."""
    found: dict[str, Any] = {}
    if namespace := await _namespace(kube, tenant):
        found["namespace"] = _still(namespace)
        for path in KINDS:
            for item in (await kube.api.get(path.format(tenant)))["items"]:
                found[f"{path} {item['metadata']['name']}"] = _still(item)
    roles = (await aws.call("iam", "list_roles"))["Roles"]
    for role in roles:
        if tenant in role["RoleName"]:
            policies = await aws.call("iam", "list_role_policies", RoleName=role["RoleName"])
            found[role["RoleName"]] = policies["PolicyNames"]
    objects = await aws.call("s3", "list_objects_v2", Bucket="tenants")
    found |= {o["Key"]: o["Size"] for o in objects.get("Contents", []) if tenant in o["Key"]}
    return found


async def _namespace(kube: Kube, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await kube.api.get(f"/api/v1/namespaces/{name}")
    except ToolError as error:
        if error.code is Code.NOT_FOUND:
            return None
        raise
    return found


def _still(item: dict[str, Any]) -> dict[str, Any]:
    moving = ("resourceVersion", "managedFields", "uid", "creationTimestamp", "generation")
    metadata = {k: v for k, v in item["metadata"].items() if k not in moving}
    return {k: v for k, v in item.items() if k not in ("metadata", "status")} | {
        "metadata": metadata
    }


async def ended(house: House, tool: str) -> State:
    """The state in which the restarted house leaves the call that was interrupted."""
    async with asyncio.timeout(60):
        while True:
            listed = await house.call(OLIVIA, "call_list", tool=tool, limit=1)
            assert listed.answer is not None
            state = State(listed.answer["calls"][0]["state"])
            if state.ended:
                return state
            await house.call(OLIVIA, "call_wait", id=listed.answer["calls"][0]["id"], wait_s=5)


async def crashed(
    there: Settings, tool: str, arguments: dict[str, Any], at: int, moment: Moment
) -> State | None:
    """How a call ends that is interrupted at a change; None when it has no so many changes."""
    killed = await asyncio.to_thread(run_and_be_killed, there, tool, arguments, at, moment)
    if not killed:
        return None
    async with opened(there) as house:
        return await ended(house, tool)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_at_any_change_of_tenant_create_all_of_it_is_there_or_nothing(
    kube: Kube, aws: Any, there: Settings, moment: Moment
) -> None:
    whole: set[int] = set()
    for at in range(1, MOST_CHANGES):
        name = f"t-{uuid.uuid4().hex[:8]}"
        state = await crashed(there, "tenant_create", {"name": name, "plan": "pro"}, at, moment)
        left = await traces(kube, aws, name)
        if state is State.FAILED:
            assert left == {}, at
            continue
        assert state in (None, State.SUCCEEDED), (at, state)
        whole.add(len(left))
        await kube.api.request("DELETE", f"/api/v1/namespaces/{name}")
        if state is None:
            assert at > 10
            assert len(whole) == 1, "what went on after the crash is what is made without one"
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_at_any_change_of_tenant_update_the_tenant_is_as_it_was_or_as_asked_for(
    kube: Kube, aws: Any, there: Settings, moment: Moment
) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    async with opened(there) as house:
        await house.done("tenant_create", name=name, plan="pro")
    before = await traces(kube, aws, name)
    try:
        for at in range(1, MOST_CHANGES):
            arguments = {"tenant": name, "plan": "enterprise"}
            state = await crashed(there, "tenant_update", arguments, at, moment)
            if state in (None, State.SUCCEEDED):
                async with opened(there) as house:
                    shown = await house.call(OLIVIA, "tenant_get", tenant=name)
                    assert shown.answer is not None
                    assert (shown.answer["plan"], shown.answer.get("drift")) == ("enterprise", None)
                    if state is None:
                        assert at > 2
                        return
                    await house.done("tenant_update", tenant=name, plan="pro")
            else:
                assert state is State.FAILED, (at, state)
            assert await traces(kube, aws, name) == before, at
        raise AssertionError("it never came to its end")
    finally:
        await kube.api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_at_any_change_of_tenant_delete_it_is_wholly_there_or_wholly_gone(
    kube: Kube, aws: Any, there: Settings, moment: Moment
) -> None:
    for at in range(1, MOST_CHANGES):
        name = f"t-{uuid.uuid4().hex[:8]}"
        async with opened(there) as house:
            await house.done("tenant_create", name=name, plan="pro")
        before = await traces(kube, aws, name)
        arguments = {"tenant": name, "objects": "delete"}
        state = await crashed(there, "tenant_delete", arguments, at, moment)
        left = await traces(kube, aws, name)
        if state is State.FAILED:
            assert left == before, at
            await kube.api.request("DELETE", f"/api/v1/namespaces/{name}")
            continue
        assert state in (None, State.SUCCEEDED), (at, state)
        assert left == {}, at
        if state is None:
            assert at > 1
            return
    raise AssertionError("it never came to its end")
