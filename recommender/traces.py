"""Recorded usage to replay: read from a Parquet file, laid on a grid of whole days."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recommender.model import Floats, RecommenderError

DAY = 86400
COLUMNS = {"cpu_cores": "cpu", "memory_bytes": "memory", "requests_per_second": "requests"}


@dataclass(frozen=True)
class Traces:
    """`values[what][i, j]` is what series i used in the `step` seconds from `start + j * step`
    (`what`: cpu in cores, memory in bytes, requests per second); NaN where nothing is known.
    `start` is a midnight (UTC), and the days are whole."""

    series: tuple[str, ...]
    start: float
    step: float
    values: dict[str, Floats]

    @property
    def days(self) -> int:
        width = next(iter(self.values.values())).shape[1] if self.values else 0
        return round(width * self.step / DAY)


def read_traces(path: str | Path) -> Traces:
    """Columns `series, ts` and any of `cpu_cores`, `memory_bytes`, `requests_per_second`.

    Raises `RecommenderError` for a file that is not such a one.
    """
    import duckdb

    try:
        with duckdb.connect() as db:
            rows = db.read_parquet(str(path))
            what = [c for c in COLUMNS if c in rows.columns]
            if not what or not {"series", "ts"} <= set(rows.columns):
                raise RecommenderError(
                    f"{path} has the columns {', '.join(rows.columns)}.",
                    f"It needs series, ts and at least one of {', '.join(COLUMNS)}.",
                )
            said = ", ".join(f"{c}::double as {c}" for c in what)
            got = rows.project(f"series::varchar as series, epoch(ts)::double as ts, {said}")
            table = got.fetchnumpy()
    except duckdb.Error as error:
        raise RecommenderError(
            f"{path} cannot be read: {str(error).splitlines()[0]}", "Give a Parquet file."
        ) from None
    filled = {c: _floats(table[c]) for c in ("ts", *what)}
    return on_grid(table["series"], filled.pop("ts"), {COLUMNS[c]: filled[c] for c in what})


def on_grid(names: Iterable[Any], ts: Floats, values: dict[str, Floats]) -> Traces:
    """Samples as they come (any order, gaps) to even steps; of two in one step the higher counts.

    The step is the commonest distance between a series' samples. Raises `RecommenderError`.
    """
    series, rows = np.unique(np.asarray(list(names), dtype=str), return_inverse=True)
    order = np.lexsort((ts, rows))
    gaps = np.diff(ts[order])[np.diff(rows[order]) == 0]
    gaps = gaps[gaps > 0]
    if not len(gaps):
        raise RecommenderError("No series has two samples.", "Give recorded usage of some days.")
    sizes, counts = np.unique(gaps, return_counts=True)
    step = float(sizes[np.argmax(counts)])
    if DAY % step:
        raise RecommenderError(f"A day is not a whole number of {step:g} s steps.", "Resample it.")
    start = float(ts.min() // DAY * DAY)
    width = int(np.ceil((ts.max() + step - start) / DAY)) * round(DAY / step)
    if width * len(series) > 500_000_000:
        raise RecommenderError("That is more than fits in memory.", "Give fewer series or days.")
    columns = ((ts - start) // step).astype(int)
    grid = {}
    for what, given in values.items():
        filled = np.full((len(series), width), -np.inf)
        np.maximum.at(filled, (rows, columns), np.where(np.isfinite(given), given, -np.inf))
        grid[what] = np.where(np.isfinite(filled), filled, np.nan)
    return Traces(tuple(series.tolist()), start, step, grid)


def _floats(column: Any) -> Floats:
    return np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan)
