"""Whole columns into DuckDB and out of it, by way of Arrow."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import duckdb


def register(db: "duckdb.DuckDBPyConnection", name: str, columns: Mapping[str, Any]) -> None:
    """A table of this connection, from columns; one of two dimensions is a list for each row."""
    import pyarrow as pa  # type: ignore[import-untyped]

    def column(values: Any) -> Any:
        if isinstance(values, np.ndarray) and values.ndim == 2:
            width = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
            return pa.ListArray.from_arrays(width, pa.array(values.ravel()))
        return pa.array(values)

    db.register(name, pa.table({name: column(values) for name, values in columns.items()}))


def points_of(
    db: "duckdb.DuckDBPyConnection", query: str, values: list[Any], width: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The columns `series` and `points` of a query, the latter so wide."""
    table = db.sql(query, params=values).to_arrow_table()
    return table.column("series").to_numpy(), as_matrix(table.column("points"), width)


def as_matrix(column: Any, width: int) -> NDArray[np.float32]:
    """A column of lists, all of one length, as one array."""
    import pyarrow as pa

    flat = pa.chunked_array([chunk.flatten() for chunk in column.chunks], pa.float32())
    found: NDArray[np.float32] = flat.to_numpy().reshape(-1, width)
    return found
