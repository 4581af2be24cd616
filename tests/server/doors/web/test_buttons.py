"""What is offered follows the policy: not the role alone."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from server.demo import Demo
from server.policy import Policy
from tests.server.doors.web.test_signing_in import WEB, scale, secret, visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")
NOBODY_SCALES = """
@id("nobody-scales-acme")
forbid (principal, action == Action::"call", resource == Tool::"workload_scale")
when { context.tenant == "acme" };
"""
NOBODY_RESTARTS_ALONE = """
@id("restarts-are-looked-at")
forbid (principal, action == Action::"unattended", resource == Tool::"workload_restart");
@id("by-somebody-else")
forbid (principal, action == Action::"confirm", resource == Tool::"workload_restart");
"""
NOBODY_APPROVES = """
@id("nobody-approves-here")
forbid (principal, action == Action::"call", resource == Tool::"call_approve")
when { principal.door == "web" };
"""


@pytest.fixture
def decree(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """From now on this holds, too."""

    def add(more: str) -> None:
        text = files("server").joinpath("policy.cedar").read_text()
        monkeypatch.setattr(demo.app.local_gate.admission, "policy", Policy(text + more))

    return add


async def test_what_the_policy_denies_is_not_offered_and_is_refused_anyhow(
    demo: Demo, decree: Callable[[str], None]
) -> None:
    async with visitor(demo, "ada") as client:
        assert 'id="scale"' in (await client.get(WEB)).text
        decree(NOBODY_SCALES)
        page = await client.get(WEB)
        assert 'id="scale"' not in page.text
        assert 'id="restart"' in page.text
        refused = await client.post(WEB, data=scale(page))
        assert refused.status_code == 403
        assert "nobody-scales-acme" in refused.text


async def test_a_button_says_that_what_it_asks_for_will_wait(
    demo: Demo, decree: Callable[[str], None]
) -> None:
    def button(page: str) -> str:
        return page.split('id="restart"')[1].split("</form>")[0].split("<button>")[1]

    async with visitor(demo, "ada") as client:
        assert "needs" not in button((await client.get(WEB)).text)
        decree(NOBODY_RESTARTS_ALONE)
        page = await client.get(WEB)
        assert "needs approval" in button(page.text)
        form = {"csrf": secret(page), "form": "restart", "tool": "workload_restart"}
        form |= {"a.tenant": "acme", "a.kind": "Deployment", "a.name": "web"}
        preview = (await client.post(WEB, data=form | {"preview": "1"})).text
        assert "somebody other than ada approves it" in preview
        assert "Ask for it" in preview
        asked = await client.post(WEB, data=form)
        seen = await client.get(asked.headers["location"])
        assert "waits for approval" in seen.text
        withdrawn = {"csrf": secret(seen), "tool": "call_reject", "a.reason": "a test"}
        withdrawn |= {"a.id": asked.headers["location"].rpartition("/")[2]}
        await client.post(asked.headers["location"], data=withdrawn)


async def test_who_may_not_approve_on_the_page_is_not_offered_to(
    demo: Demo, call: Any, decree: Callable[[str], None]
) -> None:
    asked = await call("olivia", "tenant_create", name="endframe", plan="free")
    path = f"/calls/{asked['call_id']}"
    async with visitor(demo, "oscar") as client:
        assert 'value="call_approve"' in (await client.get(path)).text
        decree(NOBODY_APPROVES)
        page = (await client.get(path)).text
        assert 'value="call_approve"' not in page
        assert 'value="call_reject"' in page
    await call("olivia", "call_reject", id=asked["call_id"], reason="a test")


async def test_what_is_said_in_sums_is_about_what_one_may_see(demo: Demo, call: Any) -> None:
    """An operator's sums are over all tenants, a viewer's over theirs."""
    from server.doors.web.words import money

    mine, all_ = [await promised(call, who) for who in ("vera", "olivia")]
    assert 0 < mine < all_
    async with visitor(demo, "vera") as client:
        page = (await client.get("/")).text
        assert f"<dd>{money(mine)}</dd>" in page
        assert money(all_) not in page


async def promised(call: Any, who: str) -> float:
    listed = (await call(who, "recommendation_list", limit=100))["answer"]
    figures = sum(max(one["figures"]["promised"], 0) for one in listed["scores"])
    by_strategy: dict[str, float] = {}
    for one in listed["recommendations"]:
        name = one["strategy"]
        by_strategy[name] = by_strategy.get(name, 0) + one.get("monthly", 0)
    assert figures == pytest.approx(sum(max(v, 0) for v in by_strategy.values()), abs=0.1)
    return float(figures)


async def test_while_a_cluster_is_away_what_waits_is_shown_without_its_buttons(
    demo: Demo, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tools.errors import Code, ToolError

    asked = await call("olivia", "tenant_create", name="bream", plan="free")
    gone = ToolError(Code.UNAVAILABLE, "Cluster default does not answer.", "Wait.")

    async def away(name: str) -> None:
        raise gone

    async with visitor(demo, "oscar") as client:
        assert 'value="call_approve"' in (await client.get("/approvals")).text
        restart = await call("copilot", "workload_restart", tenant="acme", name="web")
        monkeypatch.setattr(demo.app.local_gate.admission.tenants, "find", away)
        for path in ("/approvals", f"/calls/{restart['call_id']}"):
            page = await client.get(path)
            assert page.status_code == 200
            assert "Restart Deployment web" in page.text
        jobs = (await client.get("/jobs")).text
        assert "does not answer" in jobs
        assert "No job ran" not in jobs
        monkeypatch.undo()
        for id in (asked["call_id"], restart["call_id"]):
            await call("olivia", "call_reject", id=id, reason="a test")


async def test_what_is_frozen_is_said_on_every_page_and_resumed_there(demo: Demo) -> None:
    async with visitor(demo, "olivia") as client, visitor(demo, "vera") as viewer:
        form = {"csrf": secret(await client.get("/")), "tool": "calls_freeze"}
        await client.post("/", data=form | {"a.reason": "a fire drill"})
        for path in ("/", "/tenants"):
            assert "olivia: a fire drill" in (await client.get(path)).text
        seen = (await viewer.get("/tenants")).text
        assert "a fire drill" in seen
        assert "calls_resume" not in seen
        await client.post("/", data=form | {"tool": "calls_resume"})
        assert "a fire drill" not in (await client.get("/")).text


async def test_many_that_wait_are_searched_and_those_for_oneself_come_first(
    demo: Demo, call: Any
) -> None:
    asked = [await call("olivia", "tenant_create", name=f"w-{n}", plan="free") for n in range(6)]
    asked.append(await call("oscar", "tenant_create", name="oscars", plan="free"))
    async with visitor(demo, "olivia") as client:
        page = (await client.get("/approvals")).text
        assert page.index("Create tenant oscars") < page.index("Waits for others")
        assert page.index("Waits for others") < page.index("Create tenant w-0")
        found = (await client.get("/approvals?text=create+w-3")).text
        assert "Create tenant w-3" in found
        assert "Create tenant w-2" not in found
        assert "Nothing that waits is like that" in (await client.get("/approvals?text=none")).text
        assert '<span class="count">1</span>' in (await client.get("/")).text
    for one in asked:
        await call("olivia", "call_reject", id=one["call_id"], reason="a test")


async def test_the_log_of_the_run_before_is_read_as_text(demo: Demo) -> None:
    path = "/workloads/globex/Deployment/importer"
    async with visitor(demo, "olivia") as client:
        page = (await client.get(path)).text
        assert '<a href="?previous=1#logs">Read why it ended</a>' in page
        log = await client.get(f"{path}/log?previous=1")
        assert log.headers["content-type"].startswith("text/plain")
        assert "fatal: no route to db:5432" in log.text
        lines = (await client.get(f"{path}/log?previous=1&follow=1")).text.splitlines()
        assert any("no route" in line and line.startswith("{") for line in lines)
        missing = await client.get(f"{path}/log?container=none")
        assert "has no container none" in missing.text
