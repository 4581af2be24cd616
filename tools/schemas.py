"""JSON schemas made small: a model pays for every byte of a tool's declaration."""

from typing import Any

# What a schema says without helping anybody to call a tool.
NOISE = frozenset({"title", "default", "additionalProperties"})


def compact(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema without titles, defaults, `null` alternatives and references used once."""
    definitions = schema.get("$defs", {})
    uses: dict[str, int] = {}
    _count(schema, uses)
    once = {name for name, n in uses.items() if n == 1}
    small = _shrink({k: v for k, v in schema.items() if k != "$defs"}, definitions, once)
    kept = {n: _shrink(d, definitions, once) for n, d in definitions.items() if uses.get(n, 0) > 1}
    if kept:
        small["$defs"] = kept
    small.pop("description", None)
    return small


def _count(node: Any, uses: dict[str, int]) -> None:
    if isinstance(node, dict):
        if ref := node.get("$ref"):
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
    if (ref := node.get("$ref")) and (name := ref.rpartition("/")[2]) in once:
        return _shrink(definitions[name] | {k: v for k, v in node.items() if k != "$ref"},
                       definitions, once)
    if options := node.get("anyOf"):
        some = [o for o in options if o != {"type": "null"}]
        if len(some) == 1:
            rest = {k: v for k, v in node.items() if k != "anyOf"}
            return _shrink(some[0] | rest, definitions, once)
    small = {}
    for key, value in node.items():
        if key == "properties":
            small[key] = {n: _shrink(p, definitions, once) for n, p in value.items()}
        elif key not in NOISE or isinstance(value, dict):
            small[key] = _shrink(value, definitions, once)
    return small
