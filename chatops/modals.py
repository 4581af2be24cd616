"""A form for a tool's arguments, made from its input schema, and what was filled in."""

import json
from collections.abc import Mapping
from typing import Any

from chatops.blocks import Block, context, cut, escape
from chatops.grammar import Misfit, coerced, kind_of, properties, required
from tools.calls import ToolInfo

TITLE, LABEL, META = 24, 2000, 3000
MOST_FIELDS = 90
NONE = "(none)"


def form(tool: ToolInfo, arguments: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    """A modal with a field for each argument, the needed ones first, filled with what was said."""
    needed = required(tool)
    names = [*needed, *(name for name in properties(tool) if name not in needed)][:MOST_FIELDS]
    about = [context(escape(cut(tool.description, 300)))] if tool.description else []
    carried = json.dumps({"tool": tool.name, **meta})
    assert len(carried) <= META
    return {
        "type": "modal",
        "callback_id": "tool",
        "title": _plain(cut(tool.title, TITLE)),
        "submit": _plain("Go on"),
        "close": _plain("Never mind"),
        "private_metadata": carried,
        "blocks": [*about, *(_field(tool, n, arguments.get(n), n in needed) for n in names)],
    }


def filled(tool: ToolInfo, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The arguments of a submitted form, and what is wrong with it, by field."""
    arguments: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name in properties(tool):
        written = state.get(name, {}).get("value", {})
        option = written.get("selected_option")
        text = option["value"] if option else written.get("value")
        if text in (None, "", NONE):
            continue
        try:
            lines = [line for line in text.splitlines() if line]
            many = kind_of(tool, name) == "array" and not text.lstrip().startswith("[")
            arguments[name] = lines if many else coerced(tool, name, text.strip())
        except Misfit as error:
            wrong[name] = str(error).replace("`", "")
    return arguments, wrong


def ask(
    callback: str,
    title: str,
    label: str,
    submit: str,
    meta: Mapping[str, Any],
    needed: bool = True,
) -> Block:
    """A modal that asks for one text."""
    element = {"type": "plain_text_input", "action_id": "value", "max_length": 500}
    return {
        "type": "modal",
        "callback_id": callback,
        "title": _plain(title),
        "submit": _plain(submit),
        "close": _plain("Never mind"),
        "private_metadata": json.dumps(meta),
        "blocks": [
            {
                "type": "input",
                "block_id": "reason",
                "optional": not needed,
                "label": _plain(label),
                "element": element | {"multiline": True},
            }
        ],
    }


def show(title: str, blocks: list[Block]) -> Block:
    return {
        "type": "modal",
        "title": _plain(cut(title, TITLE)),
        "close": _plain("Close"),
        "blocks": blocks[:100],
    }


def _field(tool: ToolInfo, name: str, value: Any, needed: bool) -> Block:
    schema = properties(tool)[name]
    block: Block = {
        "type": "input",
        "block_id": name,
        "optional": not needed,
        "label": _plain(name.replace("_", " ")),
        "element": {"action_id": "value", **_element(kind_of(tool, name), schema, value)},
    }
    hint = schema.get("description") or ""
    if kind_of(tool, name) == "array":
        hint = f"{hint} (one a line)".strip()
    return block | ({"hint": _plain(cut(hint, LABEL))} if hint else {})


def _element(kind: str, schema: Mapping[str, Any], value: Any) -> dict[str, Any]:
    if kind in ("enum", "boolean"):
        options = [str(o) for o in schema.get("enum", ("yes", "no"))]
        given = {True: "yes", False: "no"}.get(value, value) if kind == "boolean" else value
        element: dict[str, Any] = {
            "type": "static_select",
            "options": [_option(o) for o in options[:100]],
        }
        return element | ({"initial_option": _option(given)} if given in options else {})
    initial = {} if value is None else {"initial_value": _written(kind, value)}
    if kind in ("integer", "number"):
        bounds = {"minimum": "min_value", "maximum": "max_value"}
        limits = {theirs: str(schema[ours]) for ours, theirs in bounds.items() if ours in schema}
        decimal = kind == "number"
        return {"type": "number_input", "is_decimal_allowed": decimal, **limits, **initial}
    long = kind in ("object", "array") or schema.get("maxLength", 0) > 200
    return {"type": "plain_text_input", "multiline": long, **initial}


def _written(kind: str, value: Any) -> str:
    if kind == "array" and all(isinstance(v, str) and "\n" not in v for v in value):
        return "\n".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _option(value: str) -> dict[str, Any]:
    return {"text": _plain(cut(value, 75)), "value": value[:150]}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}
