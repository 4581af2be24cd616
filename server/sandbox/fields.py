"""Sets of fields: who owns which, what differs, and merging and removing by them.

A field is a path of elements written as `managedFields` writes them: `f:spec`, `k:{"name":"web"}`
for an item of a list that is merged by keys, `v:"x"` for a value of a set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .schema import ANY, Shape, clone

Object = dict[str, Any]
Path = tuple[str, ...]
KEY_DEFAULTS = {"protocol": "TCP"}

# Structs that an object always has, even before anybody set anything in them.
ALWAYS_THERE = {
    f"f:{name}" for name in (
        "metadata", "spec", "status", "template", "strategy", "updateStrategy", "source",
        "containers", "scaleTargetRef", "jobTemplate",
    )
}  # fmt: skip
UNOWNED = {
    ("f:apiVersion",), ("f:kind",), ("f:metadata", "f:name"), ("f:metadata", "f:namespace"),
    ("f:metadata", "f:uid"), ("f:metadata", "f:resourceVersion"), ("f:metadata", "f:selfLink"),
    ("f:metadata", "f:creationTimestamp"), ("f:metadata", "f:generation"),
    ("f:metadata", "f:managedFields"),
}  # fmt: skip


def key_of(shape: Shape, item: Object) -> str:
    """The element for an item of a list that is merged by keys."""
    key = {name: item.get(name, KEY_DEFAULTS.get(name)) for name in sorted(shape.keys)}
    return "k:" + json.dumps({k: v for k, v in key.items() if v is not None}, separators=(",", ":"))


def children(shape: Shape, value: Any) -> list[tuple[str, Shape, Any]] | None:
    """What is inside a value, or None where it is owned as a whole."""
    if shape.atomic:
        return None
    if isinstance(value, dict):
        return [("f:" + key, shape.child(key), item) for key, item in value.items()]
    if isinstance(value, list) and shape.keys == ("set",):
        return [(f"v:{json.dumps(item)}", ANY, item) for item in value]
    if isinstance(value, list) and shape.keys:
        item_shape = shape.item or ANY
        return [(key_of(shape, item), item_shape, item) for item in value]
    return None


def field_set(shape: Shape, value: Any, path: Path = (), whole: bool = False) -> Iterator[Path]:
    """The fields that a value sets. `whole` counts the maps and lists themselves too, as for
    one that was not there before."""
    inside = children(shape, value)
    if not inside:
        if not (whole and inside == [] and _always_there(path)):
            yield path
        return
    if path and (path[-1][0] == "k" or (whole and not _always_there(path))):
        yield path
    for element, child, item in inside:
        yield from field_set(child, item, (*path, element), whole)


def _always_there(path: Path) -> bool:
    return all(element in ALWAYS_THERE for element in path)


def owned(fields: Iterable[Path]) -> set[Path]:
    """Without the fields that nobody can own."""
    return {path for path in fields if path and path not in UNOWNED and path[:2] not in UNOWNED}


def compare(shape: Shape, old: Any, new: Any, path: Path = ()) -> tuple[set[Path], set[Path]]:
    """The fields that are new or different, and those that are gone."""
    before, after = children(shape, old), children(shape, new)
    if before is None or after is None or (not before and not after):
        return (set() if old == new else {path}), set()
    changed: set[Path] = set()
    gone: set[Path] = set()
    had = {element: item for element, _, item in before}
    for element, child, item in after:
        where = (*path, element)
        if element in had:
            differs, missing = compare(child, had.pop(element), item, where)
            changed |= differs
            gone |= missing
        else:
            changed.update(field_set(child, item, where, whole=True))
    for element, child, item in before:
        if element in had:
            gone.update(field_set(child, item, (*path, element), whole=True))
            gone.add((*path, element))
    return changed, gone


def to_json(fields: Iterable[Path]) -> Object:
    """A set of fields as `fieldsV1`."""
    tree: Object = {}
    for path in sorted(fields):
        at = tree
        for element in path:
            at = at.setdefault(element, {})
        at["."] = {}
    return _without_leaf_dots(tree)


def _without_leaf_dots(tree: Object) -> Object:
    if set(tree) == {"."}:
        return {}
    return {key: _without_leaf_dots(inner) if key != "." else {} for key, inner in tree.items()}


def from_json(tree: Object, path: Path = ()) -> set[Path]:
    """`fieldsV1` as a set of fields."""
    if not tree:
        return {path} if path else set()
    found: set[Path] = set()
    for element, inner in tree.items():
        found |= {path} if element == "." else from_json(inner, (*path, element))
    return found


def merge(shape: Shape, live: Any, applied: Any) -> Any:
    """What applying a configuration to an object gives; neither is changed."""
    if isinstance(live, dict) and isinstance(applied, dict) and not shape.atomic:
        merged = dict(live)
        for key, item in applied.items():
            if item is not None:
                merged[key] = merge(shape.child(key), live.get(key), item)
        return merged
    if isinstance(live, list) and isinstance(applied, list) and shape.keys:
        return _merge_lists(shape, live, applied)
    return clone(applied)


def _merge_lists(shape: Shape, live: list[Any], applied: list[Any]) -> list[Any]:
    have = {element: item for element, _, item in children(shape, live) or ()}
    for element, child, item in children(shape, applied) or ():
        have[element] = merge(child, have.get(element), item)
    return list(have.values())


def remove(shape: Shape, value: Any, paths: set[Path]) -> Any:
    """The value without those fields."""
    tree: Object = {}
    for path in paths:
        at = tree
        for element in path:
            at = at.setdefault(element, {})
        at["."] = {}
    return _remove(shape, value, tree)


def _remove(shape: Shape, value: Any, tree: Object) -> Any:
    inside = children(shape, value)
    if inside is None:
        return value
    kept = [
        (element, _remove(child, item, tree[element]) if element in tree else item)
        for element, child, item in inside
        if "." not in tree.get(element, {})
    ]
    if isinstance(value, list):
        return [item for _, item in kept]
    return {element[2:]: item for element, item in kept}


def under(path: Path, fields: Iterable[Path]) -> bool:
    """Whether any of the fields is this one or lies inside it."""
    return any(other[: len(path)] == path for other in fields)


def dotted(path: Path) -> str:
    """A field as conflicts name it: `.spec.template.spec.containers[name="web"].image`."""
    text = ""
    for element in path:
        if element.startswith("f:"):
            text += "." + element[2:]
        elif element.startswith("k:"):
            pairs = json.loads(element[2:]).items()
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in pairs) + "]"
        else:
            text += f"[={element[2:]}]"
    return text
