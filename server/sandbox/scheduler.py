"""The scheduler: a node for each pod that one takes."""

from __future__ import annotations

from typing import Any

from .pods import active, totals
from .quantities import parse
from .selectors import labels_match
from .store import Event
from .world import World

Object = dict[str, Any]
COMPONENT = "default-scheduler"


class Scheduler:
    """Gives pods their nodes as they come, and looks again when nodes change."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._load: dict[str, int] = {}
        world.api.store.listen(self._noticed)

    def _noticed(self, event: Event) -> None:
        kind = event.record.kind.kind
        if kind == "Pod":
            self._weigh(event)
        if (kind == "Pod" and event.type == "ADDED") or kind == "Node":
            self._world.clock.call_later(0, self.run)

    def _weigh(self, event: Event) -> None:
        for record, weight in ((event.before, -1), (event.record, 1)):
            if record is None or (weight > 0 and event.type == "DELETED"):
                continue
            if node := record.object["spec"].get("nodeName"):
                self._load[node] = self._load.get(node, 0) + weight * active(record.object)

    def run(self) -> None:
        """Find nodes for all pods that have none."""
        kind = self._world.api.kinds.named("Pod")
        waiting = [
            pod
            for pod in self._world.api.store.objects(kind)
            if not pod["spec"].get("nodeName")
            and active(pod)
            and pod["spec"].get("schedulerName") == COMPONENT
            and not pod["spec"].get("schedulingGates")
        ]
        nodes = self._world.all("Node") if waiting else []
        for pod in waiting:
            self._place(pod, nodes)

    def _place(self, pod: Object, nodes: list[Object]) -> None:
        why = {node["metadata"]["name"]: refusal(pod, node) for node in nodes}
        free = [name for name, reason in why.items() if not reason]
        if not free:
            self._refuse(pod, list(why.values()))
            return
        node = min(free, key=lambda name: self._load.get(name, 0))

        def bind(copy: Object) -> None:
            copy["spec"]["nodeName"] = node
            self._condition(copy, {"status": "True"})

        # The binding is the API's own doing, so that no manager owns what it sets.
        record = self._world.api.store.get(
            self._world.api.kinds.named("Pod"),
            pod["metadata"]["namespace"],
            pod["metadata"]["name"],
        )
        if record is None:
            return
        bound = record.object | {
            "metadata": dict(record.object["metadata"]),
            "spec": dict(record.object["spec"]),
            "status": dict(record.object.get("status", {})),
        }
        bind(bound)
        self._world.api.store.put(record.kind, bound)
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        message = f"Successfully assigned {name} to {node}"
        self._world.event("Pod", bound, "Normal", "Scheduled", message, COMPONENT)

    def _refuse(self, pod: Object, reasons: list[str]) -> None:
        counts = {reason: reasons.count(reason) for reason in sorted(set(reasons))}
        listed = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        total = len(reasons)
        message = (
            f"0/{total} nodes are available: {listed}. preemption: 0/{total} nodes are available: "
            f"{total} Preemption is not helpful for scheduling."
        )

        def mark(copy: Object) -> None:
            self._condition(
                copy,
                {
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": message,
                },
            )

        if message != _scheduled(pod).get("message"):
            self._world.change("Pod", pod, mark, "status", "kube-scheduler")
        self._world.event("Pod", pod, "Warning", "FailedScheduling", message, COMPONENT)

    def _condition(self, pod: Object, values: Object) -> None:
        condition = {
            "type": "PodScheduled",
            "lastProbeTime": None,
            "lastTransitionTime": self._world.now(),
        } | values
        others = [
            c for c in pod.get("status", {}).get("conditions", ()) if c["type"] != "PodScheduled"
        ]
        pod.setdefault("status", {})["conditions"] = [*others, condition]


def _scheduled(pod: Object) -> Object:
    listed = pod.get("status", {}).get("conditions", ())
    return next((c for c in listed if c["type"] == "PodScheduled"), {})


def refusal(pod: Object, node: Object) -> str:
    """Why a node does not take a pod, or nothing."""
    labels = node["metadata"].get("labels", {})
    spec = pod["spec"]
    if spec.get("nodeName") not in (None, node["metadata"]["name"]):
        return "node(s) didn't match the requested node name"
    tolerations = spec.get("tolerations", ())
    if node["spec"].get("unschedulable") and not _tolerated(UNSCHEDULABLE, tolerations):
        return "node(s) were unschedulable"
    if not (spec.get("nodeSelector", {}).items() <= labels.items() and _affine(spec, labels)):
        return "node(s) didn't match Pod's node affinity/selector"
    for taint in node["spec"].get("taints", ()):
        if taint["effect"] in ("NoSchedule", "NoExecute") and not _tolerated(taint, tolerations):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    allocatable = node.get("status", {}).get("allocatable", {})
    for name, amount in totals(spec, "requests").items():
        if name in allocatable and amount > parse(allocatable[name]):
            return f"Insufficient {name}"
    return ""


UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "value": "", "effect": "NoSchedule"}


def _affine(spec: Object, labels: dict[str, str]) -> bool:
    required = (
        spec.get("affinity", {})
        .get("nodeAffinity", {})
        .get("requiredDuringSchedulingIgnoredDuringExecution")
    )
    if not required:
        return True
    return any(
        labels_match({"matchExpressions": term.get("matchExpressions", [])}, labels)
        for term in required.get("nodeSelectorTerms", ())
    )


def _tolerated(taint: Object, tolerations: Any) -> bool:
    for toleration in tolerations:
        if toleration.get("effect") not in (None, "", taint["effect"]):
            continue
        exists = toleration.get("operator", "Equal") == "Exists"
        if exists and toleration.get("key") in (None, "", taint["key"]):
            return True
        if toleration.get("key") == taint["key"] and (
            exists or toleration.get("value", "") == taint.get("value", "")
        ):
            return True
    return False
