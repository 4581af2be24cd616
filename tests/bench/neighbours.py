"""What a greedy caller costs the others."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import httpx

from server.remote import RemoteGate
from tests.bench.measuring import Figure, Pair, ratio
from tests.bench.processes import ROOT, World, another
from tools.calls import Caller

CALLS, ROUNDS, SIDE_BY_SIDE = 40, 7, 64
ME = Caller.of("")


async def neighbours(here: World) -> list[Figure]:
    """One caller asks for `call_list` again and again, and how long each takes is set against the
    same while another has 64 requests under way without a pause, with the limits that are the
    default. The two, and the server, have two cores between them."""
    async with another(here, "limited", "") as (url, operator):
        greedy = await here.token(operator, "greedy", operator=True)
        gate = RemoteGate(url, await here.token(operator, "quiet", operator=True))
        pairs: list[Pair] = []
        await _asked(gate)
        for _ in range(ROUNDS):
            async with _greedy(url, greedy):
                beside = await _asked(gate)
            await asyncio.sleep(1.5)
            pairs.append((beside, await _asked(gate)))
        await gate.close()
    return [ratio("`call_list` beside a greedy caller", 1.2, pairs)]


async def _asked(gate: RemoteGate) -> float:
    """The median time of a call, at a pace that the limits allow."""
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        outcome = await gate.call(ME, "call_list", {})
        times.append(time.perf_counter() - began)
        assert not outcome.error, outcome
        await asyncio.sleep(0.025)
    return median(times)


@asynccontextmanager
async def _greedy(url: str, token: str) -> AsyncIterator[None]:
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.neighbours", url, token, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert run.stdout
    await run.stdout.readline()
    try:
        yield
    finally:
        run.kill()
        await run.wait()


async def ask_without_a_pause(url: str, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    limits = httpx.Limits(max_connections=SIDE_BY_SIDE)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=30) as http:

        async def one() -> None:
            while True:
                await http.post(f"{url}/api/v1/tools/call_list", json={})

        asking = [asyncio.create_task(one()) for _ in range(SIDE_BY_SIDE)]
        await asyncio.sleep(1)
        print("asking", flush=True)
        await asyncio.gather(*asking)


if __name__ == "__main__":
    asyncio.run(ask_without_a_pause(sys.argv[1], sys.argv[2]))
