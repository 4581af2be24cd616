"""The recommender's own tables. Moments are seconds since 1970: the same on every database."""

import json
from collections.abc import Awaitable, Callable, Mapping
from math import isfinite
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

T = TypeVar("T")


class Run(Protocol):
    """A database: runs some work in one transaction. It may be run twice, the first time undone."""

    def __call__(self, work: Callable[[sa.Connection], T], /) -> Awaitable[T]: ...


class Json(sa.types.TypeDecorator[Any]):
    """A JSON value as text. Evidence comes out of arrays: numpy's numbers are numbers too, and what
    is not known (NaN) is null."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else json.dumps(plain(value), separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else json.loads(value)


class Words(sa.types.TypeDecorator[str]):
    """A text that somebody wrote, without what a database refuses: NUL and half a character."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else clean(value)


def clean(text: str) -> str:
    """A text without NUL, and a question mark for half a character."""
    return text.replace("\0", "").encode(errors="replace").decode()


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, (str, int)):  # most are, and asking for more takes time
        return value
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value))
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


metadata = sa.MetaData()

# `place` is what only one may be open at: a strategy and a subject. No column that changes has an
# index: DuckDB would rewrite the row.
suggestions = sa.Table(
    "suggestions",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("place", Words, nullable=False),
    sa.Column("strategy", Words, nullable=False),
    sa.Column("cluster", Words, nullable=False),
    sa.Column("namespace", Words, nullable=False),
    sa.Column("kind", Words, nullable=False),
    sa.Column("name", Words, nullable=False),
    sa.Column("container", Words, nullable=False),
    sa.Column("title", Words, nullable=False),
    sa.Column("reason", Words, nullable=False),
    sa.Column("tool", sa.Text, nullable=False),
    sa.Column("arguments", Json, nullable=False),
    sa.Column("evidence", Json, nullable=False),
    sa.Column("bound", Json, nullable=False),
    sa.Column("confidence", sa.Double),
    sa.Column("monthly", sa.Double, nullable=False),
    sa.Column("deadline", sa.Double),
    sa.Column("risk", sa.Text, nullable=False),
    sa.Column("notes", Json, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("updated", sa.Double, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
    sa.Column("hidden_until", sa.Double, nullable=False),
    sa.Column("run_id", Words, nullable=False),
    sa.Column("replaces", sa.Text, nullable=False),
    sa.Column("replaced_by", sa.Text, nullable=False),
    # Who rejected or applied it, and what they said.
    sa.Column("decided_by", Words, nullable=False),
    sa.Column("decided", sa.Double),
    sa.Column("said", Words, nullable=False),
    sa.Column("call_id", Words, nullable=False),
    sa.Column("applied", sa.Double),
    sa.Column("watch_until", sa.Double),
    sa.Column("baseline", Json),
    # How it went.
    sa.Column("figures", Json),
    sa.Column("why", Words, nullable=False),
    sa.Column("held", sa.Boolean),
    sa.Column("undo_call", Words, nullable=False),
)

runs = sa.Table(
    "suggestion_runs",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("started_by", Words, nullable=False),
    sa.Column("started", sa.Double, nullable=False),
    sa.Column("ended", sa.Double),
    sa.Column("scope", Json, nullable=False),
    sa.Column("seen", Json, nullable=False),
    sa.Column("warnings", Json, nullable=False),
    sa.Column("recorded", Json, nullable=False),
    sa.Column("error", Words, nullable=False),
    sa.Column("hint", Words, nullable=False),
)

# Whoever records takes the one row: two at once would each open their own.
turns = sa.Table(
    "suggestion_turns",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("taken", sa.BigInteger, nullable=False),
)


def take_turn(connection: sa.Connection) -> None:
    """Wait until nobody else records, and let nobody record until the transaction ends."""
    connection.execute(sa.update(turns).values(taken=turns.c.taken + 1))
