"""docs/settings.md, from what server/settings.py declares: `python -m server.settings_page`."""

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from server.settings import Settings, model_in, names, variable

HEAD = """\
# Settings

An option of the command line wins over a variable, a variable over `pilothouse.toml` (in the
working directory, or in the state directory, or as `--config` names it), and that over the
default. `a.b` is `b` in the file's table `[a]`. Lists in variables are separated by commas.
Unknown names are refused.

This page is made by `python -m server.settings_page > docs/settings.md`.

| setting | variable | type | default | what it is |
|---|---|---|---|---|
"""

# Declared in tools/, where they mean the same to a tool.
TEXTS = {
    "isolation.node_pools": "pools whose nodes are labelled `pilothouse.dev/pool=<name>`",
    "isolation.clusters": "clusters that tenants may have alone",
    "isolation.allow_egress": "NetworkPolicy peers that every tenant may reach",
    "isolation.allow_ingress": "NetworkPolicy peers that may reach every tenant",
    "tiers.<name>.quota": "ResourceQuota's `hard`",
    "tiers.<name>.default": "limits of a container that names none",
    "tiers.<name>.default_request": "requests of a container that names none",
    "tiers.<name>.max": "most that a container may have",
}


def page() -> str:
    return HEAD + "".join(map(_row, names()))


def _row(path: str) -> str:
    field = _field(path)
    text = field.description or TEXTS[path]
    cells = f"`{path}`", f"`{variable(path)}`", _type(field.annotation), _default(field), text
    return f"| {' | '.join(cells)} |\n"


def _field(path: str) -> FieldInfo:
    model: Any = Settings
    for step in (steps := path.replace(".<name>", "").split("."))[:-1]:
        model = model_in(model.model_fields[step].annotation)
    found: FieldInfo = model.model_fields[steps[-1]]
    return found


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return _type(next(a for a in get_args(annotation) if a is not type(None)))
    name = str((get_origin(annotation) or annotation).__name__)
    words = {"str": "text", "SecretStr": "secret", "Path": "path", "bool": "`true` or `false`"}
    return (words | {"int": "number", "float": "number", "dict": "table"}).get(name, name)


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required() or field.default_factory or isinstance(value, SecretStr):
        return ""
    if value in (None, "", [], {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    print(page(), end="")
