"""A Pilothouse under load in a process of its own, which says what it acknowledged until it is
killed (SIGKILL) at whatever moment."""

import asyncio
import itertools
import json
import os
import uuid
from multiprocessing.reduction import DupFd
from typing import Any

from server.settings import Settings
from tests.crashing import _context as context
from tests.house import AGENT, OLIVIA, House, opened


def run_and_be_killed(settings: Settings, tenant: str, after_s: float) -> list[dict[str, Any]]:
    """What was acknowledged. It is killed so long after the first that was."""
    told, tells = os.pipe()
    given = (settings.model_dump(mode="json"), tenant, DupFd(tells))
    process = context.Process(target=_child, args=given)
    process.start()
    os.close(tells)
    with os.fdopen(told, "rb") as pipe:
        lines = [pipe.readline()]
        process.join(after_s)
        process.kill()
        process.join(20)
        lines += pipe.readlines()
    # The last may be cut off: then nobody was told.
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def _child(settings: Any, tenant: str, tells: Any) -> None:
    pipe = tells.detach()

    def tell(what: str, outcome: Any, **more: Any) -> None:
        line = {"what": what, "id": outcome.call_id, "state": outcome.state.value, **more}
        os.write(pipe, json.dumps(line).encode() + b"\n")

    async def write(house: House) -> None:
        for number in itertools.count():
            replicas = 1 + number % 3
            outcome = await house.call(
                OLIVIA, "workload_scale", tenant=tenant, name="web", replicas=replicas
            )
            tell("scale", outcome, replicas=replicas)

    async def ask(house: House) -> None:
        while True:
            outcome = await house.call(AGENT, "workload_restart", tenant=tenant, name="web")
            tell("restart", outcome)
            if outcome.state.waiting:
                decided = await house.call(
                    OLIVIA, "call_reject", id=outcome.call_id, reason="not now"
                )
                tell("reject", decided)

    async def provision(house: House) -> None:
        while True:
            name = f"k-{uuid.uuid4().hex[:8]}"
            tell("create", await _approved(house, "tenant_create", name=name, plan="free"))
            tell("delete", await _approved(house, "tenant_delete", tenant=name, objects="delete"))

    async def read(house: House) -> None:
        while True:
            await house.call(OLIVIA, "workload_list", tenant=tenant)

    async def run() -> None:
        async with opened(Settings.model_validate(settings)) as house:
            await asyncio.gather(write(house), ask(house), provision(house), read(house))

    asyncio.run(run())


async def _approved(house: House, tool: str, **arguments: Any) -> Any:
    from tests.house import OSCAR

    outcome = await house.call(OLIVIA, tool, **arguments)
    if outcome.state.waiting:
        outcome = await house.call(OSCAR, "call_approve", id=outcome.call_id)
    return outcome
