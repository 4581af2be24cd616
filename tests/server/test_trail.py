"""The audit trail as its readers find it, through the gate."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import Kube
from tests.house import AGENT, OLIVIA, OSCAR
from tests.lodging import Lodging, lodging
from tools.calls import Caller, Role, State
from tools.errors import Code

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(
    shared_kube: Kube, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lodging]:
    async with lodging(shared_kube, moto_url, tmp_path_factory.mktemp("trail")) as home:
        yield home


async def found(home: Lodging, who: Caller = OLIVIA, **filters: Any) -> list[dict[str, Any]]:
    outcome = await home.call(who, "audit_list", **filters)
    assert outcome.answer is not None, outcome
    rows: list[dict[str, Any]] = outcome.answer["lines"]
    return rows


async def test_a_write_that_was_approved_is_told_whole(home: Lodging) -> None:
    waiting = await home.call(AGENT, "workload_scale", tenant=home.tenant, name="web", replicas=3)
    assert waiting.state is State.AWAITING_CONFIRMATION
    await home.call(OLIVIA, "call_confirm", id=waiting.call_id)
    told = await found(home, text=waiting.call_id)
    assert [(r["tool"], r["subject"], r["state"]) for r in told] == [
        ("call_confirm", "olivia", "succeeded"),
        ("workload_scale", "olivia-agent", "succeeded"),
        ("workload_scale", "olivia-agent", "awaiting_confirmation"),
    ]
    ended = told[1]
    assert (ended["person"], ended["door"], ended["tenant"]) == ("olivia", "mcp", home.tenant)
    assert (ended["decision"], ended["policy"]) == ("confirmed", "own-and-undoable")
    assert len({r["digest"] for r in told}) == 1
    assert ended["duration_ms"] > 0


async def test_filters_narrow_and_pages_follow_on(home: Lodging) -> None:
    for _ in range(5):
        await home.call(OLIVIA, "workload_list", tenant=home.tenant)
    await home.call(OSCAR, "workload_list", tenant="none-such")
    assert {r["tool"] for r in await found(home, type="workload_list")} == {"workload_list"}
    assert {r["subject"] for r in await found(home, subject="oscar")} == {"oscar"}
    assert {r["state"] for r in await found(home, status="denied")} == {"denied"}
    assert {r["tenant"] for r in await found(home, tenant=home.tenant)} == {home.tenant}
    assert "workload_list" not in {r["tool"] for r in await found(home, type="changes")}
    assert await found(home, since="1h")
    assert not await found(home, until="1h")
    assert not await found(home, text="%")
    whole, page = [], {"next": ""}
    while True:
        answer = (await home.call(OLIVIA, "audit_list", type="workloads", limit=2, **page)).answer
        assert answer is not None
        whole += [r["seq"] for r in answer["lines"]]
        if not answer.get("next"):
            break
        page = {"next": answer["next"]}
    assert whole == sorted(set(whole), reverse=True)
    assert len(whole) >= 6


async def test_what_was_done_is_told_from_what_only_sounds_like_it(home: Lodging) -> None:
    who = {"sha256": "0" * 64, "subject": "root", "operator": True}
    await home.done("token_create", **who)
    kinds: dict[str, set[str]] = {
        "create": {"tenant_create", "job_create"},
        "tokens": {"token_create"},
        "token_create": {"token_create"},
        "jobs": {"job_create"},
        "job": set(),
    }
    for kind, tools in kinds.items():
        assert {r["tool"] for r in await found(home, type=kind, limit=500)} == tools, kind


@pytest.mark.parametrize(
    "wrong", [{"status": "finished"}, {"since": "yesterday"}, {"next": "x"}, {"since": "999999w"}]
)
async def test_what_makes_no_sense_is_said(home: Lodging, wrong: dict[str, str]) -> None:
    outcome = await home.call(OLIVIA, "audit_list", **wrong)
    assert outcome.error is not None
    assert outcome.error.code is Code.INVALID_ARGUMENT
    assert outcome.error.hint


async def test_each_sees_what_is_theirs(home: Lodging) -> None:
    admin = await home.member(home.tenant, Role.ADMIN, "ada")
    viewer = await home.member(home.tenant, Role.VIEWER, "vera")
    await home.call(viewer, "workload_list", tenant=home.tenant)
    assert {r["subject"] for r in await found(home, viewer)} == {"vera"}
    assert {r["tenant"] for r in await found(home, admin)} <= {home.tenant, ""}
    assert {"vera", "olivia"} <= {r["subject"] for r in await found(home, admin)}
    former = admin.model_copy(
        update={"subject": "fay", "person": "fay", "grants": {
            home.tenant: admin.grants[home.tenant].model_copy(update={"uid": "of-another"})
        }}
    )  # fmt: skip
    assert {r["subject"] for r in await found(home, former)} <= {"fay"}


async def test_the_trail_of_a_house_at_work_is_whole(home: Lodging) -> None:
    outcome = await home.call(OLIVIA, "audit_verify")
    assert outcome.answer is not None, outcome
    assert outcome.answer["faults"] == []
    assert outcome.answer["records"] > 5
    assert outcome.answer["anchors"] >= 1
    refused = await home.call(home.user, "audit_verify")
    assert refused.state is State.DENIED
