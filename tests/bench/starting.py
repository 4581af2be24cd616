"""From the start of a process to its first answer to `tools/list`, and how long that answer is."""

import asyncio
import json
import os
import sys
import time
from typing import Any

from tests.bench.measuring import Figure, in_turns, ratio
from tests.bench.processes import AWS, ROOT, World

PAIRS = 9
ANSWERED_S = 60.0
CLIENT = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}
ASKED = "".join(
    json.dumps({"jsonrpc": "2.0"} | message) + "\n"
    for message in (
        {"id": 1, "method": "initialize", "params": CLIENT},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
    )
).encode()
MCP = ("-m", "server.start", "mcp", "--state")


async def listed(*arguments: str) -> tuple[float, list[dict[str, Any]]]:
    """Seconds until a server over stdio answers the first `tools/list`, and the tools."""
    began = time.perf_counter()
    run = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env=os.environ | AWS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=1 << 20,
    )
    assert run.stdin is not None
    assert run.stdout is not None
    try:
        async with asyncio.timeout(ANSWERED_S):
            run.stdin.write(ASKED)
            while (answer := json.loads(await run.stdout.readline())).get("id") != 2:
                pass
            return time.perf_counter() - began, answer["result"]["tools"]
    finally:
        run.kill()
        await run.wait()


async def start(here: World) -> list[Figure]:
    """From the start of the process to its answer to the first `tools/list` over stdio, against a
    server of the `mcp` SDK with two tools: with nothing there yet, and while a running server owns
    the state. The cluster is not waited for: it is connected to with the first call."""
    states = iter(range(1000))

    async def bare() -> float:
        return (await listed("-m", "tests.bench.bare"))[0]

    async def fresh() -> float:
        state = str(here.home / f"fresh-{next(states)}")
        return (await listed(*MCP, state, "--kubeconfig", here.kubeconfig))[0]

    async def owned() -> float:
        return (await listed(*MCP, str(here.home / "state")))[0]

    return [
        ratio("`pilothouse mcp` with a fresh state", 1.3,
              await in_turns(fresh, bare, PAIRS)),
        ratio("the same, while a running server owns the state", 1.3,
              await in_turns(owned, bare, PAIRS)),
    ]  # fmt: skip


async def definitions(here: World) -> list[Figure]:
    """As it is sent, as JSON without blanks."""
    _, tools = await listed(*MCP, str(here.home / "state"))
    size = sum(_size(tool) for tool in tools)
    what = "names, descriptions and input schemas of all tools"
    return [
        Figure(what, size, 20_000, unit=" B", told=f"{len(tools)} tools"),
        Figure("the same, a tool on average", size / len(tools), 550, unit=" B"),
    ]


def _size(tool: dict[str, Any]) -> int:
    """As JSON without blanks, names and quotes included."""
    told = {part: tool[part] for part in ("name", "description", "inputSchema")}
    return len(json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode())
