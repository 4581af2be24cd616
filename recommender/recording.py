"""What a run has found, against what stands: new ones open, others are refreshed or replaced."""

import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from recommender.likeness import changes, differs, same_offer
from recommender.model import Subject, Suggestion
from recommender.tables import suggestions, take_turn

Covered = Callable[[str, Subject], bool]

# One transaction holds up everybody else's: so many suggestions at a time.
AT_ONCE = 100
STANDING = ("open", "applying", "rejected", "withdrawn")
# Refreshed while the offer itself stays as it was read.
REFRESHED = ("evidence", "bound", "confidence", "monthly", "deadline", "risk", "notes")


@dataclass
class Recorded:
    """What became of what was found, as ids. `replaced` are the new ones, `returned` those that had
    been withdrawn, `suppressed` the rejected ones that keep theirs away, `held` those that are
    being applied right now."""

    opened: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    suppressed: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Recorded") -> "Recorded":
        for one in fields(self):
            getattr(self, one.name).extend(getattr(other, one.name))
        return self

    def counts(self) -> dict[str, int]:
        return {one.name: len(getattr(self, one.name)) for one in fields(self)}


def place_of(strategy: str, subject: Subject) -> str:
    """What only one suggestion may be open at."""
    return json.dumps([strategy, *astuple(subject)], separators=(",", ":"))


def by_place(found: Iterable[Suggestion]) -> dict[str, Suggestion]:
    """One for each place: the first counts, others are told of in its notes."""
    places: dict[str, Suggestion] = {}
    for one in found:
        place = place_of(one.strategy, one.subject)
        first = places.get(place)
        places[place] = replace(first, notes=(*first.notes, f"Also: {one.title}")) if first else one
    return places


def record_some(
    connection: sa.Connection,
    found: Mapping[str, Suggestion],
    run_id: str,
    now: float,
    expires: float,
) -> Recorded:
    """Record some of what was found, by place. Doing it again changes nothing."""
    take_turn(connection)
    standing = _standing(connection, found)
    ids = iter(_new_ids(connection, len(found)))
    recorded = Recorded()
    refreshed, added = [], []
    for place, one in found.items():
        there = standing[place]
        if there["applying"]:
            recorded.held.append(there["applying"][-1]["id"])
            continue
        open_ = there["open"][-1] if there["open"] else None
        if open_ and not differs(open_, one):
            refreshed.append(_fresh(open_, one) | {"id_": open_["id"]})
            recorded.unchanged.append(open_["id"])
            continue
        rejected = there["rejected"]
        away = next((row for row in reversed(rejected) if not changes(row, one)), None)
        if away is not None:
            recorded.suppressed.append(away["id"])
            if open_ and _moved(connection, open_["id"], "open", "withdrawn", now):
                recorded.withdrawn.append(open_["id"])
            continue
        gone = there["withdrawn"][-1] if there["withdrawn"] else None
        if not open_ and gone and not differs(gone, one):
            if _moved(connection, gone["id"], "withdrawn", "open", now):
                refreshed.append(_fresh(gone, one) | {"id_": gone["id"]})
                recorded.returned.append(gone["id"])
            continue
        new = next(ids)
        if rejected:
            one = replace(one, reason=f"{one.reason} {_since(rejected[-1], one)}")
        row = _row(one) | {"id": new, "place": place, "replaces": "", "hidden_until": 0.0}
        if open_:
            row |= {"replaces": open_["id"], "hidden_until": open_["hidden_until"]}
        added.append(row)
    free = _replaced(connection, {row["replaces"]: row["id"] for row in added}, now)
    # One that somebody began to apply, or rejected, just now is not replaced.
    recorded.held += [row["replaces"] for row in added if row["replaces"] not in free]
    added = [row for row in added if row["replaces"] in free]
    for row in added:
        (recorded.replaced if row["replaces"] else recorded.opened).append(row["id"])
    times = {"updated": now, "expires": expires, "run_id": run_id}
    if refreshed:
        connection.execute(_refresh([row | times for row in refreshed]))
    if added:
        connection.execute(
            sa.insert(suggestions), [row | times | {"created": now} for row in added]
        )
    return recorded


def withdraw(
    connection: sa.Connection, found: Collection[str], covered: Covered, now: float
) -> list[str]:
    """Withdraw the open ones that were looked for and not found; their ids."""
    take_turn(connection)
    s = suggestions.c
    query = sa.select(
        s.id, s.place, s.strategy, s.cluster, s.namespace, s.kind, s.name, s.container
    ).where(s.state == "open")
    gone = [
        id
        for id, place, strategy, *subject in connection.execute(query).all()
        if place not in found and covered(strategy, Subject(*subject))
    ]
    withdrawn: list[str] = []
    for first in range(0, len(gone), 500):
        statement = (
            sa.update(suggestions)
            .where(s.id.in_(gone[first : first + 500]), s.state == "open")
            .values(state="withdrawn", updated=now)
            .returning(s.id)
        )
        withdrawn += connection.execute(statement).scalars().all()
    return withdrawn


def covering(covered: Collection[tuple[str, Subject]] | Covered) -> Covered:
    """What was looked at, as a question. A workload that was covered has its containers covered."""
    if callable(covered):
        return covered
    known = set(covered)
    return lambda strategy, subject: bool(
        {(strategy, subject), (strategy, replace(subject, container=""))} & known
    )


def _standing(
    connection: sa.Connection, places: Collection[str]
) -> defaultdict[str, defaultdict[str, list[Mapping[str, Any]]]]:
    """By place and state, the oldest first."""
    query = (
        sa.select(suggestions)
        .where(suggestions.c.place.in_(list(places)), suggestions.c.state.in_(STANDING))
        .order_by(suggestions.c.updated, suggestions.c.id)
    )
    found: defaultdict[str, defaultdict[str, list[Mapping[str, Any]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in connection.execute(query).mappings().all():
        found[row["place"]][row["state"]].append(dict(row))
    return found


def _new_ids(connection: sa.Connection, count: int) -> list[str]:
    """Short ones that nobody has; longer only where the short ones are taken."""
    found: dict[str, None] = {}
    for length in (4, 5, 6, 8, 12):
        some = {f"rec-{secrets.token_hex(length)[:length]}" for _ in range(count - len(found))}
        query = sa.select(suggestions.c.id).where(suggestions.c.id.in_(some))
        taken = set(connection.execute(query).scalars().all())
        found |= dict.fromkeys(some - taken)
        if len(found) >= count:
            break
    return list(found)


def _moved(
    connection: sa.Connection, id: str, come_from: str, to: str, now: float, **values: Any
) -> bool:
    statement = (
        sa.update(suggestions)
        .where(suggestions.c.id == id, suggestions.c.state == come_from)
        .values(state=to, updated=now, **values)
        .returning(suggestions.c.id)
    )
    return bool(connection.execute(statement).all())


def _replaced(connection: sa.Connection, by: Mapping[str, str], now: float) -> set[str]:
    """Those of the old ones that were replaced, and nobody."""
    old = [id for id in by if id]
    if not old:
        return {""}
    s = suggestions.c
    statement = (
        sa.update(suggestions)
        .where(s.id.in_(old), s.state == "open")
        .values(state="replaced", updated=now, replaced_by=sa.case(dict(by), value=s.id))
        .returning(s.id)
    )
    return {"", *connection.execute(statement).scalars()}


def _fresh(row: Mapping[str, Any], found: Suggestion) -> dict[str, Any]:
    values = _measured(found)
    # Words go with the arguments: those of a run that moved them a little would contradict them.
    words = found if same_offer(row, found) else None
    return values | {
        "title": words.title if words else row["title"],
        "reason": words.reason if words else row["reason"],
    }


def _measured(found: Suggestion) -> dict[str, Any]:
    values = {name: getattr(found, name) for name in REFRESHED}
    sure = found.confidence
    unknown = sure is None or sure != sure
    # They may be numpy's, which not every driver takes for numbers.
    return values | {
        "confidence": None if sure is None or unknown else float(sure),
        "monthly": float(found.monthly),
        "deadline": None if found.deadline is None else float(found.deadline),
    }


def _refresh(rows: Sequence[Mapping[str, Any]]) -> sa.Update:
    """All in one statement, a column at a time: one for each takes a database of columns ten times
    as long, and so does making a statement of as many values."""
    names = (*REFRESHED, "title", "reason", "updated", "expires", "run_id")
    of = {"id_": suggestions.c.id.type} | {name: suggestions.c[name].type for name in names}
    arrays = (
        sa.func.unnest(sa.cast([row[name] for row in rows], sa.ARRAY(type_, dimensions=1))).label(
            name
        )
        for name, type_ in of.items()
    )
    fresh = sa.select(*arrays).subquery("fresh")
    return (
        sa.update(suggestions)
        .where(suggestions.c.id == fresh.c.id_, suggestions.c.state == "open")
        .values({name: fresh.c[name] for name in names})
    )


def _row(one: Suggestion) -> dict[str, Any]:
    names = ("strategy", "title", "reason", "tool", "arguments")
    subject = ("cluster", "namespace", "kind", "name", "container")
    empty = ("replaced_by", "decided_by", "said", "call_id", "why", "undo_call")
    return (
        {name: getattr(one, name) for name in names}
        | _measured(one)
        | {name: getattr(one.subject, name) for name in subject}
        | dict.fromkeys(empty, "")
        | {"state": "open"}
    )


def _since(rejected: Mapping[str, Any], found: Suggestion) -> str:
    """Why one is back that was rejected."""
    first, *more = [str(one) for one in changes(rejected, found)]
    day = datetime.fromtimestamp(rejected["decided"], UTC)
    said = f" (“{rejected['said']}”)" if rejected["said"] else ""
    also = f", and {len(more)} more changed" if more else ""
    return (
        f"It was rejected on {day:%Y-%m-%d} by {rejected['decided_by']}{said}; "
        f"since then {first}{also}."
    )
