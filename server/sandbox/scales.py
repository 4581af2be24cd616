"""Scale: how many replicas a workload has, apart from everything else about it."""

from __future__ import annotations

from typing import Any

from .api import Api, Ask
from .decoding import patched
from .errors import conflict, invalid, invalid_value
from .kinds import SCALE, Kind
from .schema import clone, normal
from .selectors import selector_text
from .store import Record
from .validation import NEGATIVE

Object = dict[str, Any]


def scale_of(record: Record) -> Object:
    """The Scale of a workload."""
    obj, meta = record.object, record.object["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = obj["spec"].get("replicas", 0)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in kept},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": selector_text(obj["spec"]["selector"]),
        },
    }


def set_scale(
    api: Api, kind: Kind, namespace: str, name: str, sort: str, body: Any, ask: Ask
) -> Object:
    """Change a workload's replicas; `sort` is the content type of a patch, or `put`."""
    record = api.get(kind, namespace, name)
    scale = scale_of(record)
    new = body if sort == "put" else patched(SCALE, scale, sort, body)
    new = normal(SCALE.shape, new, "Scale", "v1")
    meta, sent = record.object["metadata"], new.get("metadata", {})
    if sent.get("resourceVersion", meta["resourceVersion"]) != meta["resourceVersion"]:
        raise conflict(kind, name)
    replicas = new.get("spec", {}).get("replicas", 0)
    if replicas < 0:
        cause = invalid_value("spec.replicas", replicas, NEGATIVE)
        raise invalid(SCALE.group, SCALE.kind, name, [cause])
    changed = record.object | {"spec": record.object["spec"] | {"replicas": replicas}}
    return scale_of(api.replace(record, clone(changed), ask, "scale"))
