"""The audit trail: verified, and exported."""

import csv
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from server.commands.running import DONE, FAILED, caller, connected, given_token, must_have
from server.commands.show import err, out, show_json
from server.plain import no_formula
from server.seat import Seat
from server.settings import Settings, load
from tools.calls import Gate
from tools.errors import Code, ToolError
from tools.holdings import AuditLine, TrailState

PAGE = 500


async def verify(json: bool, **where: Any) -> int:
    """By whoever owns the state; by ourselves where nobody does."""
    remote = where["url"] or os.environ.get("PILOTHOUSE_URL") or given_token(where["token"])
    state = None if remote else await _verified_here(where)
    if state is None:
        async with connected(strict=False, **where) as gate:
            answer = must_have(await gate.call(caller(), "audit_verify", {}))
        state = TrailState.model_validate(answer)
    if json:
        show_json(state.model_dump())
    else:
        out.print(f"{state.records} records, {state.anchors} anchors; the last hash is")
        out.print(state.head or "none")
        for fault in state.faults:
            err.print(fault, style="red", markup=False)
        out.print("The trail is not whole." if state.faults else "The trail is whole.")
    return FAILED if state.faults else DONE


async def _verified_here(where: Mapping[str, Any]) -> TrailState | None:
    from server import anchors
    from server.journal import Journal
    from server.trail import verified
    from server.vault import Vault

    options = {name: value for name, value in where.items() if name not in ("token", "url")}
    settings: Settings = load(**options)
    if (seat := Seat.take(settings.state)) is None:
        return None
    try:
        vault = Vault.open(settings.state, settings.key.get_secret_value())
        journal = await Journal.open(settings.database_url, vault)
        try:
            return await verified(journal, settings.state / anchors.FILE)
        finally:
            await journal.close()
    finally:
        seat.leave()


async def export(file: Path | None, format: str, filters: Mapping[str, str], **where: Any) -> int:
    """As JSON Lines, CSV or Parquet, newest first: into a file, or to standard output."""
    if format == "parquet" and file is None:
        raise ToolError(Code.INVALID_ARGUMENT, "Parquet needs a file.", "Give --output FILE.")
    async with connected(strict=False, **where) as gate:
        lines = _lines(gate, filters)
        if format == "parquet":
            assert file is not None
            number = await _as_parquet(file, lines)
        else:
            with file.open("w") if file else _stdout() as target:
                number = await _as_text(target, lines, format)
    err.print(f"{number} records.", style="dim")
    return DONE


async def _lines(gate: Gate, filters: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
    asked: dict[str, Any] = {**filters, "limit": PAGE, "hashes": True}
    while True:
        answer = must_have(await gate.call(caller(), "audit_list", asked))
        for line in answer["lines"]:
            yield AuditLine.model_validate(line).model_dump(mode="json")
        if not answer.get("next"):
            return
        asked["next"] = answer["next"]


async def _as_text(target: Any, lines: AsyncIterator[dict[str, Any]], format: str) -> int:
    number = 0
    table = csv.DictWriter(target, list(AuditLine.model_fields)) if format == "csv" else None
    if table:
        table.writeheader()
    async for line in lines:
        number += 1
        if table:
            table.writerow({name: no_formula(value) for name, value in line.items()})
        else:
            target.write(json.dumps(line) + "\n")
    return number


async def _as_parquet(file: Path, lines: AsyncIterator[dict[str, Any]]) -> int:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    kinds: dict[Any, Any] = {
        int: pa.int64(),
        float: pa.float64(),
        datetime: pa.timestamp("us", "UTC"),
    }
    fields = AuditLine.model_fields
    schema = pa.schema([(n, kinds.get(f.annotation, pa.string())) for n, f in fields.items()])
    number, held = 0, []
    with parquet.ParquetWriter(file, schema) as writer:
        async for line in lines:
            number += 1
            held.append(line | {"time": datetime.fromisoformat(line["time"])})
            if len(held) == 10 * PAGE:
                writer.write_table(pa.Table.from_pylist(held, schema))
                held = []
        writer.write_table(pa.Table.from_pylist(held, schema))
    return number


def _stdout() -> Any:
    from contextlib import nullcontext

    return nullcontext(sys.stdout)
