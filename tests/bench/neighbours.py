"""What a greedy caller costs the others."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

from server.remote import RemoteGate
from tests.bench.measuring import Figure, Pair, ratio
from tests.bench.processes import ROOT, World, another
from tools.calls import Caller

CALLS, ROUNDS, SIDE_BY_SIDE = 60, 5, 64
ME = Caller.of("")
# What the greedy one asks for: something cheap, and what takes much of the server's own time (what
# takes the cluster's, that it shares these cores with, would be no fault of the server's).
CHEAP: tuple[str, dict[str, Any]] = ("call_list", {})
DEAR: tuple[str, dict[str, Any]] = ("audit_list", {"limit": 500, "hashes": True})


async def neighbours(here: World) -> list[Figure]:
    """One caller asks for `call_list` again and again, and how long each takes is set against the
    same while another has 64 requests under way without a pause, with the limits that are the
    default. The two, and the server, have two cores between them; the greedy one asks over bare
    sockets, so that what it costs is the server's work."""
    figures = []
    async with another(here, "limited", "") as (url, operator):
        gate = RemoteGate(url, await here.token(operator, "quiet", operator=True))
        for what, asked in (("the cheapest", CHEAP), ("the dearest", DEAR)):
            name = f"greedy-for-{what.split()[-1]}"
            token = await here.token(operator, name, operator=True)
            figures += await _beside(gate, url, token, what, asked)
        await gate.close()
    return figures


async def _beside(
    gate: RemoteGate, url: str, token: str, what: str, asked: tuple[str, dict[str, Any]]
) -> list[Figure]:
    middle: list[Pair] = []
    slowest: list[Pair] = []
    async with _greedy(url, token, *asked) as greedy:
        await _asked(gate)
        for _ in range(ROUNDS):
            await greedy.go()
            beside = await _asked(gate)
            await greedy.rest()
            alone = await _asked(gate)
            for pairs, of in ((middle, median), (slowest, _slow)):
                pairs.append((of(beside), of(alone)))
    answers = ", ".join(f"{n} times {status}" for status, n in sorted(greedy.answers.items()))
    print(f"greedy for {what}: {answers}")
    return [
        ratio(f"`call_list` beside one who is greedy for {what}, median", 1.2, middle),
        ratio("the same, of 20 the slowest", 2.0, slowest),
    ]


def _slow(times: list[float]) -> float:
    return quantiles(times, n=20)[-1]


async def _asked(gate: RemoteGate) -> list[float]:
    """How long each call takes, at a pace that the limits allow."""
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        outcome = await gate.call(ME, "call_list", {})
        times.append(time.perf_counter() - began)
        assert not outcome.error, outcome
        await asyncio.sleep(0.03)
    return times


class Greedy:
    """A process that asks while it is told to; `answers` counts what it was told, by status."""

    def __init__(self, run: asyncio.subprocess.Process) -> None:
        self.run = run
        self.answers: Counter[str] = Counter()

    async def go(self) -> None:
        await self._told("go")
        await asyncio.sleep(1)

    async def rest(self) -> None:
        self.answers.update(await self._told("rest"))

    async def _told(self, word: str) -> Any:
        assert self.run.stdin
        assert self.run.stdout
        self.run.stdin.write(f"{word}\n".encode())
        return json.loads(await self.run.stdout.readline())


@asynccontextmanager
async def _greedy(
    url: str, token: str, tool: str, arguments: dict[str, Any]
) -> AsyncIterator[Greedy]:
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.neighbours", url, token, tool, json.dumps(arguments),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Greedy(run)
    finally:
        run.kill()
        await run.wait()


async def ask_without_a_pause(url: str, token: str, tool: str, body: str) -> None:
    """Goes and rests as it is told line by line, and says so."""
    where = urlsplit(url)
    request = (
        f"POST /api/v1/tools/{tool} HTTP/1.1\r\nhost: {where.netloc}\r\n"
        f"authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    ).encode()
    answers: Counter[str] = Counter()
    going, busy = asyncio.Event(), set()

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        while True:
            await going.wait()
            busy.add(number)
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = head.partition("content-length:")[2].partition("\r\n")[0]
            await reader.readexactly(int(length))
            answers[head.split()[1]] += 1
            busy.discard(number)

    asking = [asyncio.create_task(one(number)) for number in range(SIDE_BY_SIDE)]
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line == "go\n":
            going.set()
        else:
            going.clear()
            while busy:
                assert not any(task.done() for task in asking)
                await asyncio.sleep(0.02)
        print(json.dumps(answers), flush=True)
        answers.clear()


if __name__ == "__main__":
    asyncio.run(ask_without_a_pause(*sys.argv[1:5]))
