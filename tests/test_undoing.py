"""Undoing: what it gives back, what it says that it cannot, and what it leaves alone."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import Kube
from tests.house import OLIVIA, OSCAR
from tests.lodging import Lodging, deployment, lodging, refused
from tools.calls import Outcome, State
from tools.errors import Code, ToolError

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(
    shared_kube: Kube, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lodging]:
    async with lodging(shared_kube, moto_url, tmp_path_factory.mktemp("undo")) as home:
        yield home


@pytest_asyncio.fixture(loop_scope="module")
async def made(home: Lodging) -> AsyncIterator[tuple[str, str]]:
    """A fresh tenant, and the call that made it."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    call = await home.done("tenant_create", name=name)
    yield name, str(call.call_id)
    if await there(home, f"/api/v1/namespaces/{name}"):
        await home.kube.api.request("DELETE", f"/api/v1/namespaces/{name}")


async def undo(home: Lodging, id: str | None, **options: Any) -> Outcome:
    return await home.app.gate.call(OLIVIA, "call_undo", {"id": id}, **options)


async def there(home: Lodging, path: str) -> bool:
    try:
        await home.kube.api.get(path)
    except ToolError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return False
    return True


async def test_undoing_a_tenants_making_says_what_was_put_there_since_and_takes_it_along(
    home: Lodging, made: tuple[str, str]
) -> None:
    name, call_id = made
    await home.done("resource_apply", tenant=name, manifest=deployment(replicas=1))
    prefix = (await home.call(OLIVIA, "tenant_get", tenant=name)).answer["prefix"]
    bucket, _, key = prefix.partition("/")
    aws = home.app.backends.aws
    await aws.call("s3", "put_object", Bucket=bucket, Key=f"{key}theirs", Body=b"x")
    shown = await undo(home, call_id, preview=True)
    assert shown.undo == "none"
    said = "\n".join(shown.notes)
    assert f"Namespace {name}" in said
    assert "1 Deployments" in said
    assert "objects" in said
    waits = await undo(home, call_id)
    assert waits.state is State.AWAITING_APPROVAL
    assert waits.notes == shown.notes
    done = await home.call(OSCAR, "call_approve", id=waits.call_id)
    assert done.state is State.SUCCEEDED, done
    assert not await there(home, f"/api/v1/namespaces/{name}")
    roles = await aws.call("iam", "list_roles")
    assert not [r for r in roles["Roles"] if name in r["RoleName"]]
    kept = await aws.call("s3", "list_objects_v2", Bucket=bucket, Prefix=key)
    assert [o["Key"] for o in kept["Contents"]] == [f"{key}theirs"]
    await aws.call("s3", "delete_object", Bucket=bucket, Key=f"{key}theirs")


async def test_a_tenant_that_is_protected_by_now_is_not_undone(
    home: Lodging, made: tuple[str, str]
) -> None:
    name, call_id = made
    await home.done("tenant_update", tenant=name, protected=True)
    refused(await undo(home, call_id), Code.FAILED_PRECONDITION)
    assert await there(home, f"/api/v1/namespaces/{name}")
    await home.done("tenant_update", tenant=name, protected=False)


async def test_a_tenant_that_was_made_protected_is_not_undone(home: Lodging) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    call = await home.done("tenant_create", name=name, protected=True)
    refused(await undo(home, call.call_id), Code.FAILED_PRECONDITION, "protected")
    await home.done("tenant_update", tenant=name, protected=False)
    await home.done("tenant_delete", tenant=name)


async def test_a_tenant_that_was_deleted_is_not_brought_back_in_part(
    home: Lodging, made: tuple[str, str]
) -> None:
    name, _ = made
    deleted = await home.done("tenant_delete", tenant=name)
    assert deleted.undo == "none"
    outcome = await undo(home, deleted.call_id)
    refused(outcome, Code.FAILED_PRECONDITION, "can be brought back", f"Namespace {name}")
    roles = await home.app.backends.aws.call("iam", "list_roles")
    assert not [r for r in roles["Roles"] if name in r["RoleName"]]


async def test_what_is_made_anew_is_said_to_be_new(home: Lodging) -> None:
    about = {"tenant": home.tenant, "name": "again"}
    await home.done("resource_apply", tenant=home.tenant, manifest=deployment("again", 1))
    path = f"/apis/apps/v1/namespaces/{home.tenant}/deployments/again"
    before = await home.kube.api.get(path)
    deleted = await home.done("workload_delete", **about)
    assert deleted.undo == "recreates"
    shown = await undo(home, deleted.call_id, preview=True)
    assert [n for n in shown.notes if "made anew" in n]
    undone = await undo(home, deleted.call_id)
    assert undone.state is State.SUCCEEDED, undone
    after = await home.kube.api.get(path)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"]["template"] == before["spec"]["template"]


async def test_an_undo_that_is_under_way_is_not_begun_again_and_its_key_is_free(
    home: Lodging, made: tuple[str, str]
) -> None:
    _, call_id = made
    waits = await undo(home, call_id)
    assert waits.state is State.AWAITING_APPROVAL
    for _ in range(2):
        refused(await undo(home, call_id, key="again"), Code.FAILED_PRECONDITION, "undoing")
    await home.call(OSCAR, "call_reject", id=waits.call_id, reason="keep it")
    assert (await undo(home, call_id, key="again")).state is State.AWAITING_APPROVAL


async def test_two_undos_at_once_are_one(home: Lodging) -> None:
    scaled = await home.done("workload_scale", tenant=home.tenant, name="web", replicas=1)
    both = await asyncio.gather(*(undo(home, scaled.call_id, key=f"k{n}") for n in range(5)))
    assert sorted(o.state for o in both) == [State.FAILED] * 4 + [State.SUCCEEDED]
    for outcome in both:
        if outcome.error:
            refused(outcome, Code.FAILED_PRECONDITION)
    for n in range(5):  # the keys of those that came to nothing are free
        outcome = await undo(home, scaled.call_id, key=f"k{n}")
        assert outcome.error is None or "undone" in outcome.error.message, outcome


async def test_undoing_is_undone(home: Lodging) -> None:
    scaled = await home.done("workload_scale", tenant=home.tenant, name="web", replicas=1)
    undone = await home.done("call_undo", id=scaled.call_id)
    again = await home.done("call_undo", id=undone.call_id)
    assert again.changes[0].diff[0].after == 1
    refused(await undo(home, scaled.call_id), Code.FAILED_PRECONDITION, "undone")


@pytest.mark.parametrize("state", ["waiting", "rejected", "failed"])
async def test_what_was_not_done_cannot_be_undone(home: Lodging, state: str) -> None:
    outcome = await home.call(OLIVIA, "workload_delete", tenant=home.tenant, name="web")
    assert outcome.state is State.AWAITING_APPROVAL
    if state != "waiting":
        await home.call(OSCAR, "call_reject", id=outcome.call_id, reason="no")
    refused(await undo(home, outcome.call_id), Code.FAILED_PRECONDITION, "nothing to undo")
    if state == "waiting":
        await home.call(OSCAR, "call_reject", id=outcome.call_id, reason="no")
