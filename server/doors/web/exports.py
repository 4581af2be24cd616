"""The audit trail as a file, with the filters of its page."""

import csv
import io
from typing import Any

from starlette.responses import Response

from server.doors.web.views import audit_filter
from server.doors.web.visits import Visit
from server.plain import no_formula

MOST_LINES = 100_000
COLUMNS = (
    "time", "subject", "person", "door", "tool", "tenant", "call_id", "state", "code", "policy",
    "duration_ms",
)  # fmt: skip


async def as_csv(visit: Visit) -> Response:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for line in await _lines(visit):
        writer.writerow([no_formula(line.get(name, "")) for name in COLUMNS])
    return _file(out.getvalue().encode(), "audit.csv", "text/csv; charset=utf-8")


async def as_parquet(visit: Visit) -> Response:
    from datetime import datetime

    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    kinds = {"time": pa.timestamp("us", tz="UTC"), "duration_ms": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    lines = await _lines(visit)
    rows = [
        {n: line.get(n) for n in COLUMNS} | {"time": datetime.fromisoformat(line["time"])}
        for line in lines
    ]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), out)
    return _file(out.getvalue(), "audit.parquet", "application/vnd.apache.parquet")


async def _lines(visit: Visit) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    next = ""
    while len(found) < MOST_LINES:
        answer = await visit.read("audit_list", **audit_filter(visit), limit=500, next=next)
        found += answer["lines"]
        if not (next := answer.get("next", "")):
            break
    return found


def _file(body: bytes, name: str, kind: str) -> Response:
    disposition = f'attachment; filename="{name}"'
    return Response(body, media_type=kind, headers={"content-disposition": disposition})


EXPORTS = (("/audit.csv", as_csv), ("/audit.parquet", as_parquet))
