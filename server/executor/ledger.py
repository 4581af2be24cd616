"""What the journal knows of a plan's changes: which were sent, applied, taken back."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

import sqlalchemy as sa

from server.journal import Journal, steps
from tools.plan import Seen

# In the order in which they happen to a change. `sent` without `applied` is what a crash or a lost
# answer leaves: only the object itself can say. `parked` is said of a whole call (change_id "").
Did = Literal["sent", "refused", "applied", "undone", "parked", "resumed"]


ORDER: tuple[str, ...] = get_args(Did)


class Step(NamedTuple):
    did: Did
    seen: Seen | None


class Ledger:
    """The steps of calls, one row for each thing done to a change."""

    def __init__(self, journal: Journal, clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._clock = clock
        self._rows: list[dict[str, Any]] = []
        self._writing = asyncio.Lock()
        self._written: asyncio.Task[None] | None = None

    async def record(
        self, call_id: str, change_id: str, did: Did, seen: Seen | None = None
    ) -> None:
        """Make one thing durable. What is recorded side by side is written as one statement: a
        row more costs a tenth of a millisecond, a statement one."""
        row = {
            "call_id": call_id,
            "change_id": change_id,
            "did": did,
            "seen": seen and seen.model_dump(mode="json"),
            "time": self._clock(),
        }
        self._rows.append(row)
        if self._written is None:
            self._written = asyncio.create_task(self._write())
        # Who is cancelled here must not take the others' rows along.
        await asyncio.shield(self._written)

    async def _write(self) -> None:
        async with self._writing:
            rows, self._rows, self._written = self._rows, [], None
            await self._journal.run(lambda c: c.execute(sa.insert(steps), rows) and None)

    async def steps(self, call_id: str) -> dict[str, Step]:
        """The last thing done to each change of a call; `seen` is how that left the object."""
        query = sa.select(steps).where(steps.c.call_id == call_id)
        rows = await self._journal.run(lambda c: c.execute(query).mappings().all())
        rows = sorted(rows, key=lambda row: (row["time"], ORDER.index(row["did"])))
        last: dict[str, Step] = {}
        for row in rows:
            seen = Seen.model_validate(row["seen"]) if row["seen"] else None
            before = last.get(row["change_id"])
            last[row["change_id"]] = Step(row["did"], seen or (before and before.seen))
        return last
