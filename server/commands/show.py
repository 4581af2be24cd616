"""Outcomes for people at a terminal: diffs in colour, lists as tables. What comes from the platform
is shown as the text that it is: no markup, and nothing in it moves the cursor."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.calls import Outcome, Problem, State
from tools.errors import ToolError
from tools.plan import Preview

# A program that reads us wants each row on one line.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 240)
err = Console(stderr=True, highlight=False, soft_wrap=True)

SIGNS = {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}
COLOURS = {State.SUCCEEDED: "green", State.RUNNING: "cyan", State.PLANNING: "cyan"}
EMPTY: tuple[Any, ...] = (None, "", [], {})
MOST_FIELDS = 30
MOST_VALUE = 160


def show_error(error: ToolError | Problem) -> None:
    code = error.code.value
    err.print(Text.assemble((f"{code}: ", "bold red"), clean(error.message)))
    if error.hint:
        err.print(Text(clean(error.hint), "dim"))


def show_outcome(outcome: Outcome) -> None:
    """A call, its diff first; what went wrong goes to stderr."""
    if outcome.summary:
        out.print(Text(clean(outcome.summary), "bold"))
    for change in outcome.changes:
        # What is done was shown before it was: its titles will do.
        show_change(change, fields=outcome.state is not State.SUCCEEDED)
    for note in outcome.notes:
        out.print(Text(f"  note: {clean(note)}", "dim"))
    if outcome.call_id and outcome.state is not State.PLANNING:
        colour = COLOURS.get(outcome.state, "yellow" if outcome.state.waiting else "red")
        out.print(Text.assemble("call ", outcome.call_id, ": ", (outcome.state.value, colour)))
    if outcome.undo and outcome.changes and outcome.undo != "exact":
        undoing = {"recreates": "makes objects anew", "none": "cannot bring all of it back"}
        out.print(Text(f"  undo {undoing[outcome.undo]}", "yellow"))
    if outcome.why:
        out.print(Text(f"  {clean(outcome.why)}"))
    if outcome.expires:
        out.print(Text(f"  expires {outcome.expires:%F %R %Z}"))
    if outcome.answer:
        show_answer(outcome.answer)
    if outcome.next:
        out.print(Text(clean(outcome.next), "dim"))
    if outcome.error:
        show_error(outcome.error)


def show_change(change: Preview, *, fields: bool = True) -> None:
    sign, colour = SIGNS[change.verb]
    how = "" if change.how == "server" else f"  ({change.how})"
    out.print(Text.assemble((f"{sign} {clean(change.title)}", colour), (how, "dim")))
    for field in change.diff[:MOST_FIELDS] if fields or change.verb == "update" else ():
        line = Text(f"    {clean(field.path)}: ")
        if field.before is not None:
            line.append(_value(field.before), "red")
            line.append(" → ")
        line.append(_value(field.after), "green" if field.after is not None else "dim")
        out.print(line)
    if fields and (more := len(change.diff) - MOST_FIELDS) > 0:
        out.print(Text(f"    … {more} more fields", "dim"))
    for note in change.notes:
        out.print(Text(f"    note: {clean(note)}", "yellow"))


def show_answer(answer: Mapping[str, Any], indent: str = "") -> None:
    if not any(value not in EMPTY for value in answer.values()):
        err.print("Nothing.", style="dim")
    for name, value in answer.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            show_rows(value)
        elif isinstance(value, dict) and value:
            out.print(Text(f"{indent}{name}:", "bold"))
            show_answer(value, indent + "  ")
        elif isinstance(value, str) and "\n" in value:
            out.print(Text(f"{indent}{name}:", "bold"))
            for line in value.splitlines():
                out.print(Text(f"{indent}  {clean(line)}"))
        elif value not in EMPTY:
            out.print(Text.assemble((f"{indent}{name}: ", "bold"), _plain(value)))


def show_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    columns = list(dict.fromkeys(k for row in rows for k in row))
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column, ""))) for column in columns))
    out.print(table)


def _cell(value: Any) -> str:
    """What is inside of an object is told in words, and what is nothing is left out."""
    if not isinstance(value, dict):
        return _plain(value)
    told = ((k, v) for k, v in value.items() if v not in (*EMPTY, 0))
    parts = (_cell(v) if isinstance(v, dict) else f"{k} {_plain(v)}" for k, v in told)
    return ", ".join(filter(None, parts))


def show_piece(piece: Mapping[str, Any]) -> None:
    """A piece of a stream: its line, after whose it is where there are several."""
    text = piece.get("line", piece.get("text"))
    if not isinstance(text, str):
        out.print(Text(_plain(piece)))
        return
    whose = f"{piece['pod']}: " if "pod" in piece else ""
    for line in text.splitlines():
        out.print(Text(clean(whose + line)))


def show_json(value: Any) -> None:
    out.out(json.dumps(value, indent=2, ensure_ascii=False, default=str), highlight=False)


def clean(text: str) -> str:
    """On one line, and what does not show is shown as what it is."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return clean(value)
    return clean(json.dumps(value, ensure_ascii=False, default=str))


def _value(value: Any) -> str:
    text = "nothing" if value is None else _plain(value)
    return text if len(text) <= MOST_VALUE else f"{text[:MOST_VALUE]}…"
