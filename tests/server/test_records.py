"""Calls as the journal keeps them."""

import asyncio
from datetime import UTC, datetime

from server.journal import Journal
from server.records import Call, Records
from tools.calls import Caller, State


def clock() -> datetime:
    return datetime.now(UTC)


async def test_of_those_that_move_a_call_at_once_one_does_also_from_two_servers(
    database: str,
) -> None:
    journals = [await Journal.open(database)]
    if not database.startswith("duckdb"):  # whose file one process has
        journals.append(await Journal.open(database))
    servers = [Records(journal, clock) for journal in journals]
    for n in range(10):
        waits = State.AWAITING_APPROVAL
        call = Call(
            id=f"call-{n}", created=clock(), updated=clock(), state=waits, tool="tenant_create",
            arguments={}, caller=Caller.of("ada"),
        )  # fmt: skip
        await servers[0].add(call)
        moves = (s.move(call.id, [waits], State.RUNNING) for s in servers for _ in range(3))
        assert sorted(await asyncio.gather(*moves))[-2:] == [False, True]
    for journal in journals:
        await journal.close()
