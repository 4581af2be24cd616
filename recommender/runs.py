"""Runs of the analysis: when, what was read, and how sure that is, so that nothing is recommended
from half the data without saying so."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from recommender.model import RecommenderError
from recommender.tables import Run
from recommender.tables import runs as table

# `partial`: some was not read, and is said in the warnings. `interrupted`: the process ended.
RunState = Literal["running", "complete", "partial", "failed", "interrupted"]
r = table.c
KEPT_S = 30 * 86_400.0


@dataclass(frozen=True)
class RunRecord:
    """One run. `scope` is what it was asked for, `seen` what it has read, `recorded` how many
    suggestions it opened, replaced and so on. Moments are seconds since 1970."""

    id: str
    state: RunState
    started_by: str
    started: float
    ended: float | None
    scope: dict[str, Any]
    seen: dict[str, Any]
    warnings: list[str]
    recorded: dict[str, int]
    error: str
    hint: str


class Runs:
    """The runs in a database."""

    def __init__(self, run: Run, clock: Callable[[], float] = time.time) -> None:
        self.run = run
        self.clock = clock

    async def open(self, alone: bool = True, longest_s: float = 6 * 3600.0) -> None:
        """What still runs in the table was interrupted: all of it where this is the only
        process (`alone`), else what has run for too long."""
        before = self.clock() + (1 if alone else -longest_s)
        stale = (
            sa.update(table)
            .where(r.state == "running", r.started < before)
            .values(state="interrupted", ended=self.clock(), error="The process ended in mid-run.")
        )

        await self.run(lambda c: c.execute(stale) and None)

    async def begin(self, started_by: str, scope: Mapping[str, Any] | None = None) -> str:
        """A run has started; its id."""
        row = {
            "id": f"run-{secrets.token_hex(4)}",
            "state": "running",
            "started_by": started_by,
            "started": self.clock(),
            "scope": dict(scope or {}),
            "seen": {},
            "warnings": [],
            "recorded": {},
            "error": "",
            "hint": "",
        }
        await self.run(lambda c: c.execute(sa.insert(table).values(row)) and None)
        return str(row["id"])

    async def end(
        self,
        id: str,
        *,
        seen: Mapping[str, Any],
        warnings: Sequence[str] = (),
        partial: bool = False,
        recorded: Mapping[str, int] | None = None,
        error: RecommenderError | None = None,
    ) -> RunRecord:
        """How it ended: failed where there is an error, partial where not everything was read."""
        values = {
            "state": "failed" if error else "partial" if partial else "complete",
            "ended": self.clock(),
            "seen": dict(seen),
            "warnings": list(warnings),
            "recorded": dict(recorded or {}),
            "error": error.message if error else "",
            "hint": error.hint if error else "",
        }
        ends = sa.update(table).where(r.id == id, r.state == "running").values(values)
        query = sa.select(table).where(r.id == id)

        def work(connection: sa.Connection) -> Any:
            connection.execute(ends)
            return connection.execute(query).mappings().one()

        return RunRecord(**await self.run(work))

    async def prune(self, now: float) -> None:
        """Forget those of long ago."""
        old = sa.delete(table).where(r.state != "running", r.started < now - KEPT_S)
        await self.run(lambda c: c.execute(old) and None)

    async def latest(self, limit: int = 20, *states: RunState) -> list[RunRecord]:
        """The newest first; of all states unless some are named."""
        query = sa.select(table).order_by(r.started.desc(), r.id).limit(limit)
        if states:
            query = query.where(r.state.in_(states))
        rows = await self.run(lambda c: c.execute(query).mappings().all())
        return [RunRecord(**row) for row in rows]
