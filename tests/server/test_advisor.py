"""From usage in a Prometheus to a suggestion that is applied through the gate, and watched."""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from recommender.answers import Limits
from recommender.prometheus import Prometheus
from server.doors.pictures import picture
from server.policy import Policy
from server.sandbox.prometheus import PracticePrometheus
from server.sandbox.usage import Life
from tests.conftest import Kube
from tests.house import AGENT, OLIVIA, OSCAR, House, opened, settings
from tests.recommender.standin import Asked, Bad, StandIn, told
from tools.calls import Caller, Grant, Role, State
from tools.errors import Code, ToolError

GI = 2.0**30
# The usage is made up, so a real cluster would have nothing to say about it.
pytestmark = pytest.mark.parametrize("kube", ["practice"], indirect=True)


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def policy(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """None for the one that is shipped; else that with the example of this name in force."""
    name = getattr(request, "param", "")
    if not name:
        return None
    text = files("server").joinpath("policy.cedar").read_text()
    first, found, example = text.partition(f'// @id("{name}")')
    assert found
    lines = [line.removeprefix("// ") for line in example.splitlines()]
    file = tmp_path / "mine.cedar"
    file.write_text("\n".join([first, f'@id("{name}")', *lines]))
    return file


@pytest.fixture
async def house(
    kube: Kube,
    aws: Any,
    moto_url: str,
    tmp_path: Path,
    clock: Clock,
    tenant: str,
    policy: Path | None,
) -> AsyncIterator[House]:
    """A tenant whose Deployment `big` has asked for many times what it uses, for two weeks."""
    life = Life(tenant, "Deployment", "big", replicas=2, cpu_request=1.0, memory_request=GI,
                cpu_limit=2.0, memory_limit=GI, cpu=0.1, memory=150e6)  # fmt: skip
    with PracticePrometheus([life], clock=lambda: clock().timestamp()) as prometheus:
        there = settings(
            tmp_path,
            kube.kubeconfig,
            moto_url,
            prometheus={"url": prometheus.url, "every_h": 0},
            policy=policy,
        )
        async with opened(there, clock=clock) as house:
            await house.done("tenant_create", name=tenant, plan="pro")
            await house.app.backends.apis["default"].request(
                "POST", f"/apis/apps/v1/namespaces/{tenant}/deployments", body=_big(tenant)
            )
            yield house
            await house.done("tenant_delete", tenant=tenant, objects="delete")


def _big(tenant: str) -> dict[str, Any]:
    asked = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    container = {"name": "big", "image": "nginx", "resources": asked}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "big", "namespace": tenant},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "big"}},
            "template": {
                "metadata": {"labels": {"app": "big"}},
                "spec": {"containers": [container]},
            },
        },
    }


async def listed(house: House, who: Caller = OLIVIA, **filters: Any) -> list[dict[str, Any]]:
    outcome = await house.call(who, "recommendation_list", **filters)
    assert outcome.answer is not None, outcome.error
    found: list[dict[str, Any]] = outcome.answer["recommendations"]
    return found


async def rightsizing(house: House) -> str:
    run = await house.call(OLIVIA, "recommendation_analyze")
    assert run.answer is not None, run.error
    assert run.answer["status"] == "complete", run.answer
    (found,) = await listed(house, strategy="rightsize")
    return str(found["id"])


async def state_of(house: House, id: str) -> str:
    shown = await house.call(OLIVIA, "recommendation_get", id=id)
    assert shown.answer is not None
    return str(shown.answer["recommendation"]["state"])


async def test_before_the_first_analysis_the_list_says_what_to_do(house: House) -> None:
    outcome = await house.call(OLIVIA, "recommendation_list")
    assert outcome.answer is not None
    assert "recommendation_analyze" in outcome.answer["notes"][0]


async def test_what_asks_for_too_much_is_suggested_a_size_with_the_reason(
    house: House, tenant: str
) -> None:
    id = await rightsizing(house)
    shown = await house.call(OLIVIA, "recommendation_get", id=id)
    assert shown.answer is not None
    found = shown.answer["recommendation"]
    assert found["tool"] == "workload_resize"
    assert found["tenant"] == tenant
    assert found["monthly"] > 0
    assert 0.5 < found["confidence"] <= 1
    assert "big" in found["reason"]


async def test_applied_it_goes_through_the_gate_and_the_workload_changes(
    house: House, tenant: str
) -> None:
    id = await rightsizing(house)
    preview = await house.app.gate.call(OLIVIA, "recommendation_apply", {"id": id}, preview=True)
    assert preview.state is State.PLANNING
    assert await state_of(house, id) == "open"
    done = await house.call(OLIVIA, "recommendation_apply", id=id)
    assert done.state is State.SUCCEEDED, done.error
    assert id in done.summary
    await house.settled()
    assert await state_of(house, id) == "applied"
    api = house.app.backends.apis["default"]
    live = await api.get(f"/apis/apps/v1/namespaces/{tenant}/deployments/big")
    asked = live["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert asked != {"cpu": "1", "memory": "1Gi"}
    again = await house.call(OLIVIA, "recommendation_apply", id=id)
    assert again.error is not None
    assert again.error.code is Code.FAILED_PRECONDITION
    undone = await house.done("call_undo", id=done.call_id)
    assert undone.state is State.SUCCEEDED
    await house.settled()
    assert await state_of(house, id) == "rejected"


async def test_what_would_be_refused_says_so_and_names_what_makes_it_possible(
    house: House, tenant: str
) -> None:
    id = await rightsizing(house)
    (row,) = await listed(house, strategy="rightsize")
    assert "blocked" not in row
    # Its limit of two cores is more than a container may have there.
    await house.done("tenant_update", tenant=tenant, plan="free", force=True)
    (row,) = await listed(house, strategy="rightsize")
    assert "maximum cpu usage per Container is 1, but limit is 2" in row["blocked"]
    assert row["first"]["arguments"] == {"tenant": tenant, "plan": "pro"}
    shown = await house.call(OLIVIA, "recommendation_get", id=id)
    assert shown.answer is not None
    assert shown.answer["recommendation"]["blocked"] == row["blocked"]
    for preview in (True, False):
        call = house.app.gate.call(OLIVIA, "recommendation_apply", {"id": id}, preview=preview)
        refused = (await call).error
        assert refused is not None
        assert refused.message == row["blocked"]
        assert f"tenant_update tenant={tenant} plan=pro" in refused.hint
    assert await state_of(house, id) == "open"
    tried = await house.call(OLIVIA, "audit_list", subject="recommender")
    assert tried.answer == {"lines": []}
    await house.done(row["first"]["tool"], **row["first"]["arguments"])
    (row,) = await listed(house, strategy="rightsize")
    assert "blocked" not in row
    done = await house.call(OLIVIA, "recommendation_apply", id=id)
    assert done.state is State.SUCCEEDED, done.error
    await house.settled()


async def test_the_platforms_status_tells_how_the_last_analysis_went(
    house: House, tenant: str
) -> None:
    never = await house.call(OLIVIA, "platform_status")
    assert never.answer is not None
    assert "analysis" not in never.answer
    await rightsizing(house)
    ended = "pilothouse_analysis_ended_timestamp_seconds"
    assert house.app.metrics.registry.get_sample_value(ended) == pytest.approx(
        datetime.now(UTC).timestamp(), abs=600
    )
    member = await house.member(tenant, Role.USER)
    await house.call(member, "recommendation_analyze")
    told = await house.call(OLIVIA, "platform_status")
    assert told.answer is not None
    last = told.answer["analysis"]
    # A tenant's own is not that of everything.
    assert (last["state"], last["by"], last["new"]) == ("complete", "olivia", last["found"])
    assert last["found"] >= 1
    assert last["seconds"] >= 0
    assert "next" not in last
    theirs = await house.call(member, "platform_status")
    assert theirs.answer is not None
    assert theirs.answer["analysis"].keys() == {"state", "started", "seconds", "warnings"}


async def test_an_agents_application_waits_and_rejected_it_is_open_again(house: House) -> None:
    id = await rightsizing(house)
    waiting = await house.call(AGENT, "recommendation_apply", id=id)
    assert waiting.state.waiting
    assert await state_of(house, id) == "applying"
    rejected = await house.call(OSCAR, "call_reject", id=waiting.call_id, reason="not now")
    assert rejected.state is State.REJECTED
    await house.settled()
    assert await state_of(house, id) == "open"


async def test_applying_is_judged_as_the_tool_that_does_it(house: House, tenant: str) -> None:
    id = await rightsizing(house)
    viewer = await house.member(tenant, Role.VIEWER)
    denied = await house.call(viewer, "recommendation_apply", id=id)
    assert denied.state is State.DENIED
    admin = await house.member(tenant, Role.ADMIN)
    done = await house.call(admin, "recommendation_apply", id=id)
    assert done.state is State.SUCCEEDED, done.error
    await house.settled()
    # And so is taking it back, and taking that back.
    refused = await house.call(viewer, "call_undo", id=done.call_id)
    assert refused.state is State.DENIED
    undone = await house.call(admin, "call_undo", id=done.call_id)
    assert undone.state is State.SUCCEEDED, undone.error or undone.why
    again = await house.call(admin, "call_undo", id=undone.call_id)
    assert again.state is State.SUCCEEDED, again.error or again.why


async def test_deciding_about_one_takes_a_role_in_its_tenant_and_not_in_any(
    house: House, tenant: str
) -> None:
    id = await rightsizing(house)
    viewer = await house.member(tenant, Role.VIEWER)
    grants = {**viewer.grants, "other": Grant(role=Role.ADMIN, uid="u")}
    admin_elsewhere = viewer.model_copy(update={"grants": grants})
    for tool, more in (("reject", {"reason": "no"}), ("snooze", {"days": 1})):
        denied = await house.call(admin_elsewhere, f"recommendation_{tool}", id=id, **more)
        assert denied.state is State.DENIED, tool
    assert await state_of(house, id) == "open"
    user = await house.member(tenant, Role.USER)
    assert not (await house.call(user, "recommendation_snooze", id=id, days=1)).failed


async def test_a_rejected_one_stays_away(house: House) -> None:
    id = await rightsizing(house)
    await house.done("recommendation_reject", id=id, reason="it has a burst every quarter")
    await house.call(OLIVIA, "recommendation_analyze")
    assert await listed(house, strategy="rightsize") == []
    assert await state_of(house, id) == "rejected"


async def test_who_is_in_another_tenant_sees_none_of_it(house: House) -> None:
    id = await rightsizing(house)
    stranger = Caller.of("mallory", grants={"other": Grant(role=Role.ADMIN, uid="u")})
    seen = await house.call(stranger, "recommendation_list")
    assert seen.answer == {"recommendations": []}, "no sums either"
    hidden = await house.call(stranger, "recommendation_get", id=id)
    assert hidden.error is not None
    assert hidden.error.code is Code.NOT_FOUND
    denied = await house.call(stranger, "metrics_query", query="up")
    assert denied.state is State.DENIED


async def test_of_a_run_over_all_tenants_only_operators_are_told_the_details(house: House) -> None:
    advisor = house.app.local_gate.advisor
    assert advisor is not None
    run_id = await advisor.runs.begin("schedule")
    await advisor.runs.end(run_id, seen={}, warnings=["idle failed on hidden/db"], partial=True)
    member = Caller.of("mallory", grants={"other": Grant(role=Role.ADMIN, uid="u")})
    told = {}
    for who in (member, OLIVIA):
        outcome = await house.call(who, "recommendation_list")
        assert outcome.answer is not None
        told[who.subject] = outcome.answer["notes"]
    assert told["olivia"][1:] == ["idle failed on hidden/db"]
    (note,) = told["mallory"]
    assert "is partial" in note
    assert "hidden" not in note


async def harmed(house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The call that applied a recommendation which did harm, and the one that is to undo it."""
    from recommender.outcomes import Judgement

    id = await rightsizing(house)
    done = await house.call(OLIVIA, "recommendation_apply", id=id)
    await house.settled()
    clock.now += timedelta(days=2)
    advisor = house.app.local_gate.advisor
    assert advisor is not None
    judged = Judgement("harmful", "2 OOM kills, and none before.", {"oom": 2}, held=False)
    monkeypatch.setattr("recommender.outcomes.judge", lambda *given, **more: judged)
    await advisor.watch(house.app.gate)
    shown = await house.call(OLIVIA, "recommendation_get", id=id)
    assert shown.answer is not None
    found = shown.answer["recommendation"]
    assert found["state"] == "harmful"
    assert "OOM" in found["outcome"]["why"]
    assert done.call_id
    return done.call_id, found["outcome"]["undo_call"]


async def test_what_did_harm_is_said_and_its_undo_waits_for_a_person(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, undo = await harmed(house, clock, monkeypatch)
    # It acts for nobody who could confirm it, and there is no token of its own.
    house.app.local_gate.still = lambda caller: None if caller.subject == "recommender" else caller
    assert await house.state(undo) is State.AWAITING_APPROVAL
    decided = await house.call(OSCAR, "call_approve", id=undo)
    assert decided.state is State.SUCCEEDED, decided.error
    assert await house.state(done) is State.UNDONE


@pytest.mark.parametrize("policy", ["advice-takes-back-its-harm"], indirect=True)
async def test_what_did_harm_is_taken_back_by_itself_where_the_policy_says_so(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the example of the policy that is shipped."""
    done, undo = await harmed(house, clock, monkeypatch)
    await house.settled()
    shown = await house.call(OLIVIA, "call_wait", id=undo)
    assert shown.answer is not None
    assert await house.state(undo) is State.SUCCEEDED
    assert await house.state(done) is State.UNDONE
    # It is for the recommender alone: an agent of that name gets no further than any other.
    named = Caller.of("recommender", operator=True, agent=True, door="mcp")
    again = await house.call(named, "call_undo", id=undo)
    assert again.state is not State.SUCCEEDED


def forbidding(house: House, what: str) -> None:
    text = files("server").joinpath("policy.cedar").read_text()
    house.app.local_gate.admission.policy = Policy(f'{text}\n@id("not-now") forbid {what};')


async def test_what_the_policy_forbids_does_not_come_as_a_recommendation_either(
    house: House,
) -> None:
    id = await rightsizing(house)
    named = 'when { resource.name == "workload_resize" }'
    forbidding(house, f'(principal, action == Action::"approve", resource) {named}')
    waits = await house.call(AGENT, "recommendation_apply", id=id)
    assert waits.state.waiting, waits
    denied = await house.call(OSCAR, "call_approve", id=waits.call_id)
    assert denied.error
    assert denied.error.code is Code.PERMISSION_DENIED
    await house.call(OLIVIA, "call_reject", id=waits.call_id, reason="not now")
    forbidding(house, f'(principal, action == Action::"call", resource) {named}')
    denied = await house.call(OLIVIA, "recommendation_apply", id=id)
    assert denied.error
    assert denied.error.code is Code.PERMISSION_DENIED
    rejected = await house.call(OLIVIA, "recommendation_reject", id=id)
    assert rejected.state is State.SUCCEEDED, rejected.error


async def test_what_the_policy_forbids_is_not_undone_either_and_a_policy_can_say_which_is_meant(
    house: House,
) -> None:
    id = await rightsizing(house)
    done = await house.call(OLIVIA, "recommendation_apply", id=id)
    assert done.state is State.SUCCEEDED, done.error
    always = '(principal, action == Action::"call", resource)'
    undoing = 'resource.name == "call_undo" && context.does =='
    for what in ('resource.name == "workload_resize"', f'{undoing} "workload_resize"'):
        forbidding(house, f"{always} when {{ {what} }}")
        denied = await house.call(OLIVIA, "call_undo", id=done.call_id)
        assert denied.error
        assert denied.error.code is Code.PERMISSION_DENIED
    forbidding(house, f'{always} when {{ {undoing} "workload_scale" }}')
    undone = await house.call(OLIVIA, "call_undo", id=done.call_id)
    assert undone.state is State.SUCCEEDED, undone.error


async def test_without_an_answer_from_prometheus_what_is_known_stays_and_that_is_said(
    house: House, clock: Clock
) -> None:
    id = await rightsizing(house)
    clock.now += timedelta(minutes=5)
    advisor = house.app.local_gate.advisor
    assert advisor is not None
    advisor.prometheus = Prometheus("http://127.0.0.1:9", wait=lambda seconds: None)
    run = await house.call(OLIVIA, "recommendation_analyze")
    assert run.answer is not None
    assert run.answer["status"] == "failed"
    assert await state_of(house, id) == "open"
    outcome = await house.call(OLIVIA, "recommendation_list")
    assert outcome.answer is not None
    assert "failed" in outcome.answer["notes"][0]


def everywhere(asked: Asked) -> bool:
    return True


def memory_only(asked: Asked) -> bool:
    return asked.path.endswith("query_range") and "memory" in asked.expr


def half(server: StandIn, asked: Asked) -> Bad:
    _, body = server.answer(asked.path, asked.params)
    body["data"]["result"] = body["data"]["result"][:1]
    return Bad(200, json.dumps({**body, "warnings": ["store eu-2 did not answer"]}))


BAD_DAYS: dict[str, tuple[str, str, Callable[[Asked], bool], Any]] = {
    "422": ("partial", "vector cannot contain", memory_only,
            told(422, "execution", "vector cannot contain metrics with the same labelset")),
    "429": ("failed", "too often", everywhere, told(429, "", "slow down")),
    "503": ("partial", "oh no", memory_only, told(503, "unavailable", "oh no")),
    "half an answer": ("partial", "store eu-2 did not answer", memory_only, half),
    "too many samples": ("partial", "too many samples", memory_only, told(
        422, "execution", "query processing would load too many samples into memory")),
    "slow": ("partial", "within 0.5 s", memory_only, Bad(pause=1.5)),
}  # fmt: skip


@pytest.mark.parametrize("day", BAD_DAYS)
async def test_a_bad_day_is_told_of_on_the_run_and_in_the_list_and_withdraws_nothing(
    house: House, clock: Clock, day: str
) -> None:
    id = await rightsizing(house)
    advisor = house.app.local_gate.advisor
    assert advisor is not None
    status, says, when, fault = BAD_DAYS[day]
    clock.now += timedelta(hours=1)
    with StandIn(clock=lambda: clock.now.timestamp()) as server:
        answer = partial(fault, server) if callable(fault) else lambda asked: fault
        server.fault = lambda asked: answer(asked) if when(asked) else None
        limits = Limits(request_s=0.5 if day == "slow" else 30.0)
        advisor.prometheus = Prometheus(server.url, limits=limits, wait=lambda seconds: None)
        run = await house.call(OLIVIA, "recommendation_analyze")
    assert run.answer is not None, run.error
    assert run.answer["status"] == status
    assert any(says in one for one in run.answer["warnings"]), run.answer["warnings"]
    outcome = await house.call(OLIVIA, "recommendation_list")
    assert outcome.answer is not None
    assert f"is {status}" in outcome.answer["notes"][0]
    assert any(says in one for one in outcome.answer["notes"])
    assert await state_of(house, id) == "open"
    fresh = [one["id"] for one in await listed(house) if one["tenant"] in ("shop", "bank")]
    # What is too slow is left alone before much of the rest is read.
    assert fresh or status == "failed" or day == "slow"
    for new in fresh:
        shown = await house.call(OLIVIA, "recommendation_get", id=new)
        assert shown.answer is not None
        assert any(says in note for note in shown.answer["recommendation"]["notes"])


async def test_what_is_to_be_known_of_a_run_that_was_complete_is_in_the_list_too(
    house: House, clock: Clock
) -> None:
    advisor = house.app.local_gate.advisor
    assert advisor is not None
    clock.now += timedelta(hours=2)
    with StandIn() as server:
        advisor.prometheus = Prometheus(server.url)
        run = await house.call(OLIVIA, "recommendation_analyze")
    assert run.answer is not None
    assert run.answer["status"] == "complete"
    outcome = await house.call(OLIVIA, "recommendation_list")
    assert outcome.answer is not None
    assert any("ahead of that of Prometheus" in note for note in outcome.answer["notes"])


async def test_use_over_time_is_shown_against_what_is_asked_for(house: House, tenant: str) -> None:
    await rightsizing(house)
    shown = await house.call(OLIVIA, "workload_usage", tenant=tenant, name="big", points=6)
    assert shown.answer is not None, shown.error
    (container,) = shown.answer["containers"]
    assert container["cpu_request"] == 1.0
    assert all(0 < value < 0.5 for value in container["cpu"] if value is not None)


async def test_operators_ask_in_promql(house: House, tenant: str) -> None:
    query = f'kube_deployment_spec_replicas{{namespace="{tenant}"}}'
    now = await house.call(OLIVIA, "metrics_query", query=query)
    assert now.answer is not None, now.error
    assert [s["value"] for s in now.answer["series"]] == [2.0]
    past = await house.call(OLIVIA, "metrics_range", query=query, last="1h", points=5)
    assert past.answer is not None, past.error
    assert len(past.answer["series"][0]["values"]) == 5


async def test_its_picture_is_for_those_who_may_see_it(house: House, tenant: str) -> None:
    id = await rightsizing(house)
    light = await picture(house.app.gate, OLIVIA, id, "svg")
    assert b"<svg" in light[:200]
    assert b"Resize big" in light
    assert await picture(house.app.gate, OLIVIA, id, "svg", dark=True) != light
    assert (await picture(house.app.gate, OLIVIA, id, "png"))[:8] == b"\x89PNG\r\n\x1a\n"
    other = Caller.of("eve", grants={"elsewhere": Grant(role=Role.ADMIN, uid="1")})
    with pytest.raises(ToolError) as refused:
        await picture(house.app.gate, other, id, "svg")
    assert refused.value.code is Code.NOT_FOUND
