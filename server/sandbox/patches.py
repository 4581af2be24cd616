"""JSON patch, JSON merge patch and strategic merge patch."""

from __future__ import annotations

from typing import Any

from .errors import ApiError, bad_request
from .schema import ANY, Shape, clone

Object = dict[str, Any]


def merge_patch(value: Any, patch: Any) -> Any:
    """A JSON merge patch: null removes, everything but objects is replaced."""
    if not isinstance(patch, dict):
        return clone(patch)
    merged = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), item)
    return merged


def strategic_merge_patch(shape: Shape, value: Any, patch: Any) -> Any:
    """A merge patch that knows which lists are merged by a key."""
    if isinstance(patch, dict):
        if patch.get("$patch") == "replace":
            return {key: clone(item) for key, item in patch.items() if key != "$patch"}
        return _merge_struct(shape, value if isinstance(value, dict) else {}, patch)
    if isinstance(patch, list) and shape.keys == ("set",):
        have = value or []
        return [*have, *(clone(item) for item in patch if item not in have)]
    if isinstance(patch, list) and shape.keys:
        return _merge_keyed(shape, value or [], patch)
    return clone(patch)


def _merge_struct(shape: Shape, value: Object, patch: Object) -> Object:
    merged = dict(value)
    if "$retainKeys" in patch:
        merged = {key: item for key, item in merged.items() if key in patch["$retainKeys"]}
    for key, item in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            merged[name] = [kept for kept in merged.get(name, []) if kept not in item]
        elif key.startswith("$"):
            continue
        elif item is None or (isinstance(item, dict) and item.get("$patch") == "delete"):
            merged.pop(key, None)
        else:
            merged[key] = strategic_merge_patch(shape.child(key), merged.get(key), item)
    return merged


def _merge_keyed(shape: Shape, value: list[Any], patch: list[Any]) -> list[Any]:
    if any(item.get("$patch") == "replace" for item in patch):
        return [clone(item) for item in patch if "$patch" not in item]
    # The strategic merge key is the first of the keys that server-side apply goes by.
    key = shape.keys[0]
    merged = list(value)
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        at = next((i for i, have in enumerate(merged) if have.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            merged = [have for have in merged if have.get(key) != item[key]]
        elif at is None:
            merged.append(strategic_merge_patch(shape.item or ANY, {}, item))
        else:
            merged[at] = strategic_merge_patch(shape.item or ANY, merged[at], item)
    return merged


def json_patch(value: Any, patch: Any) -> Any:
    """A JSON patch; a failing `test` or a path that is not there refuses the whole."""
    if not isinstance(patch, list):
        raise bad_request("a JSON patch is a list of operations")
    document = clone(value)
    try:
        for step in patch:
            document = _step(document, step)
    except (KeyError, IndexError, ValueError, TypeError):
        raise refused() from None
    return document


def refused() -> ApiError:
    """What the API says to a JSON patch that does not fit."""
    message = "the server rejected our request due to an error in our request"
    return ApiError(422, "Invalid", message, {})


def _step(document: Any, step: Object) -> Any:
    path = _pointer(step["path"])
    match step["op"]:
        case "test":
            if _get(document, path) != step["value"]:
                raise ValueError("test failed")
            return document
        case "add":
            return _set(document, path, clone(step["value"]), insert=True)
        case "replace":
            _get(document, path)
            return _set(document, path, clone(step["value"]), insert=False)
        case "remove":
            return _drop(document, path)
        case "copy":
            found = clone(_get(document, _pointer(step["from"])))
            return _set(document, path, found, insert=True)
        case "move":
            source = _pointer(step["from"])
            found = _get(document, source)
            return _set(_drop(document, source), path, found, insert=True)
    raise ValueError(f"no operation {step['op']}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError("a pointer starts with a slash")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _get(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[_index(document, part)]
    return document


def _index(container: Any, part: str) -> Any:
    if not isinstance(container, list):
        return part
    index = int(part)
    if not 0 <= index < len(container):
        raise IndexError(part)
    return index


def _set(document: Any, path: list[str], value: Any, insert: bool) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if isinstance(parent, list) and insert:
        parent.insert(len(parent) if path[-1] == "-" else int(path[-1]), value)
    else:
        parent[_index(parent, path[-1])] = value
    return document


def _drop(document: Any, path: list[str]) -> Any:
    parent = _get(document, path[:-1])
    del parent[_index(parent, path[-1])]
    return document
