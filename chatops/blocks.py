"""Slack's blocks, cut to what Slack takes. Whatever comes from elsewhere is escaped here."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from tools.visible import visible

Block: TypeAlias = dict[str, Any]

SECTION, HEADER, BUTTON, FIELD = 3000, 150, 75, 2000
TEXT = 40_000
BLOCKS = 50
TABLE_ROWS, CELL = 30, 40
MORE = "…"


def escape(text: Any) -> str:
    """Text that Slack shows as it is: no link, no mention, no mark-up of its own."""
    shown = visible(str(text))
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cut(text: str, most: int, more: str = MORE) -> str:
    """At most so many characters, at the end of a line where there is one not far off, and never
    within an escape."""
    if len(text) <= most:
        return text
    kept = text[: most - len(more)]
    line = kept.rfind("\n")
    kept = kept[:line] if line > len(kept) * 0.6 else kept
    amp = kept.rfind("&", -5)
    if amp >= 0 and ";" not in kept[amp:]:
        kept = kept[:amp]
    return kept + more


def section(text: str, button: Block | None = None) -> Block:
    block: Block = {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SECTION)}}
    return block | ({"accessory": button} if button else {})


def header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": cut(text, HEADER)}}


def context(*texts: str) -> Block:
    elements = [{"type": "mrkdwn", "text": cut(text, FIELD)} for text in texts if text][:10]
    return {"type": "context", "elements": elements}


def code(text: str, most: int = SECTION) -> Block:
    """Text as it is, with its columns. Nothing in it can end it."""
    safe = escape(text.replace("```", "'''")) or " "
    return section(f"```{cut(safe, min(most, SECTION) - 6, more=f'{MORE}')}```")


def codes(text: str, blocks: int = 4) -> list[Block]:
    """A long text in several blocks, from its beginning, a line never torn unless it is too long
    for a block by itself."""
    found: list[Block] = []
    rest = text
    while rest and len(found) < blocks:
        piece = rest[: SECTION // 2]
        if len(rest) > len(piece) and (line := piece.rfind("\n")) > 0:
            piece = piece[:line]
        found.append(code(piece))
        rest = rest[len(piece) :].lstrip("\n")
    if rest:
        found.append(context(f"{MORE} and {len(rest):,} more characters"))
    return found


def button(text: str, action: str, value: Any, style: str = "") -> Block:
    """`value` is JSON and comes back when it is pressed."""
    found: Block = {
        "type": "button",
        "text": {"type": "plain_text", "text": cut(text, BUTTON)},
        "action_id": action,
        "value": json.dumps(value, separators=(",", ":")),
    }
    return found | ({"style": style} if style else {})


def actions(*buttons: Block) -> Block:
    return {"type": "actions", "elements": list(buttons)[:25]}


def divider() -> Block:
    return {"type": "divider"}


def picture(file: str, alt: str) -> Block:
    return {"type": "image", "slack_file": {"id": file}, "alt_text": cut(alt, 2000)}


def fit(blocks: Sequence[Block], most: int = BLOCKS) -> list[Block]:
    """At most so many, and a word on what is not shown."""
    if len(blocks) <= most:
        return list(blocks)
    return [*blocks[: most - 1], context(f"{MORE} and {len(blocks) - most + 1} more")]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as text with columns; those that are the same in all, and long ones, give way."""
    shown = rows[:TABLE_ROWS]
    columns = list(dict.fromkeys(c for row in shown for c in row))
    cells = [[cut(_cell(row.get(c)), CELL) for c in columns] for row in shown]
    widths = [max(len(r[n]) for r in [columns, *cells]) for n in range(len(columns))]
    lines = [_line(columns, widths), *(_line(row, widths) for row in cells)]
    more = len(rows) - len(shown)
    return "\n".join(lines + ([f"{MORE} and {more} more"] if more else []))


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return " ".join(text.split())


def plain(value: Any) -> str:
    """A value on one line."""
    return _cell(value)
