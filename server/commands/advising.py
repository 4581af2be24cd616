"""What should be done, and how well advice would have done on what was recorded."""

import csv
import io
import sys
from pathlib import Path
from typing import Any, Literal

from server.commands.calling import Telling
from server.commands.running import DONE, caller, connected, must_have
from server.commands.show import err, out, show_json, show_rows
from tools.errors import Code, ToolError
from tools.holdings import Step

Output = Literal["table", "json", "csv", "html", "yaml"]
STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; overflow-x: auto }
table { border-collapse: collapse }
th, td { padding: .4rem .8rem; text-align: left; border-bottom: 1px solid #8884 }
tr { vertical-align: top }
th { text-transform: capitalize }
td { white-space: nowrap }
td:nth-child(5) { white-space: normal; min-width: 20rem }
.n { text-align: right; font-variant-numeric: tabular-nums }
"""
CAUTIONS = (0.25, 0.5, 1.0, 2.0, 4.0)


async def analyze(tenant: str, limit: int, output: Output, **where: Any) -> int:
    """Work the recommendations out anew, and show them, urgent first."""
    named = {"tenant": tenant} if tenant else {}
    async with connected(**where) as gate:
        with Telling() as progress:
            outcome = await gate.call(
                caller(), "recommendation_analyze", named, progress=progress, wait_s=600
            )
        run = must_have(outcome)
        listed = await gate.call(caller(), "recommendation_list", named | {"limit": limit})
    found = must_have(listed)
    rows = found["recommendations"]
    for warning in run.get("warnings", []):
        err.print(f"! {warning}", style="yellow", markup=False)
    told = f"{run.get('workloads', 0)} workloads in {run.get('seconds', 0):.1f} s: {run['status']}"
    err.print(told, style="dim", markup=False)
    write(rows, output)
    if output == "table":
        for row in rows:
            if why := row.get("blocked"):
                first = row.get("first")
                told = f" First: {Step.model_validate(first).call}" if first else ""
                err.print(f"! {row['id']} is not possible yet: {why}.{told}", markup=False)
        for past in found.get("scores", []):
            if said := past.get("said"):
                told = f"Earlier suggestions of {past['strategy']}: {said}."
                err.print(told, style="dim", markup=False)
    return DONE


async def draw(id: str, output: Path, dark: bool, **where: Any) -> int:
    """Write the picture of a recommendation into a file. Raises `ToolError`."""
    from server.doors.pictures import picture

    format = output.suffix.lower().removeprefix(".")
    if format not in ("svg", "png"):
        raise ToolError(
            Code.INVALID_ARGUMENT, f"{output} is to end in .svg or .png.", "Such as picture.svg."
        )
    async with connected(**where) as gate:
        drawn = await picture(gate, caller(), id, format, dark)  # type: ignore[arg-type]
    _keep(output, drawn)
    return DONE


def _keep(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"{file} cannot be written: {error.strerror}.",
            "Name another file.",
        ) from None
    err.print(f"{file}: {len(content) / 1000:.0f} kB", markup=False, highlight=False)


def write(found: list[dict[str, Any]], output: Output) -> None:
    """All columns, in the same order whatever is in them; those who read leave out what is none."""
    from tools.recommendations import RecommendationRow

    names = list(RecommendationRow.model_fields)
    whole = [RecommendationRow.model_validate(row) for row in found]
    rows = [{name: getattr(row, name) for name in names} for row in whole]
    for row in rows:
        if row["first"]:
            nested = output in ("json", "yaml")
            row["first"] = row["first"].model_dump() if nested else row["first"].call
    match output:
        case "json":
            show_json(rows)
        case "yaml":
            import yaml

            sys.stdout.write(yaml.safe_dump(rows, sort_keys=False, allow_unicode=True))
        case "csv":
            text = io.StringIO()
            table = csv.DictWriter(text, names)
            table.writeheader()
            table.writerows({k: _unformulated(v) for k, v in row.items()} for row in rows)
            sys.stdout.write(text.getvalue())
        case "html":
            sys.stdout.write(page(_shown(rows, "state")))
        case _ if rows:
            # What is in the way is too long for a cell.
            show_rows(_shown(rows, "state", "blocked", "first"))
        case _:
            out.print("Nothing should be changed.")


def _shown(rows: list[dict[str, Any]], *leave: str) -> list[dict[str, Any]]:
    """For people, without these columns: nothing is not worth a figure."""
    names = [name for name in rows[0] if name not in leave and any(row[name] for row in rows)]
    return [{name: row[name] or "" for name in names} for row in rows]


def page(rows: list[dict[str, Any]]) -> str:
    """A page of its own that can be kept or sent: nothing in it is loaded from elsewhere."""
    from html import escape

    names = list(rows[0]) if rows else []

    def cell(name: str, value: Any) -> str:
        if not isinstance(value, float):
            return f"<td>{escape(str(value))}</td>"
        return f"<td class=n>{f'{value:.0%}' if name == 'confidence' else f'{value:,.2f}'}</td>"

    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in names)
    body = "\n".join(
        "<tr>" + "".join(cell(name, row.get(name, "")) for name in names) + "</tr>" for row in rows
    )
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return (
        "<!doctype html>\n<html lang=en><meta charset=utf-8>\n"
        "<meta name=viewport content='width=device-width'>\n"
        f"<title>Recommendations</title>\n<style>{STYLE}</style>\n<h1>Recommendations</h1>\n"
        f"{table if rows else '<p>Nothing should be changed.</p>'}\n</html>\n"
    )


def _unformulated(value: Any) -> Any:
    """A cell that a spreadsheet would take for a formula is kept a text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t" and value else value


def backtest(
    traces: Path, strategies: list[str], baselines: list[str], curve: bool, json: bool
) -> int:
    """Replay recorded usage. Raises `ToolError`."""
    from recommender.backtest import BASELINES, backtest
    from recommender.figures import tables
    from recommender.strategies import make
    from recommender.traces import read_traces
    from server.measures import as_tool_errors

    if unknown := [name for name in baselines if name not in BASELINES]:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"There is no baseline {unknown[0]}.",
            f"One of {', '.join(BASELINES)}.",
        )
    with as_tool_errors():
        recorded = read_traces(traces)
        ours = [make(name).policy() for name in strategies]
        knob = [
            (caution, make(name, caution=caution).policy())
            for name in strategies
            for caution in (CAUTIONS if curve else ())
        ]
        with err.status(f"Replaying {traces.name} …"):
            results = backtest(recorded, [*(BASELINES[b] for b in baselines), *ours], knob)
    if json:
        show_json(results)
    else:
        for table in tables(results):
            out.print(table)
    return DONE
