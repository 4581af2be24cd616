"""Suggestions from the run that found them to the outcome: one per subject and strategy is open.

    open → applying → applied → kept | harmful | no_effect
    open → rejected | replaced | withdrawn; `later` and `expired` are open ones that are not shown

Every move names the states it may come from, so that of two at once exactly one does.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from recommender.model import RecommenderError, Subject, Suggestion
from recommender.paging import after, cursor_of
from recommender.recording import (
    AT_ONCE,
    Covered,
    Recorded,
    by_place,
    covering,
    record_some,
    withdraw,
)
from recommender.tables import Run, clean, suggestions

State = Literal[
    "open", "later", "expired", "applying", "applied", "kept", "harmful", "no_effect",
    "rejected", "replaced", "withdrawn",
]  # fmt: skip
Outcome = Literal["kept", "harmful", "no_effect"]
Sort = Literal["effect", "confidence", "age"]

DAY = 86400.0
EXPIRES_S = 3 * DAY
KEPT_S = 30 * DAY
MOST = 1000

s = suggestions.c
# Above any amount of money, and the higher the sooner.
URGENT = 1e15 - s.deadline
# The greatest first: what will fail, the soonest first, then money. What costs most is as much of
# an effect as what saves most.
SORTS: dict[Sort, sa.ColumnElement[float]] = {
    "effect": sa.case(
        (s.deadline.is_not(None) & (s.state == "open"), URGENT), else_=sa.func.abs(s.monthly)
    ),
    "confidence": sa.func.coalesce(s.confidence, -1.0),
    "age": s.created,
}
# `||` of columns that are never null.
SEARCHED = sa.func.lower(
    s.id + " " + s.title + " " + s.reason + " " + s.namespace + " " + s.name + " " + s.container
)


class NotFound(RecommenderError):
    """There is no such suggestion."""


class MovedOn(RecommenderError):
    """The suggestion is not in a state in which this can be done."""


@dataclass(frozen=True)
class Recommendation:
    """A suggestion and how far it has come. Moments are seconds since 1970, None or 0 where they
    have not come; `before` and `figures` are the figures before and after it was applied; `why`
    says how it ended; `held` is whether its bound did."""

    id: str
    state: State
    suggestion: Suggestion
    created: float
    updated: float
    expires: float
    hidden_until: float
    run_id: str
    replaces: str
    replaced_by: str
    decided_by: str
    decided: float | None
    said: str
    call_id: str
    applied: float | None
    watch_until: float | None
    before: dict[str, Any] | None
    figures: dict[str, Any] | None
    why: str
    held: bool | None
    undo_call: str


class Page(NamedTuple):
    items: list[Recommendation]
    next: str


class Suggestions:
    """The suggestions in a database. `clock` gives seconds since 1970."""

    def __init__(self, run: Run, clock: Callable[[], float] = time.time) -> None:
        self.run = run
        self.clock = clock
        # Told of each that was moved.
        self.moved: Callable[[Recommendation], None] = lambda one: None

    async def open(self) -> None:
        """Whatever somebody was about to apply when the process ended, before there was a call, is
        open again."""
        lost = (s.state == "applying") & (s.call_id == "")
        stale = lost & (s.updated < self.clock() - 600)
        opened = sa.update(suggestions).where(stale).values(state="open")
        await self.run(lambda c: c.execute(opened) and None)

    async def record(
        self,
        found: Iterable[Suggestion],
        covered: Collection[tuple[str, Subject]] | Covered,
        run_id: str,
        now: float | None = None,
        expires_s: float = EXPIRES_S,
    ) -> Recorded:
        """Record what a run has found. `covered` is what it looked at, all of it read: strategies
        with subjects, or a question; only there is what was not found withdrawn."""
        now = self.clock() if now is None else now
        places = by_place(found)
        recorded = Recorded()
        names = list(places)
        for first in range(0, len(names), AT_ONCE):
            some = {name: places[name] for name in names[first : first + AT_ONCE]}
            record = partial(
                record_some, found=some, run_id=run_id, now=now, expires=now + expires_s
            )
            recorded += await self.run(record)
        looked = covering(covered)
        recorded.withdrawn += await self.run(lambda c: withdraw(c, set(places), looked, now))
        return recorded

    async def list(
        self,
        *,
        state: State | Collection[State] | None = None,
        strategy: str = "",
        namespaces: Collection[str] | None = None,
        text: str = "",
        sort: Sort = "effect",
        limit: int = 50,
        cursor: str = "",
    ) -> Page:
        """One page, the greatest first (`age`: the newest), and the cursor of the next, empty on
        the last. Raises `RecommenderError` for a cursor of another list."""
        key = SORTS[sort]
        shown = self._shown()
        query = sa.select(suggestions, shown.label("shown"), key.label("key"))
        if state is not None:
            query = query.where(shown.in_([state] if isinstance(state, str) else state))
        if strategy:
            query = query.where(s.strategy == strategy)
        if namespaces is not None:
            query = query.where(s.namespace.in_(list(namespaces)))
        for word in clean(text).lower().split()[:10]:
            query = query.where(SEARCHED.contains(word, autoescape=True))
        if cursor:
            query = query.where(after(cursor, sort, key, s.id))
        limit = max(1, min(limit, MOST))
        query = query.order_by(key.desc(), s.id).limit(limit + 1)
        rows = await self.run(lambda c: c.execute(query).mappings().all())
        page = rows[:limit]
        more = cursor_of(sort, page[-1]["key"], page[-1]["id"]) if len(rows) > limit else ""
        return Page([_recommendation(row) for row in page], more)

    async def since(self, moment: float, most: int = 1000) -> Sequence[Recommendation]:
        """Those that were opened, replaced or withdrawn since then."""
        fresh = (s.created >= moment) | (
            (s.updated >= moment) & s.state.in_(("replaced", "withdrawn"))
        )
        query = sa.select(suggestions, self._shown().label("shown")).where(fresh).limit(most)
        rows = await self.run(lambda c: c.execute(query).mappings().all())
        return [_recommendation(row) for row in rows]

    async def get(self, id: str) -> Recommendation:
        """The one of this id, or the only one whose id begins so (`rec-` may be left out)."""
        name = clean(id if id.startswith("rec-") else f"rec-{id}")
        query = (
            sa.select(suggestions, self._shown().label("shown"))
            .where(s.id.startswith(name, autoescape=True))
            .order_by(sa.func.length(s.id))
            .limit(2)
        )
        rows = await self.run(lambda c: c.execute(query).mappings().all())
        if not rows or len(name) < 6:
            raise NotFound(f"There is no suggestion {id}.", "recommendation_list names them.")
        if len(rows) > 1 and rows[0]["id"] != name:
            raise NotFound(
                f"{id} is the beginning of several: {rows[0]['id']}, {rows[1]['id']}.",
                "Give more of the id.",
            )
        return _recommendation(rows[0])

    async def reject(self, id: str, by: str, reason: str = "") -> Recommendation:
        """It stays away until the evidence has really changed. One that was applied is rejected by
        whoever takes it back."""
        now = self.clock()
        values: dict[str, Any] = {"decided_by": by, "decided": now, "said": reason}
        return await self._move(id, ("open", "applied"), "rejected", "rejected", **values)

    async def later(self, id: str, until: float) -> Recommendation:
        """Not shown as open until then; what replaces it is not, either."""
        return await self._move(
            id,
            ("open",),
            "open",
            "put off",
            hidden_until=until,
            expires=sa.func.greatest(s.expires, until + DAY),
        )

    async def applying(self, id: str, call_id: str = "", by: str = "") -> Recommendation:
        """Somebody is about to apply it: nobody else can, and nothing replaces it. The call may be
        named by doing this again, once it is known."""
        one = await self.get(id)
        if not one.suggestion.tool:
            raise MovedOn(
                f"{one.id} is a warning: there is nothing to apply.",
                "Read its reason, then reject it.",
            )
        if one.state == "applying" and call_id and one.call_id in ("", call_id):
            return await self._move(
                one.id,
                ("applying",),
                "applying",
                "applied",
                also=s.call_id.in_(["", call_id]),
                call_id=call_id,
            )
        fresh = s.expires > self.clock()
        values: dict[str, Any] = {"call_id": call_id, "decided_by": by, "decided": self.clock()}
        return await self._move(one.id, ("open",), "applying", "applied", also=fresh, **values)

    async def applied(
        self,
        id: str,
        call_id: str,
        when: float,
        baseline: Mapping[str, Any],
        watch_s: float = DAY,
    ) -> Recommendation:
        """It was carried out; it is watched for `watch_s` seconds from then on. An earlier one at
        the same place is watched no more: what comes now is not its doing."""
        one = await self.get(id)
        if one.call_id == call_id and one.state not in ("applying", "open"):
            return one
        values: dict[str, Any] = {
            "call_id": call_id,
            "applied": when,
            "watch_until": when + watch_s,
            "baseline": dict(baseline),
        }
        mine = s.call_id.in_(["", call_id])
        moved = await self._move(one.id, ("applying",), "applied", "applied", also=mine, **values)
        place = sa.select(s.place).where(s.id == one.id).scalar_subquery()
        older = (
            sa.update(suggestions)
            .where(s.place == place, s.state == "applied", s.id != one.id)
            .values(
                state="replaced",
                replaced_by=one.id,
                updated=self.clock(),
                why="Another was applied before its outcome was known.",
            )
        )
        await self.run(lambda c: c.execute(older) and None)
        return moved

    async def not_applied(self, id: str) -> Recommendation:
        """Its call was rejected, or failed: it is open again."""
        return await self._move(id, ("applying",), "open", "opened again", call_id="")

    async def prune(self, now: float | None = None) -> None:
        """Forget those that nobody decided on and that are long gone."""
        before = (self.clock() if now is None else now) - KEPT_S
        gone = s.state.in_(("replaced", "withdrawn")) & (s.updated < before)
        gone |= (s.state == "open") & (s.expires < before)
        statement = sa.delete(suggestions).where(gone, s.applied.is_(None))
        await self.run(lambda c: c.execute(statement) and None)

    async def due(self, now: float | None = None) -> Sequence[Recommendation]:
        """Those applied whose time of watching is over."""
        over = self.clock() if now is None else now
        query = (
            sa.select(suggestions, self._shown().label("shown"))
            .where(s.state == "applied", s.watch_until <= over)
            .order_by(s.watch_until)
            .limit(MOST)
        )
        rows = await self.run(lambda c: c.execute(query).mappings().all())
        return [_recommendation(row) for row in rows]

    async def watch(self, id: str, until: float) -> Recommendation:
        """Watch it for longer: there was too little to judge by."""
        return await self._move(id, ("applied",), "applied", "watched", watch_until=until)

    async def conclude(
        self,
        id: str,
        outcome: Outcome,
        figures: Mapping[str, Any],
        why: str,
        undo_call: str = "",
        held: bool | None = None,
    ) -> Recommendation:
        """How it went. An undo that is asked for afterwards is named by doing this again."""
        values: dict[str, Any] = {
            "figures": dict(figures),
            "why": why,
            "undo_call": undo_call,
            "held": held,
        }
        come_from = ("applied", outcome)
        return await self._move(id, come_from, outcome, "concluded", **values)

    def _shown(self) -> sa.ColumnElement[str]:
        now, is_open = self.clock(), s.state == "open"
        return sa.case(
            (is_open & (s.expires <= now), "expired"),
            (is_open & (s.hidden_until > now), "later"),
            else_=s.state,
        )

    async def _move(
        self,
        id: str,
        come_from: Collection[str],
        to: str,
        what: str,
        also: sa.ColumnElement[bool] | None = None,
        **values: Any,
    ) -> Recommendation:
        one = await self.get(id)
        where = [s.id == one.id, s.state.in_(come_from)] + ([] if also is None else [also])
        statement = (
            sa.update(suggestions)
            .where(*where)
            .values(state=to, updated=self.clock(), **values)
            .returning(s.id)
        )
        done = await self.run(lambda c: c.execute(statement).all())
        now = await self.get(one.id)
        if not done:
            raise MovedOn(
                f"{one.id} cannot be {what}: it is {now.state.replace('_', ' ')}.",
                f"It was replaced by {now.replaced_by}."
                if now.replaced_by
                else "Read it again, or analyze anew.",
            )
        self.moved(now)
        return now


def _recommendation(row: Mapping[Any, Any]) -> Recommendation:
    subject = Subject(*(row[n] for n in ("cluster", "namespace", "kind", "name", "container")))
    plain = ("strategy", "title", "reason", "tool", "arguments", "evidence", "bound")
    suggestion = Suggestion(
        subject=subject,
        **{name: row[name] for name in plain},
        **{name: row[name] for name in ("confidence", "monthly", "deadline", "risk")},
        notes=tuple(row["notes"]),
    )
    same = (
        "id", "created", "updated", "expires", "hidden_until", "run_id", "replaces", "replaced_by",
        "decided_by", "decided", "said", "call_id", "applied", "watch_until", "figures", "why",
        "held", "undo_call",
    )  # fmt: skip
    return Recommendation(
        state=row["shown"],
        suggestion=suggestion,
        before=row["baseline"],
        **{name: row[name] for name in same},
    )
