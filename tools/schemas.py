"""JSON schemas made small: a model pays for every byte of a tool's declaration."""

from typing import Any

# What a schema says without helping anybody to call a tool.
NOISE = frozenset({"title", "default", "additionalProperties", "propertyNames"})
# Every string's bound (`Arguments`), which is not worth repeating for each.
LONGEST = 4096


def compact(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema without titles, defaults, `null` alternatives, references used once, and
    the docstrings of models (those are for us; a field's own description stays).

    A field that may be null is left out instead of being null, so it is not required either. Among
    the items of a list, null has a place, and stays.
    """
    definitions = {
        name: {k: v for k, v in definition.items() if k != "description"}
        for name, definition in schema.get("$defs", {}).items()
    }
    uses: dict[str, int] = {}
    _count(schema, uses)
    once = {name for name, n in uses.items() if n == 1}
    small: dict[str, Any] = _shrink(
        {k: v for k, v in schema.items() if k != "$defs"}, definitions, once
    )
    kept = {n: _shrink(d, definitions, once) for n, d in definitions.items() if uses.get(n, 0) > 1}
    if kept:
        small["$defs"] = kept
    small.pop("description", None)
    return small


def without_nulls(value: Any) -> Any:
    """A JSON value as `compact` schemas describe it: fields that are null are not there."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(v) for v in value]
    return value


def _count(node: Any, uses: dict[str, int]) -> None:
    if isinstance(node, dict):
        if isinstance(ref := node.get("$ref"), str):
            name = ref.rpartition("/")[2]
            uses[name] = uses.get(name, 0) + 1
        for value in node.values():
            _count(value, uses)
    elif isinstance(node, list):
        for value in node:
            _count(value, uses)


def _shrink(node: Any, definitions: dict[str, Any], once: set[str]) -> Any:
    if isinstance(node, list):
        return [_shrink(value, definitions, once) for value in node]
    if not isinstance(node, dict):
        return node
    if isinstance(ref := node.get("$ref"), str) and (name := ref.rpartition("/")[2]) in once:
        rest = {k: v for k, v in node.items() if k != "$ref"}
        return _shrink(definitions[name] | rest, definitions, once)
    if options := node.get("anyOf"):
        some = [o for o in options if o != {"type": "null"}]
        if len(some) == 1:
            rest = {k: v for k, v in node.items() if k != "anyOf"}
            return _shrink(some[0] | rest, definitions, once)
    small = {}
    for key, value in node.items():
        if key == "items" and _nullable(value):
            options = [_shrink(o, definitions, once) for o in value["anyOf"]]
            small[key] = {"anyOf": options}
        elif key == "properties":
            small[key] = {n: _shrink(p, definitions, once) for n, p in value.items()}
        elif key == "required":
            needed = [n for n in value if not _nullable(node["properties"].get(n, {}))]
            small |= {key: needed} if needed else {}
        elif key in ("enum", "const"):
            small[key] = value
        elif key == "maxLength" and value >= LONGEST:
            continue
        elif key not in NOISE or (key == "additionalProperties" and isinstance(value, dict)):
            small[key] = _shrink(value, definitions, once)
    return small


def _nullable(node: dict[str, Any]) -> bool:
    return {"type": "null"} in node.get("anyOf", ())
