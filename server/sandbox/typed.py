"""Where a manifest does not fit its kind, in the words of server-side apply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .schema import ANY, PYTHON_TYPES, Shape

NAMES: dict[type, str] = {str: "string", bool: "bool", list: "list", dict: "map"}


def misfits(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """What is of another type than the schema has, or is not in the schema at all."""
    if value is None or shape.form == "any":
        return
    match shape.form:
        case "struct" | "map":
            if not isinstance(value, dict):
                yield f"{path}: expected map, got &{{{_go(value)}}}"
                return
            for key, item in value.items():
                if shape.form == "struct" and key not in shape.fields:
                    yield f"{path}.{key}: field not declared in schema"
                else:
                    yield from misfits(shape.child(key), item, f"{path}.{key}")
        case "list":
            if not isinstance(value, list):
                yield f"{path}: expected list, got &{{{_go(value)}}}"
                return
            yield from _items(shape, value, path)
        case _:
            yield from _scalar(shape.name, value, path)


def _items(shape: Shape, items: list[Any], path: str) -> Iterator[str]:
    inner = shape.item or ANY
    keyed = bool(shape.keys) and shape.keys != ("set",)
    seen: set[str] = set()
    for index, item in enumerate(items):
        which = f"[{index}]"
        if keyed and not isinstance(item, dict):
            what = "a null element" if item is None else "non-map elements"
            yield f"{path}: element {index}: associative list with keys may not have {what}"
            continue
        if shape.keys == ("set",) and isinstance(item, dict):
            what = "associative list without keys has an element that's a map type"
            yield f"{path}: element {index}: {what}"
            continue
        if keyed:
            keys = {key: item[key] for key in shape.keys if item.get(key) is not None}
            which = f"[{','.join(f'{k}={json.dumps(v)}' for k, v in keys.items())}]"
            if keys and which in seen:
                yield f"{path}: duplicate entries for key {which}"
            seen.add(which)
        yield from misfits(inner, item, path + which)


def _scalar(name: str, value: Any, path: str) -> Iterator[str]:
    if name == "bool":
        if not isinstance(value, bool):
            yield f"{path}: expected boolean, got &{{{_go(value)}}}"
    elif name in ("int", "num"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            got = NAMES.get(type(value), "")
            yield f"{path}: expected numeric (int or float), got {got}"
    elif isinstance(value, bool) or not isinstance(value, PYTHON_TYPES[name]):
        yield f"{path}: expected string, got &value.valueUnstructured{{Value:{_go(value)}}}"


def _go(value: Any) -> str:
    match value:
        case str():
            return value
        case list():
            return f"[{' '.join(map(_go, value))}]"
        case dict():
            return f"map[{' '.join(f'{k}:{_go(v)}' for k, v in value.items())}]"
    return "<nil>" if value is None else json.dumps(value)
