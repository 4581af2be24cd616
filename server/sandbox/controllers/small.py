"""The controllers that only keep a status: quotas, disruption budgets, claims, definitions."""

from __future__ import annotations

import math
from typing import Any

from ..pods import active, ready
from ..quota import used
from ..selectors import labels_match
from ..world import World

Object = dict[str, Any]


def sync_quota(world: World, quota: Object) -> None:
    """Say what is used."""
    hard = quota["spec"].get("hard", {})
    status = {"hard": dict(hard), "used": used(world.api.store, world.api.kinds, quota)}
    world.set_status("ResourceQuota", quota, status)


def sync_budget(world: World, budget: Object) -> None:
    """Say how many pods may go."""
    selector = budget["spec"].get("selector")
    pods = [
        pod
        for pod in world.all("Pod", budget["metadata"]["namespace"])
        if active(pod) and labels_match(selector, pod["metadata"].get("labels"))
    ]
    healthy, expected = sum(1 for pod in pods if ready(pod)), len(pods)
    if "minAvailable" in budget["spec"]:
        least = _count(budget["spec"]["minAvailable"], expected)
    else:
        least = expected - _count(budget["spec"].get("maxUnavailable", 1), expected)
    allowed = max(0, healthy - least)
    before = budget.get("status", {}).get("conditions", [{}])[0]
    since = before.get("lastTransitionTime", world.now())
    if before.get("status") != str(allowed > 0):
        since = world.now()
    world.set_status(
        "PodDisruptionBudget",
        budget,
        {
            "observedGeneration": budget["metadata"].get("generation", 1),
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": max(0, least),
            "expectedPods": expected,
            "conditions": [
                {
                    "type": "DisruptionAllowed",
                    "status": str(allowed > 0),
                    "observedGeneration": budget["metadata"].get("generation", 1),
                    "lastTransitionTime": since,
                    "message": "",
                    "reason": "SufficientPods" if allowed else "InsufficientPods",
                }
            ],
        },
    )


def _count(value: Any, expected: int) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return math.ceil(expected * int(value[:-1]) / 100)
    return int(value)


def sync_autoscaler(world: World, autoscaler: Object) -> None:
    """Keep a workload between its least and most replicas; it does not follow the load."""
    spec, meta = autoscaler["spec"], autoscaler["metadata"]
    ref = spec["scaleTargetRef"]
    if ref.get("kind") not in ("Deployment", "StatefulSet", "ReplicaSet"):
        return
    target = world.get(ref["kind"], meta["namespace"], ref["name"])
    if target is None:
        return
    now = target["spec"].get("replicas", 1)
    # What is stopped stays stopped.
    wanted = min(max(now, spec["minReplicas"]), spec["maxReplicas"]) if now else 0
    if wanted != now:
        world.change(
            ref["kind"], target, lambda copy: copy["spec"].update(replicas=wanted), "scale"
        )
        message = f"New size: {wanted}; reason: the workload is outside its bounds"
        component = "horizontal-pod-autoscaler"
        world.event(
            autoscaler["kind"], autoscaler, "Normal", "SuccessfulRescale", message, component
        )
    status = {
        "currentReplicas": target.get("status", {}).get("replicas", 0),
        "desiredReplicas": wanted,
        "currentMetrics": None,
    }
    world.set_status("HorizontalPodAutoscaler", autoscaler, status)


def sync_claim(world: World, claim: Object) -> None:
    """Bind a claim to a volume that is only a name."""
    if claim.get("status", {}).get("phase") == "Bound":
        return
    spec, volume = claim["spec"], f"pvc-{claim['metadata']['uid']}"
    world.change(
        "PersistentVolumeClaim", claim, lambda copy: copy["spec"].update(volumeName=volume)
    )
    bound = world.get(
        "PersistentVolumeClaim", claim["metadata"]["namespace"], claim["metadata"]["name"]
    )
    if bound:
        world.set_status(
            "PersistentVolumeClaim",
            bound,
            {
                "phase": "Bound",
                "accessModes": spec.get("accessModes", []),
                "capacity": spec.get("resources", {}).get("requests", {}),
            },
        )


def sync_definition(world: World, definition: Object) -> None:
    """Say that a custom kind is served."""
    now = world.now()
    spec = definition["spec"]
    if definition.get("status", {}).get("conditions"):
        return
    names = {"listKind": f"{spec['names']['kind']}List"} | spec["names"]
    world.set_status(
        "CustomResourceDefinition",
        definition,
        {
            "conditions": [
                {
                    "type": "NamesAccepted",
                    "status": "True",
                    "lastTransitionTime": now,
                    "reason": "NoConflicts",
                    "message": "no conflicts found",
                },
                {
                    "type": "Established",
                    "status": "True",
                    "lastTransitionTime": now,
                    "reason": "InitialNamesAccepted",
                    "message": "the initial names have been accepted",
                },
            ],
            "acceptedNames": names,
            "storedVersions": [v["name"] for v in spec["versions"] if v.get("storage")],
        },
    )
