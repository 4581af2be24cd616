"""What the journal knows of a plan's changes: which were sent, applied, taken back."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

import sqlalchemy as sa

from server.journal import Journal, insert, steps
from tools.plan import Seen

# In the order in which they happen to a change. `sent` without `applied` is what a crash or a lost
# answer leaves: only the object itself can say. `parked` is said of a whole call (change_id "").
Did = Literal["sent", "refused", "applied", "undone", "parked", "resumed"]


# Within this, at the latest, what was noted is written.
SOON_S = 0.05
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
        self._soon: asyncio.TimerHandle | None = None

    async def record(
        self, call_id: str, change_id: str, did: Did, seen: Seen | None = None
    ) -> None:
        """Make it durable: what is to be known whatever happens next."""
        self.note(call_id, change_id, did, seen)
        await self.flush()

    def note(self, call_id: str, change_id: str, did: Did, seen: Seen | None = None) -> None:
        """Make it durable soon: what could be found out again by looking at the object."""
        self._rows.append(self._row(call_id, change_id, did, seen))
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON_S, self._begin)

    async def flush(self) -> None:
        """Make all that was noted durable, in one statement: a commit costs milliseconds, a row
        more does not."""
        # Who is cancelled here must not take the others' rows along.
        await asyncio.shield(self._begin())

    def sending(self, call_id: str, change_ids: Iterable[str]) -> Callable[[sa.Connection], None]:
        """Writes that these are sent, in the transaction that records their call."""
        rows = [self._row(call_id, id, "sent", None) for id in change_ids]
        return _inserting(rows)

    def pending(self) -> Callable[[sa.Connection], None]:
        """Writes what was noted along with something else, in its transaction."""
        rows: list[dict[str, Any]] = []
        if self._written is None:  # else somebody waits for just these
            rows, self._rows = self._rows, []

        return _inserting(rows)

    def _row(self, call_id: str, change_id: str, did: Did, seen: Seen | None) -> dict[str, Any]:
        row = {
            "call_id": call_id,
            "change_id": change_id,
            "did": did,
            "seen": seen and seen.model_dump(mode="json"),
            "time": self._clock(),
        }
        return self._journal.vault.sealed(steps, row)

    def _begin(self) -> asyncio.Task[None]:
        if self._soon:
            self._soon.cancel()
            self._soon = None
        if self._written is None:
            self._written = asyncio.create_task(self._write())
        return self._written

    async def _write(self) -> None:
        async with self._writing:
            rows, self._rows, self._written = self._rows, [], None
            if not rows:
                return
            try:
                await self._journal.run(_inserting(rows))
            except BaseException:
                self._rows = rows + self._rows
                raise

    async def steps(self, call_id: str) -> dict[str, Step]:
        """The last thing done to each change of a call; `seen` is how that left the object."""
        await self.flush()
        query = sa.select(steps).where(steps.c.call_id == call_id)
        rows = await self._journal.run(lambda c: c.execute(query).mappings().all())
        opened = (self._journal.vault.opened(steps, row) for row in rows)
        ordered = sorted(opened, key=lambda row: (row["time"], ORDER.index(row["did"])))
        last: dict[str, Step] = {}
        for row in ordered:
            seen = Seen.model_validate(row["seen"]) if row["seen"] else None
            before = last.get(row["change_id"])
            last[row["change_id"]] = Step(row["did"], seen or (before and before.seen))
        return last

    async def times(self, call_id: str) -> list[tuple[datetime, str, Did]]:
        """When what was done to which change of a call, the oldest first."""
        await self.flush()
        query = sa.select(steps.c.time, steps.c.change_id, steps.c.did).where(
            steps.c.call_id == call_id
        )
        rows = await self._journal.run(lambda c: c.execute(query).all())
        return sorted(
            ((time, id, did) for time, id, did in rows), key=lambda r: (r[0], ORDER.index(r[2]))
        )


def _inserting(rows: list[dict[str, Any]]) -> Callable[[sa.Connection], None]:
    def write(connection: sa.Connection) -> None:
        if rows:
            insert(connection, steps, rows)

    return write
