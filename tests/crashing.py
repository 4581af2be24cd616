"""A Pilothouse in a process of its own that is killed (SIGKILL) at a chosen change."""

import asyncio
import multiprocessing
import os
import signal
from typing import Any, Literal

from server.executor.ledger import Ledger
from server.settings import Settings
from tests.house import OLIVIA, OSCAR, opened
from tools.calls import State

Moment = Literal["before it is acknowledged", "after it is acknowledged"]
MOMENTS: tuple[Moment, ...] = ("before it is acknowledged", "after it is acknowledged")

# Forked from one process that has imported everything: a fresh one takes a second each time.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["tests.crashing", "kubernetes.aio.client", "kubernetes.aio.config", "boto3", "duckdb_engine"]
)


def run_and_be_killed(
    settings: Settings, tool: str, arguments: dict[str, Any], at: int, moment: Moment
) -> bool:
    """Call a tool (and approve it) in another process, which dies when its `at`-th change has been
    made. False when it has no so many changes, and so came to its end."""
    given = (dict(os.environ), settings.model_dump(mode="json"), tool, arguments, at, moment)
    process = _context.Process(target=_child, args=given)
    process.start()
    process.join(60)
    if process.is_alive():
        process.kill()
        raise AssertionError("the process neither ended nor was killed")
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def _child(
    variables: dict[str, str],
    settings: Any,
    tool: str,
    arguments: dict[str, Any],
    at: int,
    moment: Moment,
) -> None:
    # What it is forked from has those of whoever was the first to need it.
    os.environ.clear()
    os.environ.update(variables)
    note = Ledger.note
    made = 0

    def die(self: Ledger, call_id: str, change_id: str, did: Any, seen: Any = None) -> None:
        nonlocal made
        made += did == "applied"
        now = did == "applied" and made == at
        if now and moment == MOMENTS[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        note(self, call_id, change_id, did, seen)
        if now:
            dying.append(asyncio.create_task(once_written(self)))

    async def once_written(ledger: Ledger) -> None:
        await ledger.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    dying: list[asyncio.Task[None]] = []
    Ledger.note = die  # type: ignore[method-assign]

    async def run() -> None:
        async with opened(Settings.model_validate(settings)) as house:
            outcome = await house.call(OLIVIA, tool, **arguments)
            if outcome.state.waiting:
                outcome = await house.call(OSCAR, "call_approve", id=outcome.call_id)
            assert outcome.state is State.SUCCEEDED, outcome

    asyncio.run(run())
