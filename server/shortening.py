"""Long answers are cut, and say so: a model's context is not a log file."""

import json
from typing import Any

from server.masking import mask, spotless

NARROW = "cut: the answer was too long. Narrow the query, or ask for fewer at a time."


def shown(answer: dict[str, Any], most: int) -> dict[str, Any]:
    """An answer as it may leave: masked, and cut. Few need either, as their text says at once."""
    text = _spelled(answer)
    if len(text) <= most and spotless(text):
        return answer
    return shorten(mask(answer), most)


def shorten(answer: dict[str, Any], most: int) -> dict[str, Any]:
    """The answer, cut where it is longest until it has at most about `most` bytes as JSON.

    Lists lose their end and texts their beginning (the end of a log is what matters).
    """
    size = _size(answer)
    if size <= most:
        return answer
    for _ in range(64):
        path, longest = _longest(answer)
        if not path:
            break
        spare = size - most
        part = _at(answer, path)
        keep = max(0, int(len(part) * (1 - min(1.0, spare / longest)) * 0.95))
        shorter = part[:keep] if isinstance(part, list) else part[len(part) - keep :]
        _at(answer, path[:-1])[path[-1]] = shorter
        size = _size(answer)
        if size <= most:
            break
    return answer | {"cut": NARROW}


def _spelled(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _size(value: Any) -> int:
    return len(_spelled(value).encode())


def _longest(value: Any) -> tuple[list[Any], int]:
    """The path to the list or text with the most bytes that is reached without entering a list."""
    found: list[tuple[int, list[Any]]] = []

    def look(node: Any, path: list[Any]) -> None:
        if isinstance(node, dict):
            for key, item in node.items():
                look(item, [*path, key])
        elif isinstance(node, list | str) and len(node) > 1:
            found.append((_size(node), path))

    look(value, [])
    if not found:
        return [], 0
    size, path = max(found, key=lambda item: item[0])
    return path, size


def _at(value: Any, path: list[Any]) -> Any:
    for key in path:
        value = value[key]
    return value
