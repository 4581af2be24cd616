"""`kill -9` at random moments of mixed load: after a restart the journal, the cluster and AWS
agree, and all that was acknowledged is there."""

import asyncio
import os
import random
import uuid
from pathlib import Path
from typing import Any

import pytest

from server.settings import Settings
from tests.conftest import Kube
from tests.house import OLIVIA, House, opened, settings
from tests.lodging import deployment, with_bucket
from tests.soak import WHOLE
from tests.soak.killing import run_and_be_killed
from tools.calls import State

pytestmark = pytest.mark.cluster
KILLS = int(os.environ.get("PILOTHOUSE_TEST_KILLS", 200 if WHOLE else 2))
ENDED_S = 60


@pytest.fixture
def there(kube: Kube, aws: Any, moto_url: str, tmp_path: Path) -> Settings:
    return settings(tmp_path, kube.kubeconfig, moto_url)


async def test_killed_at_any_moment_nothing_that_was_acknowledged_is_lost(
    kube: Kube, aws: Any, there: Settings
) -> None:
    dice = random.Random(9)
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    async with opened(there) as house:
        await with_bucket(house)
        await house.done("tenant_create", name=tenant, plan="free")
        await house.done("resource_apply", tenant=tenant, manifest=deployment())
    acknowledged = 0
    for kill in range(1, KILLS + 1):
        told = await asyncio.to_thread(run_and_be_killed, there, tenant, dice.uniform(0.02, 2.5))
        acknowledged += len(told)
        async with opened(there) as house:
            await all_ended(house)
            for line in told:
                state = await house.state(line["id"])
                assert state.value == line["state"] or State(line["state"]) in (
                    State.RUNNING, State.AWAITING_CONFIRMATION), (line, state)  # fmt: skip
            await on_record(house, told)
            await scaled_as_recorded(house, kube, tenant)
            await provisioned_whole_or_not(kube, aws)
        print(f"kill {kill}: {len(told)} acknowledged, {acknowledged} in all", flush=True)
    assert acknowledged > KILLS * 2
    await kube.api.request("DELETE", f"/api/v1/namespaces/{tenant}")


async def all_ended(house: House) -> None:
    """What was under way comes to its end, and is neither stuck nor unknown."""
    async with asyncio.timeout(ENDED_S):
        while True:
            found = await house.call(OLIVIA, "call_list", state="running", limit=50)
            assert found.answer is not None
            if not found.answer["calls"]:
                break
            for call in found.answer["calls"]:
                await house.call(OLIVIA, "call_wait", id=call["id"], wait_s=5)
    for state in ("stuck", "unknown"):
        found = await house.call(OLIVIA, "call_list", state=state)
        assert found.answer is not None
        assert found.answer["calls"] == []


async def on_record(house: House, told: list[dict[str, Any]]) -> None:
    for line in told:
        found = await house.call(OLIVIA, "audit_list", text=line["id"])
        assert found.answer is not None
        assert line["state"] in [one["state"] for one in found.answer["lines"]], line
    verified = await house.call(OLIVIA, "audit_verify")
    assert verified.answer is not None
    assert verified.answer["faults"] == []


async def scaled_as_recorded(house: House, kube: Kube, tenant: str) -> None:
    """The one who scales does it one after the other."""
    found = await house.call(
        OLIVIA, "call_list", tool="workload_scale", tenant=tenant, state="succeeded", limit=1
    )
    assert found.answer is not None
    if not found.answer["calls"]:
        return
    shown = await house.call(OLIVIA, "call_get", id=found.answer["calls"][0]["id"])
    assert shown.answer is not None
    live = await kube.api.get(f"/apis/apps/v1/namespaces/{tenant}/deployments/web")
    assert live["spec"]["replicas"] == shown.answer["call"]["arguments"]["replicas"]


async def provisioned_whole_or_not(kube: Kube, aws: Any) -> None:
    listed = await kube.api.get("/api/v1/namespaces")
    names = {n["metadata"]["name"] for n in listed["items"]}
    tenants = {name for name in names if name.startswith("k-")}
    roles = (await aws.call("iam", "list_roles"))["Roles"]
    with_role = {r["RoleName"].split("-pilothouse-")[-1] for r in roles}
    theirs = {n for n in tenants if any(n in role for role in with_role)}
    assert theirs == tenants
    assert sum("k-" in role for role in with_role) == len(tenants)
