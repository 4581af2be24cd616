"""ReplicaSets: as many pods as wanted."""

from __future__ import annotations

from typing import Any

from ..pods import active, finished, ready
from ..world import World, set_condition
from .podmaking import make_many, remove_pod

Object = dict[str, Any]


def sync(world: World, rs: Object) -> float | None:
    """Make or remove pods, and say how many there are."""
    pods = world.owned("Pod", rs)
    alive = [pod for pod in pods if active(pod)]
    wanted = rs["spec"].get("replicas", 1)
    failure = ""
    if not rs["metadata"].get("deletionTimestamp"):
        if len(alive) < wanted:
            missing = wanted - len(alive)
            failure = make_many(world, "ReplicaSet", rs, rs["spec"]["template"], missing)
        for pod in sorted(alive, key=_worth)[: max(0, len(alive) - wanted)]:
            remove_pod(world, "ReplicaSet", rs, pod)
        for pod in pods:
            # A pod that ended by itself, or was evicted, makes room for another.
            if finished(pod) and not pod["metadata"].get("deletionTimestamp"):
                world.delete("Pod", pod)
    world.set_status("ReplicaSet", rs, _status(world, rs, failure))
    return world.timings.retry if failure else None


def _worth(pod: Object) -> tuple[bool, bool, str, int]:
    """The pods that go first come first: those without a node, not ready, the youngest."""
    meta = pod["metadata"]
    age = "".join(chr(255 - ord(char)) for char in meta["creationTimestamp"])
    return bool(pod["spec"].get("nodeName")), ready(pod), age, -int(meta["resourceVersion"])


def _status(world: World, rs: Object, failure: str) -> Object:
    pods = world.owned("Pod", rs)
    alive = [pod for pod in pods if active(pod)]
    labels = rs["spec"]["template"].get("metadata", {}).get("labels", {})
    labelled = sum(
        1 for pod in alive if labels.items() <= pod["metadata"].get("labels", {}).items()
    )
    are_ready = sum(1 for pod in alive if ready(pod))
    status: Object = {"replicas": len(alive)}
    counts = {
        "fullyLabeledReplicas": labelled,
        "readyReplicas": are_ready,
        "availableReplicas": are_ready,
    }
    status |= {name: count for name, count in counts.items() if count}
    status["terminatingReplicas"] = sum(
        1 for pod in pods if pod["metadata"].get("deletionTimestamp") and not finished(pod)
    )
    status["observedGeneration"] = rs["metadata"].get("generation", 1)
    conditions = rs.get("status", {}).get("conditions", [])
    status["conditions"] = [c for c in conditions if c["type"] != "ReplicaFailure" or failure]
    if failure:
        set_condition(
            status,
            {
                "type": "ReplicaFailure",
                "status": "True",
                "lastTransitionTime": world.now(),
                "reason": "FailedCreate",
                "message": failure,
            },
        )
    if not status["conditions"]:
        del status["conditions"]
    return status
