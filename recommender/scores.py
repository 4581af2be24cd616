"""How past suggestions did, by strategy."""

from dataclasses import dataclass, field

import sqlalchemy as sa

from recommender.tables import Run, suggestions

s = suggestions.c
COUNTED = ("open", "applying", "applied", "kept", "harmful", "no_effect", "rejected")


@dataclass
class Score:
    """`counts` by state; of those whose outcome is known and that claimed at least the asked
    probability, `claimed` is how many, `held` the share whose bound held (None: none yet).
    `saved` is what the kept ones save a month, `promised` what the open ones would."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    claimed: int = 0
    held: float | None = None
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


async def scores(run: Run, now: float, claiming: float = 0.9) -> dict[str, Score]:
    """By strategy, in the order of their names."""
    count, monthly = sa.func.count(), sa.func.sum(s.monthly)
    by_state = (
        sa.select(s.strategy, s.state, count, monthly)
        .where(s.state.in_(COUNTED), (s.state != "open") | (s.expires > now))
        .group_by(s.strategy, s.state)
    )
    by_held = (
        sa.select(s.strategy, s.held, count)
        .where(s.held.is_not(None), s.confidence >= claiming)
        .group_by(s.strategy, s.held)
    )
    states, claims = await run(lambda c: (c.execute(by_state).all(), c.execute(by_held).all()))
    found: dict[str, Score] = {strategy: Score() for strategy in sorted({row[0] for row in states})}
    for strategy, state, number, month in states:
        one = found[strategy]
        one.counts[state] = number
        one.saved += month if state == "kept" else 0.0
        one.promised += month if state == "open" else 0.0
    held = {(strategy, bool(did)): number for strategy, did, number in claims}
    for strategy, one in found.items():
        yes, no = held.get((strategy, True), 0), held.get((strategy, False), 0)
        one.claimed = yes + no
        one.held = yes / one.claimed if one.claimed else None
    return found
