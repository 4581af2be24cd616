"""Namespaces: what every one has, and the emptying of one that ends."""

from __future__ import annotations

from typing import Any

from ..clock import parse_stamp
from ..store import Record
from ..world import World

Object = dict[str, Any]


def furnish(world: World, name: str) -> None:
    """What every namespace has: a ServiceAccount, and the cluster's certificate."""
    if world.get("ServiceAccount", name, "default") is None:
        world.create("ServiceAccount", {"metadata": {"name": "default", "namespace": name}})
    if world.get("ConfigMap", name, "kube-root-ca.crt") is None:
        meta = {
            "name": "kube-root-ca.crt",
            "namespace": name,
            "annotations": {"kubernetes.io/description": "The cluster's own certificate."},
        }
        data = {"ca.crt": "-----BEGIN CERTIFICATE-----\nPRACTICE\n-----END CERTIFICATE-----\n"}
        world.create("ConfigMap", {"metadata": meta, "data": data})


def sync(world: World, namespace: Object) -> float | None:
    """Empty a namespace that ends, and then let it go."""
    meta = namespace["metadata"]
    name = meta["name"]
    if not meta.get("deletionTimestamp"):
        furnish(world, name)
        return None
    if namespace["spec"].get("finalizers") != ["kubernetes"]:
        return None
    ended = (world.clock.now() - parse_stamp(meta["deletionTimestamp"])).total_seconds()
    if ended < world.timings.namespace:
        return world.timings.namespace - ended
    for record in world.api.store.in_namespace(name):
        if not record.object["metadata"].get("deletionTimestamp"):
            world.delete(record.kind.kind, record.object)
    left = world.api.store.in_namespace(name)
    if left:
        world.set_status("Namespace", namespace, _waiting(world, namespace, left))
        return None
    world.api.finish(world.api.get(world.api.kinds.named("Namespace"), "", name))
    return None


def _waiting(world: World, namespace: Object, left: list[Record]) -> Object:
    counts: dict[str, int] = {}
    held: dict[str, int] = {}
    for record in left:
        counts[record.kind.resource] = counts.get(record.kind.resource, 0) + 1
        for finalizer in record.object["metadata"].get("finalizers", ()):
            held[finalizer] = held.get(finalizer, 0) + 1
    resources = ", ".join(f"{kind}. has {n} resource instances" for kind, n in counts.items())
    finalizers = ", ".join(f"{name} in {n} resource instances" for name, n in held.items())
    before = {c["type"]: c for c in namespace.get("status", {}).get("conditions", ())}

    def condition(sort: str, holds: bool, reason: str, message: str) -> Object:
        same = before.get(sort, {}).get("status") == str(holds)
        since = before[sort]["lastTransitionTime"] if same else world.now()
        return {
            "type": sort,
            "status": str(holds),
            "lastTransitionTime": since,
            "reason": reason,
            "message": message,
        }

    return {
        "phase": "Terminating",
        "conditions": [
            condition(
                "NamespaceDeletionDiscoveryFailure",
                False,
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
            condition(
                "NamespaceDeletionContentFailure",
                False,
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            condition(
                "NamespaceContentRemaining",
                True,
                "SomeResourcesRemain",
                f"Some resources are remaining: {resources}",
            ),
            condition(
                "NamespaceFinalizersRemaining",
                bool(held),
                "SomeFinalizersRemain",
                f"Some content in the namespace has finalizers remaining: {finalizers}",
            ),
        ],
    }
