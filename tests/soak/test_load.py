"""A busy hour in minutes, with the cluster and Prometheus failing and coming back, and at its end
`kill -9`: what was acknowledged is there, once, and memory is as it was at the start."""

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from server.audit import EVERY_S, GAP, START
from server.identity import new_token
from server.journal import audit, calls, steps
from server.sandbox import PracticeCluster
from server.sandbox.prometheus import PracticePrometheus
from server.settings import Settings
from server.settings import load as load_settings
from tests.conftest import Kube, reached
from tests.house import OLIVIA, House, opened
from tests.lodging import deployment, with_bucket
from tests.processes import Server, serve
from tests.soak import WHOLE
from tests.soak.load import PEOPLE, Load, all_of_it, read
from tests.soak.test_kills import provisioned_whole_or_not
from tools.calls import State

SECONDS = float(os.environ.get("PILOTHOUSE_TEST_LOAD_S", 240 if WHOLE else 4))
TROUBLE_S = 5.0 if WHOLE else 0.4
SETTLED_S = 120.0
# A read's record is written within a second, which on a busy disk takes its time.
WRITTEN_S = 1.0
TALKS = "i=0; while true; do echo line $i; i=$((i+1)); sleep 0.1; done"
TOML = """
state = "{folder}/state"
kubeconfig = "{folder}/kubeconfig"
[aws]
region = "eu-west-1"
bucket = "tenants"
endpoint = "{aws}"
oidc_provider = "oidc.example/id/1"
[prometheus]
url = "{prometheus}"
timeout_s = 2
"""


@dataclass
class Seen:
    """What was really done in the cluster: each value that a ConfigMap took on, and each number of
    replicas that the Deployment `web` did."""

    values: list[str] = field(default_factory=list)
    replicas: list[int] = field(default_factory=list)

    def note(self, event: Any) -> None:
        if event.type == "DELETED":
            return
        now, before = event.record.object, event.before.object if event.before else {}
        kind, name = event.record.kind.kind, now["metadata"]["name"]
        if kind == "ConfigMap" and name in ("kept", "hasty"):
            if now["data"] != before.get("data"):
                self.values.append(now["data"]["value"])
        elif kind == "Deployment" and name == "web" and before:
            replicas = now["spec"]["replicas"]
            self.replicas += [replicas] * (replicas != before["spec"]["replicas"])


@dataclass
class Place:
    folder: Path
    settings: Settings
    practice: PracticeCluster
    prometheus: PracticePrometheus
    kube: Kube
    seen: Seen
    tenant: str
    tokens: dict[str, str]


@pytest.fixture
async def place(aws: Any, moto_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    practice, seen = PracticeCluster(), Seen()
    with practice.in_thread(), PracticePrometheus([]) as prometheus:
        practice.api.store.listen(seen.note)
        practice.kubeconfig(path=tmp_path / "kubeconfig")
        file = tmp_path / "p.toml"
        file.write_text(TOML.format(folder=tmp_path, aws=moto_url, prometheus=prometheus.url))
        (tmp_path / "state").mkdir()
        made = load_settings(config=str(file))
        tenant = f"t-{uuid.uuid4().hex[:8]}"
        async with reached(str(tmp_path / "kubeconfig")) as kube:
            tokens = await furnished(made, tenant)
            yield Place(tmp_path, made, practice, prometheus, kube, seen, tenant, tokens)


async def furnished(there: Settings, tenant: str) -> dict[str, str]:
    """A tenant with something in it, and everybody's token."""
    found = {}
    async with opened(there) as house:
        await with_bucket(house)
        await house.done("tenant_create", name=tenant, plan="pro")
        for name in ("web", "api"):
            await house.done("resource_apply", tenant=tenant, manifest=deployment(name))
        about = {"tenant": tenant, "name": "talks", "image": "busybox:1.37"}
        await house.done("job_create", **about, command=["sh", "-c", TALKS])
        for name, rights in PEOPLE.items():
            found[name], sha256 = new_token()
            rest = {"tenants": {}, "operator": True, "agent": False, "person": ""} | rights
            await house.app.identity.tokens.create(
                OLIVIA, sha256=sha256, subject=name, expires_days=None, **rest
            )
    return found


@asynccontextmanager
async def served(place: Place) -> AsyncIterator[Server]:
    server = await serve("--config", str(place.folder / "p.toml"))
    try:
        yield server
    finally:
        if server.process.returncode is None:
            server.process.kill()
            await server.process.wait()


async def test_an_hour_of_everything_while_what_it_stands_on_fails_loses_nothing(
    place: Place,
) -> None:
    async with served(place) as server:
        load = Load(server, place.tokens, place.tenant, SECONDS)
        await all_of_it(load, place.practice, place.prometheus, TROUBLE_S)
        await settled(load)
        tenth = len(load.memory) // 10
        start, end = median(load.memory[tenth : 2 * tenth]), median(load.memory[-tenth:])
        for what, value in told_of(load, start, end).items():
            print(f"{what}: {value}")
        killed = await killed_in_the_middle(load)
    assert load.count["troubles"] >= 3
    assert load.lines > 10
    assert min(load.count[what] for what in ("over mcp", "tenant_create", "resource_apply")) > 0
    assert sum(load.count[f"call_{how}"] for how in ("confirm", "approve", "reject")) > 0
    if WHOLE:  # what is loaded and cached at first is most of what a short one shows
        assert end <= 1.2 * start, load.memory
    async with opened(place.settings) as house:
        lost = await reads_lost(house, load, killed)
        print(f"reads lost: {lost}")
        await ended_as_told(house, load)
        await done_once(house, load, place.seen)
        await provisioned_whole_or_not(place.kube, house.app.backends.aws)
        verified = await house.call(OLIVIA, "audit_verify")
        assert verified.answer is not None
        assert verified.answer["faults"] == []


async def settled(load: Load) -> None:
    """What still waits is rejected, what is stuck is told to go on; the rest ends by itself."""
    async with load.someone("olivia") as me, asyncio.timeout(SETTLED_S):
        while True:
            left = 0
            for state, tool in (
                ("waiting", "call_reject"), ("stuck", "call_retry"),
                ("running", "call_wait"), ("unknown", "call_wait"), ("undoing", "call_wait"),
            ):  # fmt: skip
                found = await me.call("call_list", state=state, limit=50)
                ids = [call["id"] for call in found["answer"]["calls"]]
                left += len(ids)
                reason = {"reason": "over"} if tool == "call_reject" else {}
                await asyncio.gather(*(me.call(tool, id=id, **reason) for id in ids[:10]))
            if not left:
                return


async def killed_in_the_middle(load: Load) -> float:
    """When it was killed, with calls under way."""
    load.ends = time.monotonic() + 60
    tasks = [asyncio.create_task(read(load, "reader", 0)) for _ in range(3)]
    await asyncio.sleep(2.5 if WHOLE else 1.3)
    killed = time.monotonic()
    load.server.process.send_signal(signal.SIGKILL)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, httpx.TransportError) for end in ends), ends
    await load.server.ended()
    return killed


async def reads_lost(house: House, load: Load, killed: float) -> str:
    """Of those acknowledged more than a second before the kill, none; and the gap is on record."""
    lost, oldest = 0, 0.0
    for name, answered in load.answered.items():
        query = sa.select(sa.func.count()).where(
            audit.c.subject == name, audit.c.call_id == "", audit.c.state == "succeeded",
            audit.c.tool.notin_(["job_logs"]),
        )  # fmt: skip
        there = await house.app.journal.run(lambda c, q=query: c.execute(q).scalar())
        answered.sort()
        missing = len(answered) - there
        if missing > 0:
            lost += missing
            oldest = max(oldest, killed - answered[there])
    assert oldest <= EVERY_S + WRITTEN_S
    started = sa.select(audit.c.code).where(audit.c.tool == START).order_by(audit.c.seq)
    codes = await house.app.journal.run(lambda c: c.execute(started).scalars().all())
    assert list(codes) == ["", "", GAP]
    return f"{lost}, the oldest acknowledged {oldest:.2f} s before"


async def ended_as_told(house: House, load: Load) -> None:
    """Every call ended, as its callers were told, and all of it is in the trail."""
    ended = sa.select(calls.c.id, calls.c.state)
    states = dict(await house.app.journal.run(lambda c: c.execute(ended).all()))
    assert {id: s for id, s in states.items() if not State(s).ended} == {}
    assert {id: s for id, s in states.items() if s in ("stuck", "unknown")} == {}
    query = sa.select(audit.c.call_id, audit.c.state)
    trail = {tuple(row) for row in await house.app.journal.run(lambda c: c.execute(query).all())}
    for id, told in load.told.items():
        last = {s for s in told if State(s).ended and s not in ("stuck", "unknown")}
        assert last <= {states[id]}, (id, told, states[id])
        assert (id, states[id]) in trail, (id, told, states[id])


async def done_once(house: House, load: Load, seen: Seen) -> None:
    assert len(seen.values) == len(set(seen.values))
    assert set(load.kept) <= set(seen.values)
    carried_out = await house.app.local_gate.records.in_states(State.SUCCEEDED)
    mine = [call for call in carried_out if call.tenant == load.tenant]
    applied = [call for call in mine if call.tool == "resource_apply"]
    values = [c.arguments["manifest"].get("data", {}).get("value") for c in applied]
    assert set(values) - {None} == set(seen.values)
    scaled = [c for c in mine if c.tool == "workload_scale" and c.plan and c.plan.changes]
    assert len(seen.replicas) == len(scaled)
    query = (
        sa.select(steps.c.call_id, steps.c.change_id)
        .where(steps.c.did == "applied")
        .group_by(steps.c.call_id, steps.c.change_id)
        .having(sa.func.count() > 1)
    )
    assert await house.app.journal.run(lambda c: c.execute(query).all()) == []


def told_of(load: Load, start: float, end: float) -> dict[str, Any]:
    def tail(name: str) -> str:
        parts = quantiles(load.took[name], n=20)
        return f"{median(load.took[name]) * 1000:.0f} ms, of 20 the slowest {parts[-1] * 1000:.0f}"

    return {
        "calls": sum(load.count.values()), "of them": dict(load.count),
        "with an id": len(load.told), "values kept": len(load.kept), "lines followed": load.lines,
        "a reader waits": tail("reader"), "a writer waits": tail("keeper"),
        "memory (MB)": f"{start / 1024:.0f} to {end / 1024:.0f}, {end / start:.2f} times",
    }  # fmt: skip
