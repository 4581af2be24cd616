"""Which fields of an object are meant: trees in the shape of Kubernetes' own `fieldsV1`.

`f:name` is a field, `k:{"name":"web"}` an item of a list by its merge key, `v:"x"` a value of a
set. A leaf is all that is below it.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

Mask: TypeAlias = dict[str, Any]

# Lists that merge item by item, and the keys that tell their items apart. All others are one value.
MERGE_KEYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "containers": (("name",),),
    "initContainers": (("name",),),
    "ephemeralContainers": (("name",),),
    "env": (("name",),),
    "volumes": (("name",),),
    "resourceClaims": (("name",),),
    "claims": (("name",),),
    "imagePullSecrets": (("name",),),
    "secrets": (("name",),),
    "schedulingGates": (("name",),),
    "webhooks": (("name",),),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "hostAliases": (("ip",),),
    "conditions": (("type",),),
    "ownerReferences": (("uid",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"), ("topologyKey",)),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
}
DEFAULTS = {"protocol": "TCP"}
# Maps that are applied as one value.
ATOMIC = frozenset(
    {
        "selector",
        "podSelector",
        "namespaceSelector",
        "labelSelector",
        "nodeSelector",
        "roleRef",
        "secretKeyRef",
        "configMapKeyRef",
        "fieldRef",
        "resourceFieldRef",
    }
)
# Maps whose fields are owned one by one even when all there is to see is an empty one.
GRANULAR = frozenset(
    {
        "metadata",
        "labels",
        "annotations",
        "data",
        "stringData",
        "binaryData",
        "limits",
        "requests",
        "hard",
    }
)


def key_of(field: str, item: Any) -> dict[str, Any] | None:
    """The merge key of a list's item, or None where the list is one value."""
    if not isinstance(item, dict):
        return None
    for keys in MERGE_KEYS.get(field, ()):
        found = {k: item.get(k, DEFAULTS.get(k)) for k in keys}
        if all(value is not None for value in found.values()):
            return found
    return None


def keyed(field: str, *lists: Any) -> bool:
    """Do these lists under a field merge item by item?"""
    return field in MERGE_KEYS and all(
        key_of(field, item) is not None for items in lists for item in items
    )


def mask_of(body: Any, field: str = "") -> Mask:
    """The fields that a body names. Where there are none to name, it is not all of them."""
    if (body == {} and not field) or (body == [] and field in MERGE_KEYS):
        return {".": {}}
    if isinstance(body, dict) and field not in ATOMIC:
        return {f"f:{name}": mask_of(value, name) for name, value in body.items()}
    if isinstance(body, list) and body and keyed(field, body):
        return {_item(key_of(field, item)): _item_mask(item) for item in body}
    return {}


def owned_mask(live: Mapping[str, Any], manager: str) -> Mask:
    """The fields that a manager holds by server-side apply."""
    mask: Mask = {}
    for entry in managed(live):
        if entry.get("manager") == manager and entry.get("operation") == "Apply":
            mask = union(mask, entry.get("fieldsV1") or {})
    return mask


def managed(live: Mapping[str, Any]) -> list[dict[str, Any]]:
    return (live.get("metadata") or {}).get("managedFields") or []


def union(one: Mask, other: Mask) -> Mask:
    """Both. A leaf that meets a branch gives way to it: an empty map is owned as a leaf, too."""
    both = dict(one)
    for key, below in other.items():
        both[key] = union(both[key], below) if key in both else below
    return both


def overlap(one: Mask, other: Mask, path: str = "") -> list[str]:
    """The paths that both masks mean, as far down as both go."""
    found: list[str] = []
    for key in one.keys() & other.keys():
        if key == ".":
            continue
        here = path + label(key) if key[:2] != "f:" else f"{path}.{key[2:]}".lstrip(".")
        mine, theirs = one[key], other[key]
        if mine.keys() - {"."} and theirs.keys() - {"."}:
            found += overlap(mine, theirs, here)
        else:
            found.append(here)
    return sorted(found)


def pick(live: Any, mask: Mask, field: str = "") -> Any:
    """What a live object has in the masked fields; what it has not is left out."""
    below = {k: v for k, v in mask.items() if k != "."}
    if not below:
        if isinstance(live, dict) and ("." in mask or field in GRANULAR):
            return {}
        return [] if isinstance(live, list) and "." in mask else live
    if isinstance(live, dict):
        picked = {
            key[2:]: pick(live[key[2:]], under, key[2:])
            for key, under in below.items()
            if key[:2] == "f:" and key[2:] in live
        }
        # A map or list of which nothing was meant is not an empty one.
        nothing = {
            name
            for name, value in picked.items()
            if value in ({}, []) and live[name] and below[f"f:{name}"].keys() - {"."}
        }
        return {name: value for name, value in picked.items() if name not in nothing}
    if isinstance(live, list):
        return _picked_items(live, below)
    return live


def _picked_items(live: list[Any], below: Mask) -> list[Any]:
    if any(key[:2] == "i:" for key in below):
        return live
    picked = []
    for item in live:
        for key, under in below.items():
            if key[:2] == "k:" and isinstance(item, dict):
                wanted = json.loads(key[2:])
                if all(item.get(k, DEFAULTS.get(k)) == v for k, v in wanted.items()):
                    identity = {k: item[k] for k in wanted if k in item}
                    picked.append(identity | pick(item, under))
            elif key[:2] == "v:" and item == json.loads(key[2:]):
                picked.append(item)
    return picked


def label(key: str) -> str:
    """A list's item in a path: `[web]`, `[80/TCP]`."""
    value = json.loads(key[2:]) if key[:2] in ("k:", "v:") else key[2:]
    return f"[{'/'.join(map(str, value.values())) if isinstance(value, dict) else value}]"


def _item(key: dict[str, Any] | None) -> str:
    return "k:" + json.dumps(key, sort_keys=True, separators=(",", ":"))


def _item_mask(item: dict[str, Any]) -> Mask:
    return {".": {}} | {f"f:{name}": mask_of(value, name) for name, value in item.items()}
