"""`key=value` on the command line, as the tool's schema would have it."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from server.settings import nearest
from tools.errors import Code, ToolError

HOW = (
    "Write name=value; name:=JSON for lists and objects; name=@FILE (or @- for stdin) for what is "
    "in a file."
)


def parse(words: Sequence[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments. A name that is given again adds to a list. Raises `ToolError`."""
    given: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or not name:
            raise ToolError(Code.INVALID_ARGUMENT, f"{word!r} is no argument.", HOW)
        raw = name.endswith(":")
        name = name.removesuffix(":").replace("-", "_")
        field = _field(schema, name)
        if text.startswith("@"):
            text = _file(text[1:])
            value = _document(name, text) if raw or _is(field, "object", "array") else text
        else:
            value = _json(name, text) if raw else _typed(name, text, field)
        if isinstance(value, list) and isinstance(given.get(name), list):
            given[name] += value
        else:
            given[name] = value
    return given


def _field(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = schema.get("properties", {})
    if fields and name not in fields:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"There is no argument {name}{nearest(name, list(fields))}",
            f"There are: {', '.join(fields)}.",
        )
    return _resolved(fields.get(name, {}), schema)


def _resolved(field: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if reference := field.get("$ref"):
        target: Mapping[str, Any] = schema.get("$defs", {}).get(reference.rpartition("/")[2], {})
        return target
    return field


def _is(field: Mapping[str, Any], *kinds: str) -> bool:
    some = [field, *field.get("anyOf", ())]
    found = {k for f in some for k in _kinds(f.get("type"))}
    return bool(found & set(kinds))


def _kinds(kind: Any) -> Sequence[str]:
    return [kind] if isinstance(kind, str) else kind or ()


def _typed(name: str, text: str, field: Mapping[str, Any]) -> Any:
    if _is(field, "boolean") and text.lower() in ("true", "false", "yes", "no", "1", "0"):
        return text.lower() in ("true", "yes", "1")
    if _is(field, "integer", "number"):
        try:
            return float(text) if not _is(field, "integer") or "." in text else int(text)
        except ValueError:
            return text  # the gate says what is wrong with it
    if _is(field, "array"):
        return _json(name, text) if text.startswith("[") else [_item(text, field)]
    if _is(field, "object"):
        return _json(name, text)
    return text


def _item(text: str, field: Mapping[str, Any]) -> Any:
    return _json("item", text) if text.startswith("{") else text


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ToolError(
            Code.INVALID_ARGUMENT, f"{name} is to be JSON, and is not: {error}.", HOW
        ) from None


def _file(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ToolError(Code.INVALID_ARGUMENT, f"{name} cannot be read: {error}.", HOW) from None


def _document(name: str, text: str) -> Any:
    """YAML, which JSON is too."""
    import yaml

    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise ToolError(
            Code.INVALID_ARGUMENT, f"The file for {name} is neither YAML nor JSON: {error}.", HOW
        ) from None
    return documents[0] if len(documents) == 1 else documents
