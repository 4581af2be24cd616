"""What comes in from outside, before anything looks at it: JSON, of a size that can be handled. And
what of it goes out into a table."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tools.errors import Code, ToolError

MOST_TEXT = 1 << 20
MOST_VALUES = 100_000
MOST_DEPTH = 100
MOST_KEY = 128
# What JSON numbers are as elsewhere: 64 bits. Python would spell out any.
MOST_NUMBER = 1 << 64
# What a spreadsheet would take for a formula.
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments. Raises `ToolError` for what is not JSON, and for text that no database and no
    answer could hold (a NUL, half a surrogate pair)."""
    length = values = 0
    level: list[Any] = [arguments]
    for _ in range(MOST_DEPTH):
        deeper: list[Any] = []
        for name, value in _inside(level):
            values += 1
            length += _length(name) + (_length(value) if isinstance(value, str) else 0)
            if length > MOST_TEXT or values > MOST_VALUES:
                raise _unfit(
                    "The arguments are too long", f"At most {MOST_TEXT >> 20} MB is taken."
                )
            if isinstance(value, Mapping | list):
                deeper.append(value)
            elif not _scalar(value):
                raise _unfit("The arguments hold a number or value that JSON has not")
        if not deeper:
            return dict(arguments)
        level = deeper
    raise _unfit("The arguments are nested too deeply", f"At most {MOST_DEPTH} levels are taken.")


def fit_key(key: str | None) -> str | None:
    """An idempotency key. Raises `ToolError`."""
    if key is None or (0 < len(key) <= MOST_KEY and key.isascii() and key.isprintable()):
        return key
    raise ToolError(
        Code.INVALID_ARGUMENT,
        f"A key is 1 to {MOST_KEY} printable ASCII characters.",
        "Make one up for each write, and repeat it when you try that write again.",
    )


def _inside(level: list[Any]) -> Iterator[tuple[Any, Any]]:
    for holder in level:
        if isinstance(holder, Mapping):
            yield from holder.items()
        else:
            yield from (("", value) for value in holder)


def _length(text: Any) -> int:
    if not isinstance(text, str):
        raise _unfit("The arguments have a name that is no text")
    if "\0" in text:
        raise _unfit("The arguments hold a NUL character", "Leave it out.")
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise _unfit("The arguments hold half of a surrogate pair", "Send UTF-8.") from None


def _scalar(value: Any) -> bool:
    match value:
        case None | bool() | str():
            return True
        case int():
            return abs(value) < MOST_NUMBER
        case float():
            return math.isfinite(value)
    return False


def _unfit(what: str, hint: str = "Send JSON as RFC 8259 has it.") -> ToolError:
    return ToolError(Code.INVALID_ARGUMENT, f"{what}.", hint)


def no_formula(cell: Any) -> Any:
    """A cell of a table that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.strip().startswith(FORMULA) else cell
