"""The past of what runs, in a DuckDB file of its own: a cache that Prometheus can fill again.

A row holds a day of one series at even steps, a day long gone only its histogram. What was read
and how far it was read change in one transaction, and what is read twice lands in the same place,
so a run that is killed loses nothing and counts nothing twice.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.columns import as_matrix, points_of, register
from recommender.histograms import Day, distilled
from recommender.model import Floats, RecommenderError, Series
from recommender.queries import STEP

if TYPE_CHECKING:
    import duckdb

# DuckDB's log is folded into the file that often: a week that is read once, not every few pieces.
LOG = "64MB"
VERSION = "1"
DAY = 86_400.0
WIDTH = int(DAY / STEP)
KEPT_DAYS, KEPT_HISTOGRAM_DAYS = 15, 90

TABLES = """
CREATE TABLE meta (version VARCHAR, step DOUBLE);
CREATE TABLE series (id INTEGER, namespace VARCHAR, kind VARCHAR, name VARCHAR, container VARCHAR,
    metric VARCHAR);
CREATE TABLE samples (series INTEGER, day INTEGER, points FLOAT[]);
CREATE TABLE histograms (series INTEGER, day INTEGER, seen INTEGER, peak FLOAT, mean FLOAT,
    lowest SMALLINT, counts USMALLINT[]);
CREATE TABLE marks (query VARCHAR, namespace VARCHAR, expr VARCHAR, until DOUBLE, note VARCHAR);
CREATE TABLE facts (namespace VARCHAR, kind VARCHAR, name VARCHAR, seen DOUBLE, facts VARCHAR);
"""
# Series of which nothing is left, such as those of pods that nobody owned.
FORGOTTEN = """
DELETE FROM series WHERE id NOT IN (SELECT series FROM samples UNION SELECT series FROM histograms)
"""
NAMES = ("facts", "histograms", "marks", "meta", "samples", "series")


class Key(NamedTuple):
    """What a series is of; of a quota, `container` names the resource."""

    namespace: str
    kind: str
    name: str
    container: str
    metric: str


@dataclass(frozen=True)
class Rows:
    """Values of some keys from `start` on, `values[key, step]`."""

    start: float
    keys: Sequence[Key]
    values: Floats


@dataclass(frozen=True)
class Mark:
    """How far a query was read in a namespace, and what is to be said of it."""

    query: str
    namespace: str
    expr: str
    until: float
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """What a workload was like when it was last seen."""

    namespace: str
    kind: str
    name: str
    seen: float
    told: str


class History:
    """The file of one cluster. Threads may share it."""

    def __init__(self, path: Path | str = ":memory:", *, memory_mb: int = 256) -> None:
        """Opens or makes the file; one of another version is made anew. RecommenderError where
        another process has it."""
        import duckdb

        try:
            self._db = duckdb.connect(
                str(path),
                config={
                    "memory_limit": f"{memory_mb}MB",
                    "threads": 2,
                    "checkpoint_threshold": LOG,
                },
            )
        except duckdb.IOException as error:
            raise RecommenderError(
                f"The history {path} cannot be opened: {str(error).splitlines()[0]}",
                "Another process may have it open; else remove it: it is filled again.",
            ) from None
        self._lock = threading.RLock()
        self._ids: dict[Key, int] = {}
        self._next = 0
        self._prepare()

    def close(self) -> None:
        self._db.close()

    def _prepare(self) -> None:
        with self._writing() as db:
            there = {row[0] for row in db.execute("SHOW TABLES").fetchall()}
            if there == set(NAMES) and db.execute("SELECT * FROM meta").fetchall() == [
                (VERSION, STEP)
            ]:
                for row in db.execute("SELECT * FROM series").fetchall():
                    self._ids[Key(*row[1:])] = row[0]
                self._next = max(self._ids.values(), default=-1) + 1
                return
            for name in there:
                db.execute(f'DROP TABLE "{name}"')
            db.execute(TABLES)
            db.execute("INSERT INTO meta VALUES (?, ?)", [VERSION, STEP])

    @contextmanager
    def _writing(self) -> "Iterator[duckdb.DuckDBPyConnection]":
        """All of it or nothing. RecommenderError where the file cannot be written."""
        import duckdb

        with self._lock, self._db.cursor() as db:
            before = len(self._ids)
            try:
                db.execute("BEGIN")
                yield db
                db.execute("COMMIT")
            except BaseException as error:
                for key in list(self._ids)[before:]:
                    del self._ids[key]
                with suppress(duckdb.Error):
                    db.execute("ROLLBACK")
                if isinstance(error, duckdb.Error):
                    raise RecommenderError(
                        f"The history cannot be written: {str(error).splitlines()[0]}",
                        "See whether its disk is full. It may be removed: it is filled again.",
                    ) from error
                raise

    def keep(self, rows: Iterable[Rows], marks: Iterable[Mark]) -> None:
        """Add what was read, and how far that was."""
        with self._writing() as db:
            for some in rows:
                for day, first, part in _by_day(some):
                    self._keep_day(db, day, first, part)
            _replace_marks(db, list(marks))

    def _keep_day(self, db: "duckdb.DuckDBPyConnection", day: int, first: int, rows: Rows) -> None:
        known = np.asarray((~np.isnan(rows.values)).any(axis=1))
        if not known.any():
            return
        keys = [key for key, wanted in zip(rows.keys, known, strict=True) if wanted]
        ids = self._numbered(db, keys)
        whole = np.full((len(ids), WIDTH), np.nan, dtype=np.float32)
        register(db, "wanted", {"series": ids})
        old = "FROM samples WHERE day = ? AND series IN (SELECT series FROM wanted)"
        before, past = points_of(db, f"SELECT series, points {old}", [day], WIDTH)
        if len(before):
            row_of = {int(one): row for row, one in enumerate(ids)}
            whole[[row_of[int(one)] for one in before]] = past
            db.execute(f"DELETE {old}", [day])
        new = rows.values[known].astype(np.float32)
        here = whole[:, first : first + new.shape[1]]
        np.copyto(here, new, where=~np.isnan(new))
        register(db, "arriving", {"series": ids, "points": whole})
        db.execute("INSERT INTO samples SELECT series, ?, points FROM arriving", [day])

    def _numbered(self, db: "duckdb.DuckDBPyConnection", keys: Sequence[Key]) -> NDArray[np.int32]:
        """The keys' numbers, new ones for those that are new."""
        new = [key for key in dict.fromkeys(keys) if key not in self._ids]
        if new:
            numbers = range(self._next, self._next + len(new))
            self._next = numbers.stop
            self._ids.update(zip(new, numbers, strict=True))
            columns: dict[str, Any] = {"id": np.arange(numbers.start, numbers.stop, dtype=np.int32)}
            columns |= {name: [getattr(key, name) for key in new] for name in Key._fields}
            register(db, "newcomers", columns)
            db.execute("INSERT INTO series SELECT * FROM newcomers")
        return np.array([self._ids[key] for key in keys], dtype=np.int32)

    def marks(self) -> dict[tuple[str, str], Mark]:
        """How far everything was read, by query and namespace."""
        with self._db.cursor() as db:
            found = db.execute("SELECT query, namespace, expr, until, note FROM marks").fetchall()
        return {(row[0], row[1]): Mark(*row) for row in found}

    def put_facts(self, facts: Sequence[Facts]) -> None:
        """In place of what was known of these workloads."""
        if not facts:
            return
        fields = ("namespace", "kind", "name", "seen", "told")
        with self._writing() as db:
            register(
                db, "arriving", {name: [getattr(one, name) for one in facts] for name in fields}
            )
            db.execute("DELETE FROM facts WHERE (namespace, kind, name) IN "
                       "(SELECT (namespace, kind, name) FROM arriving)")  # fmt: skip
            db.execute("INSERT INTO facts SELECT * FROM arriving")

    def facts(self, namespace: str | None = None) -> list[Facts]:
        """What is known of the workloads of one or all namespaces, in order."""
        where = "" if namespace is None else "WHERE namespace = ?"
        with self._db.cursor() as db:
            found = db.execute(
                f"SELECT * FROM facts {where} ORDER BY namespace, kind, name",  # noqa: S608
                [] if namespace is None else [namespace],
            ).fetchall()
        return [Facts(*row) for row in found]

    def keys(self, namespace: str | None = None) -> dict[Key, int]:
        """The series of one or all namespaces, with their numbers."""
        ids = dict(self._ids)
        if namespace is None:
            return ids
        return {key: number for key, number in ids.items() if key.namespace == namespace}

    def series(self, numbers: Collection[int], start: float, end: float) -> dict[int, Series]:
        """Series up to `end`, at full steps, with NaN where nothing is known: all from `start` on,
        or from the day on that the first of them is known at."""
        since, known, values = self.rows(numbers, start, end)
        return {
            number: Series(since, STEP, row)
            for number, row in zip(known.tolist(), values, strict=True)
        }

    def rows(
        self, numbers: Collection[int], start: float, end: float
    ) -> tuple[float, NDArray[np.int32], Floats]:
        """As `series`: where they begin, the numbers of those that are known, and a row of each."""
        first, last = int(start // STEP), int(-(-end // STEP))
        with self._db.cursor() as db:
            register(db, "wanted", {"series": np.array(list(numbers), dtype=np.int32)})
            days = _days(db, first // WIDTH, (last - 1) // WIDTH)
        first = max(first, min((day for day, _, _ in days), default=0) * WIDTH)
        known = np.unique(np.concatenate([np.empty(0, np.int32), *(ids for _, ids, _ in days)]))
        values = np.full((len(known), max(0, last - first)), np.nan)
        for day, ids, points in days:
            at = day * WIDTH - first
            low, high = max(at, 0), min(at + WIDTH, last - first)
            values[np.searchsorted(known, ids), low:high] = points[:, low - at : high - at]
        return first * STEP, known, values

    def days(self, key: Key) -> list[Day]:
        """Each day of a series as a histogram, the oldest first."""
        number = self._ids.get(key, -1)
        with self._db.cursor() as db:
            old = db.execute(
                "SELECT day, seen, peak, mean, lowest, counts FROM histograms WHERE series = ?",
                [number],
            ).fetchall()
            new = db.execute(
                "SELECT day, points FROM samples WHERE series = ?", [number]
            ).fetchall()
        days = [Day(d, n, top, mean, low, np.array(c, float)) for d, n, top, mean, low, c in old]
        days += filter(None, (distilled(day, np.array(points)) for day, points in new))
        return sorted(days, key=lambda day: day.day)

    def prune(self, now: float) -> None:
        """Make histograms of days long gone, and forget the oldest, one day at a time."""
        last = int(now // DAY)
        while True:
            with self._writing() as db:
                ((oldest,),) = db.execute("SELECT min(day) FROM samples").fetchall()
                if oldest is None or oldest >= last - KEPT_DAYS:
                    break
                ids, past = points_of(
                    db, "SELECT series, points FROM samples WHERE day = ?", [oldest], WIDTH
                )
                made = [(one, distilled(oldest, day)) for one, day in zip(ids, past, strict=True)]
                _keep_histograms(db, [(int(one), day) for one, day in made if day])
                db.execute("DELETE FROM samples WHERE day = ?", [oldest])
        with self._writing() as db:
            db.execute("DELETE FROM histograms WHERE day < ?", [last - KEPT_HISTOGRAM_DAYS])
            db.execute("DELETE FROM facts WHERE seen < ?", [now - KEPT_DAYS * DAY])
            db.execute("DELETE FROM marks WHERE until < ?", [now - KEPT_DAYS * DAY])
            gone = db.execute(f"{FORGOTTEN} RETURNING id").fetchall()
        with self._lock:
            numbers = {number for (number,) in gone}
            self._ids = {key: one for key, one in self._ids.items() if one not in numbers}


def _by_day(rows: Rows) -> Iterator[tuple[int, int, Rows]]:
    """Rows cut at midnight: the day, the first step in it, and what belongs there."""
    first, column = round(rows.start / STEP), 0
    while column < rows.values.shape[1]:
        day, at = divmod(first + column, WIDTH)
        width = min(WIDTH - at, rows.values.shape[1] - column)
        yield day, at, Rows(0, rows.keys, rows.values[:, column : column + width])
        column += width


def _days(
    db: "duckdb.DuckDBPyConnection", first: int, last: int
) -> list[tuple[int, NDArray[np.int32], NDArray[np.float32]]]:
    """Each day of the wanted series, from the first to the last."""
    table = db.sql(
        "SELECT day, series, points FROM samples"
        " WHERE series IN (SELECT series FROM wanted) AND day BETWEEN ? AND ? ORDER BY day",
        params=[first, last],
    ).to_arrow_table()
    days, ids = table.column("day").to_numpy(), table.column("series").to_numpy()
    points = as_matrix(table.column("points"), WIDTH)
    return [(int(day), ids[days == day], points[days == day]) for day in np.unique(days)]


def _replace_marks(db: "duckdb.DuckDBPyConnection", marks: Sequence[Mark]) -> None:
    if not marks:
        return
    fields = ("query", "namespace", "expr", "until", "note")
    register(db, "reached", {name: [getattr(one, name) for one in marks] for name in fields})
    db.execute(
        "DELETE FROM marks WHERE (query, namespace) IN (SELECT (query, namespace) FROM reached)"
    )
    db.execute("INSERT INTO marks SELECT * FROM reached")


def _keep_histograms(db: "duckdb.DuckDBPyConnection", days: Sequence[tuple[int, Day]]) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]

    if not days:
        return
    columns: dict[str, Any] = {"series": np.array([one for one, _ in days], dtype=np.int32)}
    for name in ("day", "seen", "peak", "mean", "lowest"):
        columns[name] = [getattr(day, name) for _, day in days]
    counts = [day.counts.astype(np.uint16) for _, day in days]
    columns["counts"] = pa.array(counts, pa.list_(pa.uint16()))
    register(db, "arriving", columns)
    db.execute("INSERT INTO histograms SELECT * FROM arriving")
