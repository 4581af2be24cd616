"""Reads the shapes of objects, and checks and tidies what clients send by them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import ApiError, bad_request
from .quantities import canonical
from .shapes import SHAPES

Object = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """What one field holds: a scalar, a struct, a map or a list, and how it is merged."""

    form: str
    name: str = ""
    item: Shape | None = None
    keys: tuple[str, ...] = ()
    atomic: bool = False
    _fields: dict[str, Shape] = field(default_factory=dict, compare=False, repr=False)

    @property
    def fields(self) -> dict[str, Shape]:
        """The fields of a struct."""
        return self._fields or struct(self.name)

    def child(self, key: str) -> Shape:
        """The shape under a key; what nobody described is free-form."""
        if self.form == "struct":
            return self.fields.get(key, ANY)
        return self.item or ANY


ANY = Shape("any")
SCALARS = {"str", "int", "bool", "num", "time", "qty", "ports"}
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,), "time": (str,), "int": (int,), "num": (int, float),
    "qty": (str, int, float), "ports": (str, int),
}  # fmt: skip
GO_NAMES = {"str": "string", "int": "int32", "bool": "bool", "num": "float64", "time": "Time"}


@functools.cache
def _lines() -> dict[str, str]:
    joined = SHAPES.replace("\n  ", " ")
    return dict(line.split(" = ", 1) for line in joined.splitlines() if line)


@functools.cache
def struct(name: str) -> dict[str, Shape]:
    """The fields of a described struct; `apiVersion` and `kind` are part of every object."""
    fields = {key: parse(text) for key, text in (f.split(":", 1) for f in _lines()[name].split())}
    if "metadata" in fields:
        fields |= {"apiVersion": Shape("scalar", "str"), "kind": Shape("scalar", "str")}
    return fields


@functools.cache
def parse(text: str) -> Shape:
    """One type in the notation of `shapes`."""
    if text.startswith("["):
        inner, _, keys = text[1:].rpartition("]")
        return Shape("list", item=parse(inner), keys=tuple(keys[1:].split(",")) if keys else ())
    if text.startswith("{"):
        inner, _, mark = text[1:].rpartition("}")
        return Shape("map", item=parse(inner), atomic=mark == "!")
    if text == "any":
        return ANY
    if text in SCALARS:
        return Shape("scalar", text)
    return Shape("struct", text.rstrip("!"), atomic=text.endswith("!"))


def object_shape(name: str) -> Shape:
    """The shape of a whole kind."""
    return parse(name)


def custom_shape(properties: Any) -> Shape:
    """The shape of a custom kind: its top-level fields are known, what is in them is free-form."""
    fields = dict.fromkeys(properties or {"spec": 1, "status": 1}, ANY)
    known = {"apiVersion": Shape("scalar", "str"), "kind": Shape("scalar", "str")}
    return Shape("struct", "Custom", _fields=fields | known | {"metadata": parse("ObjectMeta")})


def clone(value: Any) -> Any:
    """A copy of JSON that shares nothing."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


def unknown_fields(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """Where a value has fields that its shape does not."""
    if isinstance(value, dict) and shape.form in ("struct", "map"):
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            if shape.form == "struct" and key not in shape.fields:
                yield where
            else:
                yield from unknown_fields(shape.child(key), item, where)
    elif isinstance(value, list) and shape.form == "list":
        for index, item in enumerate(value):
            yield from unknown_fields(shape.item or ANY, item, f"{path}[{index}]")


def normal(shape: Shape, value: Any, kind: str, version: str, path: str = "") -> Any:
    """What the API makes of JSON that it decodes: types checked, quantities in their usual form,
    nulls and empty lists and maps gone (an empty struct says something and stays)."""
    if isinstance(value, dict):
        if shape.form in ("scalar", "list"):
            raise _mistyped(shape, "object", kind, version, path)
        kept: Object = {}
        for key, item in value.items():
            if shape.form == "struct" and key not in shape.fields:
                continue
            child = shape.child(key)
            tidy = normal(child, item, kind, version, f"{path}.{key}" if path else key)
            empty = tidy is None or (child.form == "map" and tidy == {})
            if not (empty or (child.form == "list" and tidy == [])):
                kept[key] = tidy
        return kept
    if isinstance(value, list):
        if shape.form not in ("list", "any"):
            raise _mistyped(shape, "array", kind, version, path)
        return [normal(shape.item or ANY, item, kind, version, path) for item in value]
    if value is None or shape.form == "any":
        return value
    if shape.form != "scalar" or not _fits(shape.name, value):
        raise _mistyped(shape, _json_name(value), kind, version, path)
    return quantity(value, kind, version) if shape.name == "qty" else value


def quantity(value: Any, kind: str, version: str) -> str:
    """A quantity in its canonical form, or the decoder's refusal."""
    try:
        return canonical(str(value))
    except ValueError as wrong:
        raise bad_request(
            f'{kind} in version "{version}" cannot be handled as a {kind}: {wrong}'
        ) from None


def _fits(name: str, value: Any) -> bool:
    if name == "bool" or isinstance(value, bool):
        return name == "bool" and isinstance(value, bool)
    return isinstance(value, PYTHON_TYPES[name])


def _json_name(value: Any) -> str:
    return {bool: "bool", str: "string"}.get(type(value), "number")


def _mistyped(shape: Shape, got: str, kind: str, version: str, path: str) -> ApiError:
    wanted = GO_NAMES.get(shape.name, shape.name or shape.form)
    return bad_request(
        f'{kind} in version "{version}" cannot be handled as a {kind}: json: cannot unmarshal '
        f"{got} into Go struct field {kind}.{path} of type {wanted}"
    )
