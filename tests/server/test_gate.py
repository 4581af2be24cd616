"""The gate over a whole Pilothouse: what is let through, what waits, what happens once."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from server.journal import audit
from tests.conftest import Kube
from tests.house import AGENT, OLIVIA, OSCAR, House, opened, settings
from tools.calls import Caller, Grant, Role, State
from tools.errors import Code

pytestmark = pytest.mark.cluster


class Clock:
    """The time that the house goes by; it moves only when told to."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def step(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def house(
    kube: Kube, aws: Any, moto_url: str, clock: Clock, tmp_path: Path
) -> AsyncIterator[House]:
    async with opened(settings(tmp_path, kube.kubeconfig, moto_url), clock=clock) as house:
        yield house


@pytest.fixture
async def tenant(house: House, kube: Kube) -> AsyncIterator[str]:
    """A tenant with a Deployment `web` of two replicas in it."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    await house.done("tenant_create", name=name, plan="pro")
    web = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx"}]},
            },
        },
    }
    await kube.api.request("POST", f"/apis/apps/v1/namespaces/{name}/deployments", body=web)
    yield name
    await kube.api.request("DELETE", f"/api/v1/namespaces/{name}")


async def replicas(kube: Kube, tenant: str) -> int:
    path = f"/apis/apps/v1/namespaces/{tenant}/deployments/web"
    return int((await kube.api.get(path))["spec"]["replicas"])


async def patch_web(kube: Kube, tenant: str, body: dict[str, Any]) -> None:
    await kube.api.request(
        "PATCH",
        f"/apis/apps/v1/namespaces/{tenant}/deployments/web",
        body=body,
        content_type="application/merge-patch+json",
    )


# ---- who and what


async def test_an_unknown_tool_is_answered_with_the_nearest_name(house: House) -> None:
    outcome = await house.call(OLIVIA, "tenant_lst")
    assert outcome.error is not None
    assert outcome.error.code is Code.NOT_FOUND
    assert "tenant_list" in outcome.error.hint


WRONG = [
    ({"name": "web", "replicas": "many"}, "replicas"),
    ({"name": "web", "replicas": -1}, "replicas"),
    ({"name": "web", "replicas": 10**9}, "replicas"),
    ({"name": "web", "replicas": 3, "force": True}, "force is no argument"),
    ({"name": "web"}, "replicas is missing"),
    ({"name": "../web", "replicas": 3}, "name"),
    ({"name": "w" * 254, "replicas": 3}, "name"),
    ({"name": "x" * 100_000, "replicas": 3}, "name"),
    ({"name": ["web"], "replicas": 3}, "name"),
]


async def test_bad_arguments_are_named_without_being_echoed(
    house: House, tenant: str, kube: Kube
) -> None:
    for arguments, said in WRONG:
        outcome = await house.call(OLIVIA, "workload_scale", tenant=tenant, **arguments)
        assert outcome.error is not None, arguments
        assert outcome.error.code is Code.INVALID_ARGUMENT
        assert said in outcome.error.message
        assert len(outcome.error.message) < 1000
        assert "It takes: " in outcome.error.hint
    assert await replicas(kube, tenant) == 2


async def test_anothers_tenant_looks_like_one_that_does_not_exist(
    house: House, tenant: str
) -> None:
    stranger = Caller.of("mallory", grants={"other": Grant(role=Role.ADMIN, uid="u")})
    theirs = await house.call(stranger, "workload_list", tenant=tenant)
    nobodys = await house.call(stranger, "workload_list", tenant="t-nowhere")
    assert theirs.error is not None
    assert nobodys.error is not None
    assert theirs.error.code is Code.NOT_FOUND
    assert theirs.error.message.replace(tenant, "t-nowhere") == nobodys.error.message
    assert theirs.error.hint == nobodys.error.hint


async def test_a_grant_from_an_earlier_tenant_of_the_name_holds_nothing(
    house: House, tenant: str
) -> None:
    former = Caller.of("ann", grants={tenant: Grant(role=Role.ADMIN, uid="of-an-earlier-one")})
    outcome = await house.call(former, "workload_list", tenant=tenant)
    assert outcome.error is not None
    assert outcome.error.code is Code.NOT_FOUND


async def test_a_role_that_does_not_cover_the_tool_is_told_which_would(
    house: House, tenant: str
) -> None:
    viewer = await house.member(tenant, Role.VIEWER)
    outcome = await house.call(viewer, "workload_scale", tenant=tenant, name="web", replicas=3)
    assert outcome.state is State.DENIED
    assert outcome.error is not None
    assert "needs the role user" in outcome.error.message


async def test_who_is_in_one_tenant_need_not_name_it(house: House, tenant: str) -> None:
    viewer = await house.member(tenant, Role.VIEWER)
    outcome = await house.call(viewer, "workload_list")
    assert outcome.answer is not None
    assert [row["name"] for row in outcome.answer["workloads"]] == ["web"]


async def test_read_only_and_toolsets_hold_for_calls_and_not_just_for_the_list(
    house: House, tenant: str
) -> None:
    reader = OLIVIA.model_copy(update={"read_only": True})
    outcome = await house.call(reader, "workload_scale", tenant=tenant, name="web", replicas=3)
    assert outcome.error is not None
    assert outcome.error.code is Code.PERMISSION_DENIED
    assert (await house.call(reader, "workload_list", tenant=tenant)).state is State.SUCCEEDED
    few = OLIVIA.model_copy(update={"toolsets": frozenset({"tenants"})})
    assert (await house.call(few, "workload_list", tenant=tenant)).error is not None
    assert (await house.call(few, "tenant_list")).state is State.SUCCEEDED


async def test_the_cluster_sees_a_members_call_as_their_service_account(
    house: House, tenant: str, kube: Kube
) -> None:
    """So RBAC holds whatever the gate does: taken from the role, the right is gone."""
    user = await house.member(tenant, Role.USER)
    outcome = await house.call(user, "workload_scale", tenant=tenant, name="web", replicas=3)
    assert outcome.state is State.SUCCEEDED, outcome
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{tenant}/rolebindings/pilothouse-user"
    await kube.api.request("DELETE", path)
    async with asyncio.timeout(30):
        while True:
            outcome = await house.call(
                user, "workload_scale", tenant=tenant, name="web", replicas=4
            )
            if outcome.state is not State.SUCCEEDED:
                break
            await house.call(OLIVIA, "workload_scale", tenant=tenant, name="web", replicas=3)
    assert outcome.error is not None
    assert outcome.error.code is Code.PERMISSION_DENIED
    assert "pilothouse-user" in outcome.error.message


# ---- planning, asking, going ahead


async def test_a_preview_shows_the_diff_and_does_nothing(
    house: House, tenant: str, kube: Kube
) -> None:
    arguments = {"tenant": tenant, "name": "web", "replicas": 5}
    outcome = await house.app.gate.call(OLIVIA, "workload_scale", arguments, preview=True)
    assert outcome.state is State.PLANNING
    assert [(d.path, d.before, d.after) for d in outcome.changes[0].diff] == [
        ("spec.replicas", 2, 5)
    ]
    assert await replicas(kube, tenant) == 2
    shown = await house.call(OLIVIA, "call_get", id=outcome.call_id)
    assert shown.error is not None


async def test_a_preview_says_whether_it_would_wait(house: House, tenant: str) -> None:
    scaled = {"tenant": tenant, "name": "web", "replicas": 5}
    for who, tool, arguments, why in (
        (OLIVIA, "workload_scale", scaled, ""),
        (AGENT, "workload_scale", scaled, "olivia confirms what it changes"),
        (OLIVIA, "tenant_create", {"name": "hooli", "plan": "free"}, "other than olivia approves"),
    ):
        outcome = await house.app.gate.call(who, tool, arguments, preview=True)
        assert outcome.state is State.PLANNING
        assert why in outcome.why
        assert bool(outcome.why) is bool(why)


async def test_what_changes_nothing_succeeds_at_once(house: House, tenant: str) -> None:
    outcome = await house.call(AGENT, "workload_scale", tenant=tenant, name="web", replicas=2)
    assert outcome.state is State.SUCCEEDED
    assert outcome.changes == []


async def test_an_agents_change_waits_for_its_person_who_confirms_it(
    house: House, tenant: str, kube: Kube
) -> None:
    outcome = await house.call(AGENT, "workload_scale", tenant=tenant, name="web", replicas=3)
    assert outcome.state is State.AWAITING_CONFIRMATION
    assert outcome.expires is not None
    assert "olivia" in outcome.why
    assert outcome.call_id is not None
    assert outcome.call_id in outcome.next
    for tool in ("call_confirm", "call_approve"):
        denied = await house.call(AGENT, tool, id=outcome.call_id)
        assert denied.error is not None
        assert denied.error.code is Code.PERMISSION_DENIED
    assert await replicas(kube, tenant) == 2
    confirmed = await house.call(OLIVIA, "call_confirm", id=outcome.call_id, digest=outcome.digest)
    assert confirmed.state is State.SUCCEEDED
    assert await replicas(kube, tenant) == 3


async def test_confirming_in_the_client_is_bound_to_the_digest(house: House, tenant: str) -> None:
    outcome = await house.call(AGENT, "workload_scale", tenant=tenant, name="web", replicas=3)
    elicited = AGENT.model_copy(update={"door": "mcp-elicitation"})
    wrong = await house.call(elicited, "call_confirm", id=outcome.call_id, digest="0" * 64)
    assert wrong.error is not None
    assert wrong.error.code is Code.FAILED_PRECONDITION
    right = await house.call(elicited, "call_confirm", id=outcome.call_id, digest=outcome.digest)
    assert right.state is State.SUCCEEDED


async def test_a_client_cannot_confirm_what_needs_somebody_else(house: House, tenant: str) -> None:
    outcome = await house.call(AGENT, "workload_delete", tenant=tenant, name="web")
    assert outcome.state is State.AWAITING_APPROVAL
    elicited = AGENT.model_copy(update={"door": "mcp-elicitation"})
    denied = await house.call(elicited, "call_confirm", id=outcome.call_id, digest=outcome.digest)
    assert denied.error is not None
    assert denied.error.code is Code.PERMISSION_DENIED


async def test_nobody_approves_what_they_asked_for_themselves(house: House, tenant: str) -> None:
    outcome = await house.call(OLIVIA, "workload_delete", tenant=tenant, name="web")
    for who in (OLIVIA, OLIVIA.model_copy(update={"subject": "olivia2"})):
        denied = await house.call(who, "call_approve", id=outcome.call_id)
        assert denied.error is not None
        assert "asked for it yourself" in denied.error.message
    assert (await house.call(OSCAR, "call_approve", id=outcome.call_id)).state is State.SUCCEEDED


async def test_approved_ten_times_at_once_it_is_carried_out_once(
    house: House, tenant: str, kube: Kube
) -> None:
    outcome = await house.call(AGENT, "workload_restart", tenant=tenant, name="web")
    before = await kube.api.get(f"/apis/apps/v1/namespaces/{tenant}/deployments/web")
    decided = await asyncio.gather(
        *(house.call(OSCAR, "call_approve", id=outcome.call_id) for _ in range(10))
    )
    assert State.SUCCEEDED in {d.state for d in decided}
    after = await kube.api.get(f"/apis/apps/v1/namespaces/{tenant}/deployments/web")
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


async def test_approved_and_rejected_at_once_one_of_them_holds(
    house: House, tenant: str, kube: Kube
) -> None:
    outcome = await house.call(AGENT, "workload_scale", tenant=tenant, name="web", replicas=3)
    await asyncio.gather(
        house.call(OSCAR, "call_approve", id=outcome.call_id),
        house.call(OSCAR, "call_reject", id=outcome.call_id, reason="no"),
    )
    state = await house.state(outcome.call_id)
    assert state in (State.SUCCEEDED, State.REJECTED)
    assert await replicas(kube, tenant) == (3 if state is State.SUCCEEDED else 2)


async def test_a_rejection_ends_it_with_its_reason(house: House, tenant: str) -> None:
    outcome = await house.call(AGENT, "workload_scale", tenant=tenant, name="web", replicas=3)
    await house.call(OSCAR, "call_reject", id=outcome.call_id, reason="not today")
    shown = await house.call(AGENT, "call_get", id=outcome.call_id)
    assert shown.answer is not None
    assert shown.answer["call"]["reason"] == "not today"
    assert await house.state(outcome.call_id) is State.REJECTED
    late = await house.call(OSCAR, "call_approve", id=outcome.call_id)
    assert late.error is not None
    assert "rejected" in late.error.message


async def test_a_call_that_waited_too_long_has_expired(
    house: House, tenant: str, clock: Clock, kube: Kube
) -> None:
    outcome = await house.call(AGENT, "workload_scale", tenant=tenant, name="web", replicas=3)
    clock.step(hours=25)
    late = await house.call(OSCAR, "call_approve", id=outcome.call_id)
    assert late.error is not None
    assert "expired" in late.error.message
    assert await house.state(outcome.call_id) is State.EXPIRED
    assert await replicas(kube, tenant) == 2


async def test_changed_meanwhile_in_a_field_that_it_writes_it_is_stale(
    house: House, tenant: str, kube: Kube
) -> None:
    outcome = await house.call(AGENT, "workload_scale", tenant=tenant, name="web", replicas=3)
    await patch_web(kube, tenant, {"spec": {"replicas": 1}})
    approved = await house.call(OSCAR, "call_approve", id=outcome.call_id)
    assert approved.state is State.STALE
    assert approved.error is not None
    assert "replicas" in approved.error.message
    assert await replicas(kube, tenant) == 1


async def test_changed_meanwhile_in_another_field_it_goes_ahead(
    house: House, tenant: str, kube: Kube
) -> None:
    outcome = await house.call(AGENT, "workload_scale", tenant=tenant, name="web", replicas=3)
    await patch_web(kube, tenant, {"metadata": {"labels": {"team": "blue"}}})
    approved = await house.call(OSCAR, "call_approve", id=outcome.call_id)
    assert approved.state is State.SUCCEEDED, approved.error
    assert await replicas(kube, tenant) == 3


async def test_what_the_requester_may_no_longer_do_is_not_carried_out(
    house: House, tenant: str, kube: Kube
) -> None:
    user = await house.member(tenant, Role.USER, agent=True, person="ann")
    outcome = await house.call(user, "workload_scale", tenant=tenant, name="web", replicas=3)
    house.app.local_gate.still = lambda caller: None
    approved = await house.call(OSCAR, "call_approve", id=outcome.call_id)
    assert approved.state is State.FAILED
    assert approved.error is not None
    assert approved.error.code is Code.PERMISSION_DENIED
    assert await replicas(kube, tenant) == 2


async def test_a_sole_operator_approves_own_calls_where_the_setting_allows_it(
    kube: Kube, aws: Any, moto_url: str, tmp_path: Path
) -> None:
    alone = settings(tmp_path, kube.kubeconfig, moto_url, approvals={"sole_operator": True})
    async with opened(alone) as house:
        house.app.local_gate.operators = lambda: 1
        name = f"t-{uuid.uuid4().hex[:8]}"
        outcome = await house.call(OLIVIA, "tenant_create", name=name, plan="free")
        assert outcome.state is State.AWAITING_APPROVAL
        house.app.local_gate.operators = lambda: 2
        assert (await house.call(OLIVIA, "call_approve", id=outcome.call_id)).error is not None
        house.app.local_gate.operators = lambda: 1
        await house.call(OLIVIA, "call_reject", id=outcome.call_id, reason="just looking")


# ---- once, undone, frozen


async def test_a_call_sent_twice_with_one_key_runs_once(
    house: House, tenant: str, kube: Kube
) -> None:
    arguments = {"tenant": tenant, "image": "busybox", "command": ["true"]}
    outcomes = await asyncio.gather(
        *(house.app.gate.call(OLIVIA, "job_create", arguments, key="k1") for _ in range(5))
    )
    assert len({o.call_id for o in outcomes}) == 1
    again = await house.app.gate.call(OLIVIA, "job_create", arguments, key="k1")
    assert again.call_id == outcomes[0].call_id
    jobs = await kube.api.get(f"/apis/batch/v1/namespaces/{tenant}/jobs")
    assert len(jobs["items"]) == 1


async def test_a_key_used_for_something_else_is_refused(house: House, tenant: str) -> None:
    first = {"tenant": tenant, "name": "web", "replicas": 3}
    await house.app.gate.call(OLIVIA, "workload_scale", first, key="k2")
    other = await house.app.gate.call(OLIVIA, "workload_scale", first | {"replicas": 4}, key="k2")
    assert other.error is not None
    assert other.error.code is Code.INVALID_ARGUMENT
    assert "k2" in other.error.message


async def test_a_call_that_came_to_nothing_frees_its_key(house: House, tenant: str) -> None:
    wrong = {"tenant": tenant, "name": "nowhere", "replicas": 3}
    assert (await house.app.gate.call(OLIVIA, "workload_scale", wrong, key="k3")).error is not None
    right = {"tenant": tenant, "name": "web", "replicas": 3}
    outcome = await house.app.gate.call(OLIVIA, "workload_scale", right, key="k3")
    assert outcome.state is State.SUCCEEDED


async def test_an_undo_gives_back_what_was_there_and_happens_once(
    house: House, tenant: str, kube: Kube
) -> None:
    done = await house.done("workload_scale", tenant=tenant, name="web", replicas=4)
    undone = await house.done("call_undo", id=done.call_id)
    assert await replicas(kube, tenant) == 2
    assert await house.state(done.call_id) is State.UNDONE
    again = await house.call(OLIVIA, "call_undo", id=done.call_id)
    assert again.error is not None
    assert again.error.code is Code.FAILED_PRECONDITION
    redone = await house.done("call_undo", id=undone.call_id)
    assert redone.state is State.SUCCEEDED
    assert await replicas(kube, tenant) == 4


async def test_an_undo_leaves_alone_what_somebody_changed_since(
    house: House, tenant: str, kube: Kube
) -> None:
    done = await house.done("workload_scale", tenant=tenant, name="web", replicas=4)
    await patch_web(kube, tenant, {"spec": {"replicas": 1}})
    refused = await house.call(OLIVIA, "call_undo", id=done.call_id)
    assert refused.error is not None
    assert refused.error.code is Code.FAILED_PRECONDITION
    assert await replicas(kube, tenant) == 1


async def test_an_undo_is_judged_as_what_it_undoes(house: House, tenant: str) -> None:
    deleted = await house.done("workload_delete", tenant=tenant, name="web")
    viewer = await house.member(tenant, Role.VIEWER)
    denied = await house.call(viewer, "call_undo", id=deleted.call_id)
    assert denied.state is State.DENIED
    made = await house.call(OLIVIA, "call_list", tenant=tenant, tool="tenant_create")
    assert made.answer is not None
    creation = made.answer["calls"][0]["id"]
    undo = await house.call(OLIVIA, "call_undo", id=creation)
    assert undo.state is State.AWAITING_APPROVAL
    assert undo.undo == "none"
    rejected = await house.call(OSCAR, "call_reject", id=undo.call_id, reason="keep it")
    assert rejected.state is State.REJECTED
    assert await house.state(creation) is State.SUCCEEDED


async def test_frozen_nothing_is_carried_out_until_it_is_resumed(
    house: House, tenant: str, kube: Kube
) -> None:
    await house.done("calls_freeze", reason="incident")
    arguments = {"tenant": tenant, "name": "web", "replicas": 3}
    outcome = await house.app.gate.call(OLIVIA, "workload_scale", arguments, wait_s=0.2)
    assert outcome.state is State.RUNNING
    assert await replicas(kube, tenant) == 2
    await house.done("calls_resume")
    shown = await house.call(OLIVIA, "call_wait", id=outcome.call_id)
    assert shown.answer is not None
    assert shown.answer["call"]["outcome"]["state"] == "succeeded"
    assert await replicas(kube, tenant) == 3


async def test_who_may_see_calls_sees_those_of_their_tenants_and_their_own(
    house: House, tenant: str
) -> None:
    done = await house.done("workload_scale", tenant=tenant, name="web", replicas=3)
    viewer = await house.member(tenant, Role.VIEWER)
    stranger = Caller.of("mallory", grants={"other": Grant(role=Role.ADMIN, uid="u")})
    seen = await house.call(viewer, "call_list")
    unseen = await house.call(stranger, "call_list")
    assert seen.answer is not None
    assert unseen.answer is not None
    assert done.call_id in [row["id"] for row in seen.answer["calls"]]
    assert unseen.answer["calls"] == []
    hidden = await house.call(stranger, "call_get", id=done.call_id)
    assert hidden.error is not None
    assert hidden.error.code is Code.NOT_FOUND


async def test_calls_are_listed_in_pages(house: House, tenant: str) -> None:
    for n in (3, 4, 5):
        await house.done("workload_scale", tenant=tenant, name="web", replicas=n)
    seen: list[str] = []
    more = ""
    for _ in range(10):
        page = await house.call(OLIVIA, "call_list", tool="workload_scale", limit=2, next=more)
        assert page.answer is not None
        seen += [row["id"] for row in page.answer["calls"]]
        if not (more := page.answer.get("next", "")):
            break
    assert len(seen) == len(set(seen)) == 3


async def test_every_call_is_on_record_reads_and_refusals_too(house: House, tenant: str) -> None:
    viewer = await house.member(tenant, Role.VIEWER)
    await house.call(viewer, "workload_list", tenant=tenant)
    await house.call(viewer, "workload_scale", tenant=tenant, name="web", replicas=3)
    await house.app.local_gate.audit.flush()
    query = sa.select(audit.c.tool, audit.c.state, audit.c.code, audit.c.policy).where(
        audit.c.subject == viewer.subject
    )
    rows = await house.app.journal.run(lambda c: c.execute(query).all())
    assert ("workload_list", "succeeded", "", "role-covers-tool") in rows
    assert ("workload_scale", "denied", "permission_denied") in {row[:3] for row in rows}


async def test_state_from_another_cluster_is_not_used_for_this_one(
    house: House, tenant: str, kube: Kube
) -> None:
    """Names alone say little: `default` is what every first cluster is called."""
    records = house.app.local_gate.records
    await records.set_meta("clusters", {"default": "the-uid-of-another"})
    house.app.local_gate._checked = False
    outcome = await house.call(OLIVIA, "workload_scale", tenant=tenant, name="web", replicas=3)
    assert outcome.error is not None
    assert outcome.error.code is Code.FAILED_PRECONDITION
    assert "another cluster" in outcome.error.message
    assert await replicas(kube, tenant) == 2


async def test_the_state_may_lie_in_either_database(
    kube: Kube, aws: Any, moto_url: str, tmp_path: Path, database: str
) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    there = settings(tmp_path, kube.kubeconfig, moto_url, database=database)
    async with opened(there) as house:
        made = await house.done("tenant_create", name=name, plan="free")
        again = await asyncio.gather(
            *(house.app.gate.call(OLIVIA, "tenant_update", {"tenant": name, "plan": "pro"}, key="k")
              for _ in range(5))
        )  # fmt: skip
        assert len({o.call_id for o in again}) == 1
        decided = await asyncio.gather(
            *(house.call(OSCAR, "call_approve", id=again[0].call_id) for _ in range(5))
        )
        assert State.SUCCEEDED in {d.state for d in decided}
    async with opened(there) as house:
        assert await house.state(made.call_id) is State.SUCCEEDED
        gone = await house.done("tenant_delete", tenant=name, objects="delete")
        assert gone.state is State.SUCCEEDED
