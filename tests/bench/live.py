"""A thousand who follow the events: how soon they are told, and what that costs the others."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.bench.measuring import Figure, Go, Pair, ratio, timed
from tests.bench.processes import ROOT, World
from tests.lodging import deployment

READERS, WRITES, APART_S = 1000, 20, 0.5
PAIRS, IN_A_GO, READS, PAUSE_S = 7, 4, 20, 0.5
TOLD_S = 120.0


async def live(here: World) -> list[Figure]:
    """A thousand readers of server-sent events, all of them operators, who see everything, in a
    process of their own; and an operator who scales a workload twice a second, as if each of the
    thousand changed something every eight minutes. The time from what a call says of when it
    changed to when a reader has it, for every tenth of them. Then calls with the readers there
    against calls without: reads, and reads with a write among twenty, one after the other as fast
    as they go. Each write is told to each of the readers twice: that it runs, and how it ended."""
    tenant = f"{here.mark}-live"
    await here.call("tenant_create", name=tenant, plan="free")
    await here.call("resource_apply", tenant=tenant, manifest=deployment("web", 1))
    replicas = 1

    async def scale() -> None:
        nonlocal replicas
        replicas = 3 - replicas
        await here.call("workload_scale", tenant=tenant, name="web", replicas=replicas)

    async def read() -> None:
        for _ in range(IN_A_GO * READS):
            await here.call("workload_list", tenant=tenant)

    async def mixed() -> None:
        for n in range(IN_A_GO * READS):
            if n % READS == 0:
                await scale()
            await here.call("workload_list", tenant=tenant)

    async with _readers(here) as readers:
        await readers.say(f"connect {READERS}")
        await scale()
        await asyncio.sleep(APART_S)
        await readers.say("report 2")
        for _ in range(WRITES):
            await scale()
            await asyncio.sleep(APART_S)
        report = await readers.say(f"report {WRITES * 2}")
        await readers.say("drop")
        assert report["told"] == [WRITES * 2, WRITES * 2], report["told"]
        late = report["late_ms"]
        p99 = late[int(len(late) * 0.99)]
        load = os.getloadavg()[0]
        told = f"median {late[len(late) // 2]:.0f} ms, last {late[-1]:.0f} ms; load {load:.1f}"
        figures = [Figure(f"{READERS:,} readers, told (p99)", p99, 250, unit=" ms", told=told)]
        for what, work in (("reads", read), ("reads and writes", mixed)):
            pairs = await _with_and_without(readers, timed(work))
            figures.append(ratio(f"{what} beside {READERS:,} readers", 1.2, pairs))
    return figures


async def _with_and_without(readers: "_Readers", go: Go) -> list[Pair]:
    """In turns, each after a moment for what connecting and leaving leaves behind."""
    await go()
    pairs = []
    for _ in range(PAIRS):
        await readers.say(f"connect {READERS}")
        await asyncio.sleep(PAUSE_S)
        beside = await go()
        await readers.say("drop")
        await asyncio.sleep(PAUSE_S)
        pairs.append((beside, await go()))
    return pairs


@dataclass
class _Readers:
    run: asyncio.subprocess.Process

    async def say(self, what: str) -> dict[str, list[float]]:
        assert self.run.stdin is not None
        assert self.run.stdout is not None
        self.run.stdin.write(f"{what}\n".encode())
        line = await asyncio.wait_for(self.run.stdout.readline(), TOLD_S)
        return dict(json.loads(line))


@asynccontextmanager
async def _readers(here: World) -> AsyncIterator[_Readers]:
    port = here.url.rpartition(":")[2]
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.readers", port, here.operator.token,
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 24,
    )  # fmt: skip
    try:
        yield _Readers(run)
    finally:
        run.terminate()
        await run.wait()
