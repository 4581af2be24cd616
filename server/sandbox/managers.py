"""Field managers: `managedFields` after an apply or an update, and the conflicts of an apply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import fields
from .errors import ApiError, Cause
from .fields import Path
from .schema import Shape, clone

Object = dict[str, Any]


@dataclass(frozen=True)
class Manager:
    """Who writes, and through which door of the object."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def owns(self, entry: Object) -> bool:
        """Whether an entry of managedFields is this manager's."""
        return (entry["manager"], entry["operation"], entry.get("subresource", "")) == (
            self.name,
            self.operation,
            self.subresource,
        )

    def entry(self, owned: set[Path], time: str | None) -> Object:
        """This manager's entry in managedFields."""
        entry: Object = {
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
        }
        if time:
            entry["time"] = time
        entry |= {"fieldsType": "FieldsV1", "fieldsV1": fields.to_json(owned)}
        return entry | ({"subresource": self.subresource} if self.subresource else {})


def apply(
    shape: Shape, live: Object | None, wanted: Object, manager: Manager, force: bool, time: str
) -> Object:
    """The object after a server-side apply, with its managedFields."""
    before = live or {}
    entries = before.get("metadata", {}).get("managedFields", [])
    others = [entry for entry in entries if not manager.owns(entry)]
    mine = next((entry for entry in entries if manager.owns(entry)), None)
    wants = fields.owned(fields.field_set(shape, wanted))
    merged = fields.merge(shape, before, wanted)
    changed, _ = fields.compare(shape, before, merged)

    sets = [fields.from_json(entry["fieldsV1"]) for entry in others]
    clashes = [
        (entry, sorted(changed & wants & has)) for entry, has in zip(others, sets, strict=True)
    ]
    if any(paths for _, paths in clashes) and not force:
        raise _conflict([(entry, paths) for entry, paths in clashes if paths])
    taken = {path for _, paths in clashes for path in paths}
    kept = [(entry, has - taken) for entry, has in zip(others, sets, strict=True) if has - taken]

    had = fields.from_json(mine["fieldsV1"]) if mine else set()
    theirs = set().union(*(has for _, has in kept))
    dropped = {
        path
        for path in had - wants
        if not fields.under(path, wants) and not fields.under(path, theirs)
    }
    merged = dict(fields.remove(shape, merged, dropped))
    same = mine is not None and had == wants and not changed and not dropped
    own = mine if mine and same else manager.entry(wants, time)
    remaining = [
        entry
        if fields.from_json(entry["fieldsV1"]) == has
        else entry | {"fieldsV1": fields.to_json(has)}
        for entry, has in kept
    ]
    merged["metadata"] = dict(merged.get("metadata", {}))
    merged["metadata"]["managedFields"] = in_order([*remaining, own])
    return merged


def updated(
    shape: Shape, live: Object, new: Object, manager: Manager, time: str | None
) -> list[Object]:
    """managedFields after an ordinary write: the writer owns what it changed, others lose it."""
    entries: list[Object] = live.get("metadata", {}).get("managedFields", [])
    changed, gone = (fields.owned(found) for found in fields.compare(shape, live, new))
    if not changed and not gone:
        return entries
    result = []
    mine: set[Path] = set()
    for entry in entries:
        has = fields.from_json(entry["fieldsV1"])
        if manager.owns(entry):
            mine = has
            continue
        left = has - changed - gone
        if left == has:
            result.append(entry)
        elif left:
            result.append(entry | {"fieldsV1": fields.to_json(left)})
        elif entry["operation"] == "Apply":
            result.append(entry | {"fieldsV1": {}})
    if owns := (mine - gone) | changed:
        result.append(manager.entry(owns, time))
    return in_order(result)


def in_order(entries: list[Object]) -> list[Object]:
    """Applies first, then by time, then by name, as the API lists them."""
    return sorted(
        entries,
        key=lambda e: (e["operation"], e.get("time", ""), e["manager"], e.get("subresource", "")),
    )


def strip(body: Object) -> Object:
    """An applied configuration without what a client must not or need not send."""
    wanted: Object = clone(body)
    meta = wanted.get("metadata") or {}
    for name in ("managedFields", "creationTimestamp", "resourceVersion", "uid", "generation"):
        meta.pop(name, None)
    return wanted


def _conflict(clashes: list[tuple[Object, list[Path]]]) -> ApiError:
    named = [(_who(entry), path) for entry, paths in clashes for path in paths]
    causes = [
        Cause("FieldManagerConflict", f"conflict with {who}", fields.dotted(path)).as_json()
        for who, path in named
    ]
    if len(named) == 1:
        listed = f"1 conflict: conflict with {named[0][0]}: {fields.dotted(named[0][1])}"
    else:
        groups = [
            f"conflicts with {_who(entry)}:\n" + "\n".join(f"- {fields.dotted(p)}" for p in paths)
            for entry, paths in clashes
        ]
        listed = f"{len(named)} conflicts: " + "\n".join(groups)
    return ApiError(409, "Conflict", f"Apply failed with {listed}", {"causes": causes})


def _who(entry: Object) -> str:
    who = f'"{entry["manager"]}"'
    if entry.get("subresource"):
        who += f' with subresource "{entry["subresource"]}"'
    if entry["operation"] == "Update":
        who += f" using {entry['apiVersion']}"
        if entry.get("time"):
            who += f" at {entry['time']}"
    return who
