"""A thousand slash commands in ten seconds: how soon Slack is answered, and whether all are."""

import asyncio
import time
from contextlib import suppress

from tests.bench.measuring import Figure, said
from tests.bench.processes import UNHURRIED, World, another
from tests.chatops.slack_scene import LOOSE, OLIVIA
from tests.chatops.slack_server import SECRET, TOKEN, SlackServer, shown, slack_server
from tests.lodging import deployment
from tools.calls import Caller

COMMANDS, OVER_S = 1000, 10.0
ACKNOWLEDGED_MS = 3000  # what Slack waits for
ANSWERED_S = 120.0
ME = Caller.of("", door="cli")


async def slack(here: World) -> list[Figure]:
    """`/pilot workloads` from one person, a hundred in a second, each a signed request over a
    connection of Slack's stand-in, which is in the process that measures: the time until each is
    acknowledged, and how many of them are answered with the workload."""
    tenant = f"{here.mark}-slack"
    await here.call("tenant_create", name=tenant, plan="free")
    await here.call("resource_apply", tenant=tenant, manifest=deployment("web", 1))
    async with slack_server() as there:
        settings = (
            f'[slack]\nbot_token = "{TOKEN}"\nsigning_secret = "{SECRET}"\n'
            f'api = "{there.url}/api/"\n'
        )
        async with another(here, "slack", UNHURRIED + settings) as (there.pilothouse, operator):
            await _let_in(there)
            await there.types(OLIVIA, LOOSE, "login")
            code = shown(await there.until(lambda: there.whisper("slack link")))
            code = code.partition("slack link ")[2][:14]
            linked = await operator.call(ME, "chat_link", {"code": code})
            assert not linked.error, linked
            there.whispers.clear()
            return await _asked(there, f"workloads {tenant}")


async def _asked(there: SlackServer, text: str) -> list[Figure]:
    took: list[float] = []

    async def one(number: int) -> None:
        await asyncio.sleep(number * OVER_S / COMMANDS)
        began = time.perf_counter()
        status = await there.types(OLIVIA, LOOSE, text)
        assert status == 200, status
        took.append(time.perf_counter() - began)

    def answered() -> int:
        return len({w["at"] for w in there.whispers if "web" in shown(w)})

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(COMMANDS)))
    with suppress(TimeoutError):  # the figure says how many
        await there.until(lambda: len(there.whispers) >= COMMANDS, ANSWERED_S)
    last = time.perf_counter() - began
    took.sort()
    p99 = took[int(len(took) * 0.99)] * 1000
    told = f"median {said(took[len(took) // 2])}, last {said(took[-1])}"
    return [
        Figure(f"{COMMANDS:,} commands, acknowledged (p99)", p99, ACKNOWLEDGED_MS, unit=" ms",
               told=told),
        Figure("of them answered", answered(), COMMANDS, True, told=f"within {said(last)}"),
    ]  # fmt: skip


async def _let_in(there: SlackServer) -> None:
    async with asyncio.timeout(30):
        while await there.types(OLIVIA, LOOSE, "help") != 200:
            await asyncio.sleep(0.05)
    await there.until(lambda: there.whispers)
