"""People and agents who all use one server at once, what they were told, and what goes wrong
meanwhile."""

import asyncio
import itertools
import random
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from server.sandbox.faults import Fault
from tests.processes import Server

# Who takes part, and the rights of their tokens.
PEOPLE: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("olivia", "oscar", "reader", "keeper", "hasty", "builder", "greedy")},
    "olivia-agent": {"agent": True, "person": "olivia"},
}
READS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("workload_list", {}), ("workload_get", {"name": "web"}), ("job_list", {}),
    ("events_list", {}), ("resource_list", {"kind": "ConfigMap"}), ("tenant_get", {}),
    ("workload_usage", {"name": "web"}), ("call_list", {"limit": 20}),
)  # fmt: skip
FOR_EVER = 10**9
# What is wrong with the cluster for a while; `None` stands for Prometheus being away.
TROUBLES: tuple[Fault | None, ...] = (
    Fault("answer", status=503, times=FOR_EVER),
    None,
    Fault("lose", "PATCH", times=3),
    Fault("drop", times=FOR_EVER),
    Fault("answer", status=429, retry_after=1, times=40),
    Fault("delay", times=200, seconds=0.3),
    Fault("hang", "PATCH", times=2),
    Fault("answer", "PATCH", status=500, times=5),
)


@dataclass
class Load:
    """`told` has for each call the states its callers were told; `answered` when each caller had
    the answers to their reads; `kept` the values that were acknowledged as written."""

    server: Server
    tokens: dict[str, str]
    tenant: str
    seconds: float
    dice: random.Random = field(default_factory=lambda: random.Random(4))
    told: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    answered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    kept: list[str] = field(default_factory=list)
    count: Counter[str] = field(default_factory=Counter)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory: list[int] = field(default_factory=list)
    lines: int = 0

    def __post_init__(self) -> None:
        self.ends = time.monotonic() + self.seconds

    @property
    def on(self) -> bool:
        return time.monotonic() < self.ends

    @asynccontextmanager
    async def someone(self, name: str) -> "AsyncIterator[Someone]":
        headers = {"authorization": f"Bearer {self.tokens[name]}"}
        async with httpx.AsyncClient(
            base_url=self.server.url, headers=headers, timeout=120
        ) as http:
            yield Someone(self, name, http)

    async def sample(self) -> None:
        """The server's resident memory in kB, ten times in each tenth of the time."""
        status = Path(f"/proc/{self.server.process.pid}/status")
        while self.on:
            line = next(x for x in status.read_text().splitlines() if x.startswith("VmRSS"))
            self.memory.append(int(line.split()[1]))
            await asyncio.sleep(self.seconds / 100)


@dataclass
class Someone:
    load: Load
    name: str
    http: httpx.AsyncClient

    async def call(self, tool: str, query: str = "", key: str = "", /, **sent: Any) -> Any:
        """The outcome; its state is `refused` where the door said no."""
        began = time.monotonic()
        headers = {"idempotency-key": key} if key else {}
        path = f"/api/v1/tools/{tool}{query}"
        answer = await self.http.post(path, json=sent, headers=headers)
        assert answer.status_code != 500, answer.text
        assert answer.status_code != 401, answer.text
        body = answer.json()
        outcome = body.get("outcome", {"state": "refused"} | body)
        self.load.count[tool] += 1
        self.load.took[self.name].append(time.monotonic() - began)
        if id := outcome.get("call_id"):
            self.load.told[id].add(outcome["state"])
        elif answer.status_code == 200:
            self.load.answered[self.name].append(time.monotonic())
        return outcome


async def read(load: Load, name: str, pause_s: float) -> None:
    async with load.someone(name) as me:
        while load.on:
            tool, sent = load.dice.choice(READS)
            await me.call(tool, tenant=load.tenant, **sent)
            await asyncio.sleep(pause_s)


async def keep(load: Load, value: Callable[[], str]) -> None:
    """Writes one value after the other over the last one."""
    async with load.someone("keeper") as me:
        while load.on:
            new = value()
            done = await me.call("resource_apply", "?wait=20", **noted(load, "kept", new))
            if done["state"] == "succeeded":
                load.kept.append(new)


async def keep_in_haste(load: Load, value: Callable[[], str]) -> None:
    """The same by one who hangs up in mid-call, and asks again with the same key."""
    async with load.someone("hasty") as me:
        while load.on:
            new, key = value(), uuid.uuid4().hex
            sent = ("?wait=20", key), noted(load, "hasty", new)
            with suppress(TimeoutError):
                await asyncio.wait_for(me.call("resource_apply", *sent[0], **sent[1]), 0.03)
            done = await me.call("resource_apply", *sent[0], **sent[1])
            if done["state"] == "succeeded":
                load.kept.append(new)


def noted(load: Load, name: str, value: str) -> dict[str, Any]:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    return {"tenant": load.tenant, "manifest": manifest | {"data": {"value": value}}}


async def ask_and_decide(load: Load) -> None:
    """An agent asks, and two people decide, often at once."""
    async with (
        load.someone("olivia-agent") as agent,
        load.someone("olivia") as olivia,
        load.someone("oscar") as oscar,
    ):
        for number in itertools.count():
            if not load.on:
                return
            asked = await agent.call(
                "workload_scale", tenant=load.tenant, name="web", replicas=1 + number % 3
            )
            if not asked["state"].startswith("awaiting"):
                await asyncio.sleep(0.05)
                continue
            id = asked["call_id"]
            deciding: list[Awaitable[Any]] = [
                olivia.call("call_confirm", id=id),
                oscar.call("call_approve", id=id),
                oscar.call("call_reject", id=id, reason="not now"),
            ]
            load.dice.shuffle(deciding)
            chosen = load.dice.choice((1, 2, 3))
            for one in deciding[chosen:]:
                one.close()  # type: ignore[attr-defined]
            await asyncio.gather(*deciding[:chosen])


async def build(load: Load) -> None:
    """Tenants made and deleted again."""
    async with load.someone("builder") as builder, load.someone("oscar") as oscar:
        while load.on:
            name = f"k-{uuid.uuid4().hex[:8]}"
            for tool, sent in (
                ("tenant_create", {"name": name, "plan": "free"}),
                ("tenant_delete", {"tenant": name, "objects": "delete"}),
            ):
                asked = await builder.call(tool, **sent)
                if asked["state"].startswith("awaiting"):
                    await oscar.call("call_approve", "?wait=20", id=asked["call_id"])
            await asyncio.sleep(load.seconds / 60)


async def follow(load: Load) -> None:
    """Follows a log, goes away in the middle of it, and comes back."""
    headers = {"accept": "application/x-ndjson"}
    sent = {"tenant": load.tenant, "name": "talks", "follow": True, "tail_lines": 5}
    async with load.someone("reader") as me:
        while load.on:
            many = load.dice.randint(5, 40)
            with suppress(httpx.HTTPError, TimeoutError):
                async with (
                    asyncio.timeout(5),
                    me.http.stream(
                        "POST", "/api/v1/tools/job_logs", json=sent, headers=headers
                    ) as lines,
                ):
                    async for _ in lines.aiter_lines():
                        load.lines += 1
                        many -= 1
                        if not many:
                            break
            await asyncio.sleep(0.1)


async def leave(load: Load) -> None:
    """An agent over MCP whose process goes away in mid-call, again and again."""
    headers = {"authorization": f"Bearer {load.tokens['olivia-agent']}"}
    while load.on:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(
                streamable_http_client(f"{load.server.url}/mcp", http_client=http),
                mode="2026-07-28",
            ) as client,
        ):
            await client.call_tool("workload_list", {"tenant": load.tenant})
            load.count["over mcp"] += 1
            with anyio.move_on_after(load.dice.uniform(0.02, 0.4)):
                while load.on:
                    tool, sent = load.dice.choice((*READS, ("workload_restart", {"name": "api"})))
                    await client.call_tool(tool, {"tenant": load.tenant, **sent})
                    load.count["over mcp"] += 1
        load.count["left in mid-call"] += 1
        await asyncio.sleep(0.2)


async def trouble(load: Load, practice: Any, prometheus: Any, lasts_s: float) -> None:
    """One thing after the other goes wrong, and comes right again."""
    for fault in itertools.cycle(TROUBLES):
        await asyncio.sleep(lasts_s)
        if time.monotonic() + lasts_s > load.ends:
            return
        if fault is None:
            prometheus.__exit__()
        else:
            practice.faults.add(Fault(**vars(fault)))
        await asyncio.sleep(lasts_s)
        if fault is None:
            prometheus.__enter__()
        practice.faults.clear()
        load.count["troubles"] += 1


async def all_of_it(load: Load, practice: Any, prometheus: Any, trouble_s: float) -> None:
    numbers = itertools.count()

    def value() -> str:
        return f"v{next(numbers)}"

    async with asyncio.TaskGroup() as tasks:
        for work in (
            load.sample(), trouble(load, practice, prometheus, trouble_s),
            *(read(load, "reader", 0.05) for _ in range(2)),
            *(read(load, "greedy", 0) for _ in range(4)),
            keep(load, value), keep_in_haste(load, value), ask_and_decide(load), build(load),
            follow(load), leave(load),
        ):  # fmt: skip
            tasks.create_task(work)
