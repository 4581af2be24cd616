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

Output = Literal["table", "json", "csv", "html", "yaml"]
CAUTIONS = (0.25, 0.5, 1.0, 2.0, 4.0)


async def analyze(tenant: str, limit: int, output: Output, **where: Any) -> int:
    """Work the recommendations out anew, and show them by effect."""
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


def write(rows: list[dict[str, Any]], output: Output) -> None:
    match output:
        case "json":
            show_json(rows)
        case "yaml":
            import yaml

            sys.stdout.write(yaml.safe_dump(rows, sort_keys=False, allow_unicode=True))
        case "csv":
            text = io.StringIO()
            names = list(dict.fromkeys(name for row in rows for name in row))
            table = csv.DictWriter(text, names, restval="")
            table.writeheader()
            table.writerows({k: _unformulated(v) for k, v in row.items()} for row in rows)
            sys.stdout.write(text.getvalue())
        case "html":
            from html import escape

            names = list(dict.fromkeys(name for row in rows for name in row))
            head = "".join(f"<th>{escape(name)}</th>" for name in names)
            cells = (
                "".join(f"<td>{escape(str(row.get(name, '')))}</td>" for name in names)
                for row in rows
            )
            body = "\n".join(f"<tr>{row}</tr>" for row in cells)
            sys.stdout.write(
                "<!doctype html><meta charset=utf-8><title>Recommendations</title>\n"
                f"<table>\n<tr>{head}</tr>\n{body}\n</table>\n"
            )
        case _ if rows:
            show_rows(rows)
        case _:
            out.print("Nothing should be changed.")


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
