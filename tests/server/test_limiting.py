"""Limits on callers and addresses, at a served Pilothouse."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest

from server import limiting, metering
from server.commands.serving import serving
from server.identity import new_token
from server.limiting import Bulkhead, Rate, Rates
from server.settings import Limits
from tests.house import settings
from tools.calls import Caller, Outcome, State
from tools.errors import Code, ToolError


@asynccontextmanager
async def served(
    tmp_path: Path,
    practice: Any,
    limits: dict[str, Any],
    aws: str = "http://127.0.0.1:1",
    **options: Any,
) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, dict[str, str]]]]:
    """A client, and the headers of two operators and an agent. Who is refused is not held long."""
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    made = settings(
        tmp_path, str(tmp_path / "kubeconfig"), aws, port=0,
        limits={"grace_s": 1} | limits, **options,
    )  # fmt: skip
    by = Caller.of("root", operator=True, door="cli")
    headers = {}
    async with serving(made) as (app, url), httpx.AsyncClient(base_url=url, timeout=30) as http:
        for name in ("olivia", "oscar", "robot"):
            token, sha256 = new_token()
            await app.identity.tokens.create(
                by, sha256=sha256, subject=name, tenants={}, operator=True,
                agent=name == "robot", person="", expires_days=None,
            )  # fmt: skip
            headers[name] = {"authorization": f"Bearer {token}"}
        with mock.patch.object(limiting, "HELD_S", 0.1):
            yield http, headers


async def test_who_asks_too_often_is_told_when_to_come_back_and_others_are_not(
    tmp_path: Path, practice: Any
) -> None:
    async with served(tmp_path, practice, {"calls_per_second": 1}) as (http, who):
        asked = [http.get("/api/v1/caller", headers=who["olivia"]) for _ in range(15)]
        others = [http.get("/api/v1/caller", headers=who["oscar"]) for _ in range(5)]
        answers = await asyncio.gather(*asked, *others)
        statuses = [answer.status_code for answer in answers[:15]]
        # A burst of five, and the one that may go within a second.
        assert (statuses.count(200), statuses.count(429)) == (6, 9)
        assert {answer.status_code for answer in answers[15:]} == {200}
        refused = next(a for a in answers if a.status_code == 429)
        assert refused.json()["code"] == "resource_exhausted"
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        over_mcp = await asyncio.gather(
            *(http.post("/mcp", json=body, headers=who["robot"]) for _ in range(8))
        )
        assert [a.status_code for a in over_mcp].count(429) == 2


def test_who_has_used_up_their_burst_is_served_evenly() -> None:
    now = 100.0
    rate = Rate(10, 50, "too often", lambda: now)
    waits = [rate.take("alice") for _ in range(62)]
    assert waits[:50] == [(True, 0.0)] * 50
    assert [round(wait, 2) for _, wait in waits[50:60]] == [n / 10 for n in range(1, 11)]
    assert [taken for taken, _ in waits[60:]] == [False, False]
    assert rate.take("bob") == (True, 0.0)
    now += 0.5  # five more may go, after those that have their place
    assert [rate.take("alice")[0] for _ in range(6)] == [True] * 5 + [False]
    now += 100
    assert rate.take("alice") == (True, 0.0)


async def test_what_a_call_takes_of_the_loop_is_charged_to_who_asked_while_others_do() -> None:
    charged: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()
    loop.set_task_factory(metering.task)

    async def work(seconds: float) -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        await asyncio.sleep(0.05)  # which is nobody's

    class Works:
        async def call(self, caller: Caller, tool: str, *_: Any, **__: Any) -> Any:
            await asyncio.gather(work(0.02), work(0.01))
            await work(0.01)
            return Outcome(state=State.SUCCEEDED, tool=tool)

    gate = Bulkhead(Works(), 0, lambda *told: charged.append(told))  # type: ignore[arg-type]
    alice, bob = Caller.of("alice"), Caller.of("bob")
    await asyncio.gather(gate.call(alice, "a_b", {}), gate.call(bob, "a_b", {}))
    assert {who for who, _ in charged} == {"alice", "bob"}
    assert all(0.039 <= spent < 0.06 for _, spent in charged), charged

    rates = Rates(Limits(calls_per_second=10, share=0.25))
    await rates.caller("alice")
    rates.charge("alice", 5)  # alone, who has all of it
    await rates.caller("bob")
    rates.charge("alice", 1.2)  # which is 4.8 s of a quarter, and what may come in a burst is 4.9
    took = time.monotonic()
    await rates.caller("alice")
    assert time.monotonic() - took < 0.05
    rates.charge("alice", 1)
    with mock.patch.object(limiting, "HELD_S", 0), pytest.raises(ToolError, match="too often"):
        await rates.caller("alice")


async def test_an_address_behind_a_proxy_that_is_trusted_is_held_back_by_itself(
    tmp_path: Path, practice: Any
) -> None:
    limits, trusted = {"address_per_second": 4}, ["127.0.0.1"]
    async with served(tmp_path, practice, limits, trusted_proxies=trusted) as (http, _):

        async def ask(address: str) -> int:
            asked = await http.get("/api/v1/caller", headers={"x-forwarded-for": address})
            return asked.status_code

        statuses = await asyncio.gather(*(ask("203.0.113.7") for _ in range(10)))
        assert (statuses.count(401), statuses.count(429)) == (8, 2)
        assert await ask("203.0.113.8") == 401


async def test_who_is_no_trusted_proxy_cannot_say_where_they_come_from(
    tmp_path: Path, practice: Any
) -> None:
    async with served(tmp_path, practice, {"sign_ins_per_minute": 3}) as (http, _):
        statuses = []
        for n in range(5):
            body = {"email": f"a{n}@x.example", "password": "x"}
            headers = {"x-forwarded-for": f"203.0.113.{n}"}
            asked = await http.post("/api/v1/auth/login", json=body, headers=headers)
            statuses.append(asked.status_code)
        assert statuses == [401, 401, 401, 429, 429]


async def test_only_so_many_calls_of_one_requester_wait_for_a_decision(
    tmp_path: Path, practice: Any, aws: Any, moto_url: str
) -> None:
    async with served(tmp_path, practice, {"waiting": 2}, moto_url) as (http, who):

        async def ask(name: str, by: str) -> httpx.Response:
            body = {"name": name, "plan": "free"}
            return await http.post("/api/v1/tools/tenant_create", json=body, headers=who[by])

        made = [await ask(f"waits-{n}", "olivia") for n in range(3)]
        assert [answer.status_code for answer in made] == [202, 202, 429]
        assert "wait for a decision already" in made[2].json()["detail"]
        assert (await ask("waits-4", "oscar")).status_code == 202
        rejected = {"id": made[0].json()["call_id"], "reason": "not now"}
        await http.post("/api/v1/tools/call_reject", json=rejected, headers=who["olivia"])
        assert (await ask("waits-5", "olivia")).status_code == 202


class Stuck:
    """A gate whose calls end when they are told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def call(self, caller: Caller, tool: str, arguments: Mapping[str, Any], **_: Any) -> Any:
        await self.go_on.wait()
        return Outcome(state=State.SUCCEEDED, tool=tool)

    async def stream(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        yield {}
        await self.go_on.wait()


async def test_a_stuck_caller_has_so_many_calls_under_way_and_no_others() -> None:
    stuck = Stuck()
    gate = Bulkhead(stuck, 2)  # type: ignore[arg-type]
    alice, bob = Caller.of("alice"), Caller.of("bob")
    call = asyncio.create_task(gate.call(alice, "a_b", {}))
    await asyncio.sleep(0)
    stream = gate.stream(alice, "a_c", {})
    await anext(stream)
    refused = await gate.call(alice, "a_b", {})
    assert refused.error
    assert refused.error.code is Code.RESOURCE_EXHAUSTED
    with pytest.raises(ToolError):
        await anext(gate.stream(alice, "a_c", {}))
    bobs = asyncio.create_task(gate.call(bob, "a_b", {}))
    await stream.aclose()  # type: ignore[attr-defined]
    more = asyncio.create_task(gate.call(alice, "a_b", {}))
    await asyncio.sleep(0)
    stuck.go_on.set()
    outcomes = await asyncio.gather(call, bobs, more)
    assert {outcome.state for outcome in outcomes} == {State.SUCCEEDED}
    assert not gate._under_way
