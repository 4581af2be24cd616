import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from server.executor.ledger import Ledger
from server.journal import Journal, steps
from tools.plan import Seen


@pytest.fixture
async def journal(database: str) -> AsyncIterator[Journal]:
    opened = await Journal.open(database)
    yield opened
    await opened.close()


@pytest.fixture
def ledger(journal: Journal) -> Ledger:
    return Ledger(journal, lambda: datetime.now(UTC))


async def test_what_is_recorded_side_by_side_is_there_once_each_has_returned(
    ledger: Ledger, journal: Journal
) -> None:
    writes = 0
    run = journal.run

    async def counted(work):  # type: ignore[no-untyped-def]
        nonlocal writes
        writes += 1
        return await run(work)

    journal.run = counted  # type: ignore[method-assign]

    async def one(n: int) -> None:
        id = f"c{n}"
        await ledger.record("call", id, "sent")
        await ledger.record("call", id, "applied", Seen(uid=str(n), value={"n": n}))
        assert (await ledger.steps("call"))[id].did == "applied"

    await asyncio.gather(*(one(n) for n in range(30)))
    done = await ledger.steps("call")
    assert {id: (step.did, step.seen and step.seen.value) for id, step in done.items()} == {
        f"c{n}": ("applied", {"n": n}) for n in range(30)
    }
    assert writes - 31 < 10


async def test_one_that_is_cancelled_takes_no_other_along(ledger: Ledger) -> None:
    hasty = asyncio.create_task(ledger.record("call", "hasty", "sent"))
    patient = asyncio.create_task(ledger.record("call", "patient", "sent"))
    await asyncio.sleep(0)
    hasty.cancel()
    await patient
    assert (await ledger.steps("call"))["patient"].did == "sent"


async def test_who_records_hears_that_it_was_not_written_and_may_try_again(
    ledger: Ledger, journal: Journal
) -> None:
    run = journal.run

    async def full(work):  # type: ignore[no-untyped-def]
        raise OSError("no space")

    journal.run = full  # type: ignore[method-assign]
    both = (ledger.record("call", id, "sent") for id in "ab")
    failures = await asyncio.gather(*both, return_exceptions=True)
    assert [type(failure) for failure in failures] == [OSError, OSError]
    journal.run = run  # type: ignore[method-assign]
    await ledger.record("call", "a", "applied")
    assert {id: step.did for id, step in (await ledger.steps("call")).items()} == {
        "a": "applied",
        "b": "sent",
    }


async def test_what_is_noted_is_written_with_what_is_recorded_next_and_soon_by_itself(
    ledger: Ledger, journal: Journal
) -> None:
    def written() -> Any:
        query = sa.select(steps.c.change_id, steps.c.did)
        return journal.run(lambda c: [tuple(row) for row in c.execute(query).all()])

    ledger.note("call", "a", "applied")
    assert await written() == []
    await ledger.record("call", "b", "sent")
    assert sorted(await written()) == [("a", "applied"), ("b", "sent")]
    ledger.note("call", "b", "applied")
    async with asyncio.timeout(10):
        while ("b", "applied") not in await written():
            await asyncio.sleep(0.005)


async def test_what_is_pending_is_written_along_with_something_else(
    ledger: Ledger, journal: Journal
) -> None:
    ledger.note("call", "a", "applied")
    await journal.run(ledger.pending())
    await journal.run(ledger.pending())
    query = sa.select(steps.c.change_id)
    assert list(await journal.run(lambda c: c.execute(query).scalars().all())) == ["a"]


async def test_what_somebody_waits_for_is_not_taken_from_them(
    ledger: Ledger, journal: Journal
) -> None:
    waiting = asyncio.create_task(ledger.record("call", "a", "sent"))
    await asyncio.sleep(0)
    ledger.pending()
    await waiting
    assert list(await ledger.steps("call")) == ["a"]
