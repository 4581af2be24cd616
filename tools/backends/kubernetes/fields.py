"""What two states of an object have in common and what not, in the fields that are meant."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tools.backends.kubernetes.masks import (
    Mask,
    key_of,
    keyed,
    label,
    mask_of,
    owned_mask,
    pick,
    union,
)
from tools.backends.kubernetes.quantities import number
from tools.backends.kubernetes.quantities import spelled as spelled_quantity
from tools.plan import Difference, canonical

MANAGER = "pilothouse"
CALL = "pilothouse.dev/call"
HIDDEN = "•••"

# Moves by itself, or says only that something moved.
NOISE = frozenset(
    {
        "apiVersion",
        "kind",
        "status",
        "metadata.creationTimestamp",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
        "metadata.selfLink",
        "metadata.uid",
    }
)
# Maps whose values are quantities, by the name of their field.
QUANTITIES = frozenset(
    {
        "limits",
        "requests",
        "hard",
        "used",
        "default",
        "defaultRequest",
        "max",
        "min",
        "maxLimitRequestRatio",
        "capacity",
        "overhead",
        "allocatable",
    }
)
# Fields that are one.
QUANTITY = frozenset({"sizeLimit", "divisor", "averageValue"})


def project(live: Any, like: Any) -> Any:
    """Of a live object, just the fields that a body names."""
    return pick(live, mask_of(like))


def owned(live: Mapping[str, Any], manager: str = MANAGER) -> Any:
    """Of a live object, the fields that a manager holds by server-side apply, as a body."""
    return pick(live, owned_mask(live, manager))


def applied_mask(live: Mapping[str, Any], body: Mapping[str, Any]) -> Mask:
    """The fields that applying a body writes: those it names, and those it gives up."""
    return union(mask_of(body), owned_mask(live, MANAGER))


def before_patch(live: Any, fields: Any, *, strategic: bool, field: str = "") -> Any:
    """What is there in the fields that a patch names, as the patch that puts it back: None where
    there is nothing, and `$patch: delete` for an item of a list that is not there."""
    if isinstance(fields, dict):
        has = live if isinstance(live, dict) else {}
        if fields.get("$patch") in ("delete", "replace"):
            return live
        return {
            name: before_patch(has.get(name), value, strategic=strategic, field=name)
            for name, value in fields.items()
            if not name.startswith("$")
        }
    if isinstance(fields, list) and fields and strategic and keyed(field, fields):
        return [_item_before(live, item, field) for item in fields]
    return live


def _item_before(live: Any, item: dict[str, Any], field: str) -> Any:
    key = key_of(field, item)
    assert key is not None
    for there in live if isinstance(live, list) else ():
        if key_of(field, there) == key:
            if item.get("$patch") == "delete":
                return there
            rest = {k: v for k, v in item.items() if k not in key}
            return {k: there[k] for k in key if k in there} | before_patch(
                there, rest, strategic=True
            )
    return key | {"$patch": "delete"}


def same(one: Any, other: Any) -> bool:
    """Do they say the same, however it is spelled?"""
    return not difference(one, other)


def difference(before: Any, after: Any) -> list[Difference]:
    """The fields that move from one state to another, by their paths, noise aside."""
    return list(_moves(before, after, "", ""))


def veiled(kind: str, moves: Iterable[Difference]) -> list[Difference]:
    """The same differences, those in a Secret's data without what they hold."""

    def veil(move: Difference) -> Difference:
        if kind != "v1/Secret" or move.path.partition(".")[0] not in ("data", "stringData"):
            return move
        return Difference(
            path=move.path,
            before=None if move.before is None else HIDDEN,
            after=None if move.after is None else HIDDEN,
        )

    return [veil(move) for move in moves]


def _moves(before: Any, after: Any, path: str, field: str) -> Iterator[Difference]:
    if path in NOISE or _equal(before, after, field):
        return
    if isinstance(before, dict | None) and isinstance(after, dict | None) and (before or after):
        one, other = before or {}, after or {}
        for name in sorted(one.keys() | other.keys()):
            here = f"{path}.{name}" if path else name
            # A map of quantities hands its name on: `limits.cpu` is one because of `limits`.
            below = field if field in QUANTITIES else name
            yield from _moves(one.get(name), other.get(name), here, below)
        return
    if isinstance(before, list | None) and isinstance(after, list | None):
        yield from _list_moves(before, after, path, field)
        return
    yield Difference(path=path, before=before, after=after)


def _list_moves(
    before: list[Any] | None, after: list[Any] | None, path: str, field: str
) -> Iterator[Difference]:
    one, other = before or [], after or []
    if (one or other) and keyed(field, one, other):
        theirs = {json.dumps(key_of(field, item), sort_keys=True): item for item in one}
        ours = {json.dumps(key_of(field, item), sort_keys=True): item for item in other}
        for key in [*theirs, *(k for k in ours if k not in theirs)]:
            yield from _moves(theirs.get(key), ours.get(key), path + label(f"k:{key}"), "")
    elif one and other and len(one) == len(other) and all(isinstance(i, dict) for i in one + other):
        for at, (was, is_now) in enumerate(zip(one, other, strict=True)):
            yield from _moves(was, is_now, f"{path}[{at}]", "")
    elif canonical(before) != canonical(after):
        yield Difference(path=path, before=before, after=after)


def _equal(one: Any, other: Any, field: str) -> bool:
    if isinstance(one, dict | list) and isinstance(other, dict | list):
        return not one and not other
    if one == other and isinstance(one, bool) == isinstance(other, bool):
        return True
    if field in QUANTITIES or field in QUANTITY:
        mine, theirs = number(one), number(other)
        return mine is not None and mine == theirs
    # What is not there, and what is there and empty, is the same to the API.
    return one in (None, {}, []) and other in (None, {}, [])


def spelled(body: Any, field: str = "") -> Any:
    """A body as the API server spells it: canonical quantities, and the keys of lists' items."""
    if isinstance(body, dict):
        return {
            name: spelled(value, field if field in QUANTITIES else name)
            for name, value in body.items()
        }
    if isinstance(body, list):
        keys = [key_of(field, item) for item in body]
        of_items = keys if body and None not in keys else [None] * len(body)
        return [
            spelled((key or {}) | item) if key else spelled(item)
            for key, item in zip(of_items, body, strict=True)
        ]
    if field in QUANTITIES or field in QUANTITY:
        return spelled_quantity(body)
    return body
