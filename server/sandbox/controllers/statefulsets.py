"""StatefulSets: pods with numbers, made and removed in order."""

from __future__ import annotations

from typing import Any

from ..errors import ApiError
from ..pods import active, finished, ready
from ..schema import clone
from ..world import World
from .podmaking import make_pod, pod_from, remove_pod, template_hash

Object = dict[str, Any]
REVISION = "controller-revision-hash"


def sync(world: World, sts: Object) -> float | None:
    """One step: the next pod made, removed or brought up to date."""
    revision = f"{sts['metadata']['name']}-{template_hash(sts['spec']['template'])}"
    again = None
    if not sts["metadata"].get("deletionTimestamp"):
        try:
            _step(world, sts, revision)
        except ApiError:
            again = world.timings.retry
    world.set_status("StatefulSet", sts, _status(world, sts, revision))
    return again


def _step(world: World, sts: Object, revision: str) -> None:
    pods = {_ordinal(pod): pod for pod in world.owned("Pod", sts)}
    start = sts["spec"].get("ordinals", {}).get("start", 0)
    wanted = range(start, start + sts["spec"].get("replicas", 1))
    parallel = sts["spec"].get("podManagementPolicy") == "Parallel"
    for number in wanted:
        pod = pods.get(number)
        if pod is None:
            _make(world, sts, number, revision)
        elif finished(pod) and not pod["metadata"].get("deletionTimestamp"):
            world.delete("Pod", pod)
        if not parallel and (pod is None or not ready(pod) or not active(pod)):
            # One after the other: an older pod that is broken may still be replaced.
            if pod is not None and active(pod) and _outdated(sts, pod, revision):
                remove_pod(world, "StatefulSet", sts, pod)
            return
    for number in sorted(set(pods) - set(wanted), reverse=True):
        if active(pods[number]):
            remove_pod(world, "StatefulSet", sts, pods[number])
        if not parallel:
            return
    if any(not ready(pods[number]) for number in wanted if number in pods):
        return
    for number in sorted(wanted, reverse=True):
        if number in pods and _outdated(sts, pods[number], revision):
            remove_pod(world, "StatefulSet", sts, pods[number])
            return


def _outdated(sts: Object, pod: Object, revision: str) -> bool:
    strategy = sts["spec"]["updateStrategy"]
    partition = strategy.get("rollingUpdate", {}).get("partition", 0)
    return bool(
        strategy["type"] == "RollingUpdate"
        and _ordinal(pod) >= partition
        and pod["metadata"]["labels"].get(REVISION) != revision
    )


def _ordinal(pod: Object) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])


def _make(world: World, sts: Object, number: int, revision: str) -> None:
    name = f"{sts['metadata']['name']}-{number}"
    pod = pod_from("StatefulSet", sts, sts["spec"]["template"], name)
    pod["metadata"].setdefault("labels", {}).update(
        {
            "statefulset.kubernetes.io/pod-name": name,
            REVISION: revision,
            "apps.kubernetes.io/pod-index": str(number),
        }
    )
    pod["spec"]["hostname"] = name
    if sts["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = sts["spec"]["serviceName"]
    for template in sts["spec"].get("volumeClaimTemplates", ()):
        claim = f"{template['metadata']['name']}-{name}"
        space = sts["metadata"]["namespace"]
        if world.get("PersistentVolumeClaim", space, claim) is None:
            meta = {
                "name": claim,
                "namespace": space,
                "labels": sts["spec"]["selector"].get("matchLabels", {}),
            }
            body = {"metadata": meta, "spec": clone(template["spec"])}
            world.create("PersistentVolumeClaim", body)
        volume = {
            "name": template["metadata"]["name"],
            "persistentVolumeClaim": {"claimName": claim},
        }
        pod["spec"]["volumes"] = [*pod["spec"].get("volumes", ()), volume]
    make_pod(world, "StatefulSet", sts, pod)


def _status(world: World, sts: Object, revision: str) -> Object:
    pods = [pod for pod in world.owned("Pod", sts) if active(pod)]
    updated = sum(1 for pod in pods if pod["metadata"]["labels"].get(REVISION) == revision)
    are_ready = sum(1 for pod in pods if ready(pod))
    before = sts.get("status", {})
    current = before.get("currentRevision", revision)
    counts = {"readyReplicas": are_ready, "currentReplicas": len(pods), "updatedReplicas": updated}
    if updated == len(pods):
        current = revision
    else:
        counts["currentReplicas"] = len(pods) - updated
    return {
        "observedGeneration": sts["metadata"].get("generation", 1),
        "replicas": len(pods),
        **{name: count for name, count in counts.items() if count},
        "currentRevision": current,
        "updateRevision": revision,
        "collisionCount": 0,
        "availableReplicas": are_ready,
    }
