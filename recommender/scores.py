"""How past suggestions did, by strategy."""

from collections.abc import Collection
from dataclasses import dataclass, field

import sqlalchemy as sa

from recommender.tables import Run, suggestions

s = suggestions.c
OUTCOMES = ("kept", "harmful", "no_effect")
COUNTED = ("open", "applying", "applied", "kept", "harmful", "no_effect", "rejected")


@dataclass
class Score:
    """`counts` by state; of those whose outcome is known and that claimed at least the asked
    probability, `claimed` is how many, `held` the share whose bound held (None: none yet).
    `lately` counts the outcomes measured since the moment asked for; `saved` is what the kept ones
    of those save a month, `promised` what the open ones would."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    claimed: int = 0
    held: float | None = None
    lately: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    saved: float = 0.0
    promised: float = 0.0

    @property
    def said(self) -> str:
        """In words, empty where none has a past: `3 kept, 2 rejected; 3 of 4 bounds held`."""
        names = {"kept": "kept", "harmful": "harmful", "no_effect": "without effect",
                 "applied": "being watched", "rejected": "rejected"}  # fmt: skip
        past = [f"{n} {words}" for state, words in names.items() if (n := self.counts[state])]
        said = ", ".join(past)
        if self.held is None:
            return said
        return f"{said}; {round(self.held * self.claimed)} of {self.claimed} bounds held"


async def scores(
    run: Run,
    now: float,
    claiming: float = 0.9,
    since: float = 0.0,
    namespaces: Collection[str] | None = None,
) -> dict[str, Score]:
    """By strategy, in the order of their names; of these namespaces, or of all. `now` and `since`
    are seconds since 1970."""
    count, monthly = sa.func.count(), sa.func.sum(s.monthly)
    seen = sa.true() if namespaces is None else s.namespace.in_(sorted(namespaces))
    by_state = (
        sa.select(s.strategy, s.state, count, monthly)
        .where(seen, s.state.in_(COUNTED), (s.state != "open") | (s.expires > now))
        .group_by(s.strategy, s.state)
    )
    by_outcome = (
        sa.select(s.strategy, s.state, count, monthly)
        .where(seen, s.state.in_(OUTCOMES), s.updated >= since)
        .group_by(s.strategy, s.state)
    )
    by_held = (
        sa.select(s.strategy, s.held, count)
        .where(seen, s.held.is_not(None), s.confidence >= claiming)
        .group_by(s.strategy, s.held)
    )
    states, outcomes, claims = await run(
        lambda c: [c.execute(query).all() for query in (by_state, by_outcome, by_held)]
    )
    found: dict[str, Score] = {strategy: Score() for strategy in sorted({row[0] for row in states})}
    for strategy, state, number, month in states:
        one = found[strategy]
        one.counts[state] = number
        one.promised += month if state == "open" else 0.0
    for strategy, state, number, month in outcomes:
        found[strategy].lately[state] = number
        found[strategy].saved += month if state == "kept" else 0.0
    held = {(strategy, bool(did)): number for strategy, did, number in claims}
    for strategy, one in found.items():
        yes, no = held.get((strategy, True), 0), held.get((strategy, False), 0)
        one.claimed = yes + no
        one.held = yes / one.claimed if one.claimed else None
    return found
