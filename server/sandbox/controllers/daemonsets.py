"""DaemonSets: one pod on every node that takes it."""

from __future__ import annotations

from typing import Any

from ..errors import ApiError
from ..pods import active, finished, ready
from ..scheduler import refusal
from ..world import World
from .podmaking import make_pod, pod_from, remove_pod, template_hash

Object = dict[str, Any]
REVISION = "controller-revision-hash"
TOLERATED = (
    ("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"), ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)  # fmt: skip


def sync(world: World, ds: Object) -> float | None:
    """Make, remove and replace pods, one node after the other."""
    revision = template_hash(ds["spec"]["template"])
    nodes = [node for node in world.all("Node") if not refusal(_pod(ds, node, revision), node)]
    again = None
    if not ds["metadata"].get("deletionTimestamp"):
        try:
            _step(world, ds, nodes, revision)
        except ApiError:
            again = world.timings.retry
    world.set_status("DaemonSet", ds, _status(world, ds, nodes, revision))
    return again


def _step(world: World, ds: Object, nodes: list[Object], revision: str) -> None:
    pods = world.owned("Pod", ds)
    by_node = {pod["spec"].get("nodeName"): pod for pod in pods}
    for node in nodes:
        if node["metadata"]["name"] not in by_node:
            make_pod(world, "DaemonSet", ds, _pod(ds, node, revision))
    names = {node["metadata"]["name"] for node in nodes}
    for pod in pods:
        if finished(pod) or (pod["spec"].get("nodeName") not in names and active(pod)):
            world.delete("Pod", pod)
    outdated = [pod for pod in pods if active(pod) and _revision(pod) != revision]
    all_there = len(by_node) == len(nodes) and all(ready(pod) for pod in by_node.values())
    if outdated and ds["spec"]["updateStrategy"]["type"] == "RollingUpdate":
        broken = [pod for pod in outdated if not ready(pod)]
        if broken or all_there:
            remove_pod(world, "DaemonSet", ds, (broken or outdated)[0])


def _revision(pod: Object) -> str:
    return str(pod["metadata"].get("labels", {}).get(REVISION))


def _pod(ds: Object, node: Object, revision: str) -> Object:
    pod = pod_from("DaemonSet", ds, ds["spec"]["template"])
    pod["metadata"].setdefault("labels", {})[REVISION] = revision
    pod["spec"]["nodeName"] = node["metadata"]["name"]
    pod["spec"]["tolerations"] = [
        *pod["spec"].get("tolerations", ()),
        *(
            {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": effect}
            for name, effect in TOLERATED
        ),
    ]
    return pod


def _status(world: World, ds: Object, nodes: list[Object], revision: str) -> Object:
    pods = [pod for pod in world.owned("Pod", ds) if active(pod)]
    are_ready = sum(1 for pod in pods if ready(pod))
    status: Object = {
        "currentNumberScheduled": len(pods),
        "numberMisscheduled": 0,
        "desiredNumberScheduled": len(nodes),
        "numberReady": are_ready,
        "observedGeneration": ds["metadata"].get("generation", 1),
    }
    counts = {
        "updatedNumberScheduled": sum(1 for pod in pods if _revision(pod) == revision),
        "numberAvailable": are_ready,
        "numberUnavailable": len(nodes) - are_ready,
    }
    return status | {name: count for name, count in counts.items() if count > 0}
