"""How far a workload is on its way to where it should be, and whether it will get there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rollout:
    """How far a workload is. `waiting` is empty when it is where it should be; `never` says why
    it will not get there by itself."""

    desired: int
    ready: int
    waiting: str = ""
    never: str = ""


def rollout(live: Mapping[str, Any]) -> Rollout:
    """Of a Deployment, StatefulSet or DaemonSet."""
    spec, status = live.get("spec") or {}, live.get("status") or {}
    daemons = live.get("kind") == "DaemonSet"
    if daemons:
        desired = status.get("desiredNumberScheduled", 0)
        ready = status.get("numberAvailable", 0)
        updated = status.get("updatedNumberScheduled", 0)
        total = status.get("currentNumberScheduled", 0)
    else:
        desired = 1 if spec.get("replicas") is None else spec["replicas"]
        ready = status.get("readyReplicas", 0)
        updated = status.get("updatedReplicas", 0)
        total = status.get("replicas", 0)
    if status.get("observedGeneration", 0) < (live.get("metadata") or {}).get("generation", 0):
        return Rollout(desired, ready, "its controller has not seen the change yet")
    waiting = ""
    if _rolls(live) and updated < desired:
        waiting = f"{updated} of {desired} replicas updated"
    elif total > desired:
        waiting = f"{total - desired} replicas still to go"
    elif ready < desired:
        waiting = f"{ready} of {desired} replicas ready"
    elif live.get("kind") == "Deployment" and status.get("availableReplicas", 0) < desired:
        waiting = f"{status.get('availableReplicas', 0)} of {desired} replicas available"
    return Rollout(desired, ready, waiting, _never(status) if waiting else "")


def _rolls(live: Mapping[str, Any]) -> bool:
    """Does a changed template reach the pods by itself?"""
    spec = live.get("spec") or {}
    strategy = spec.get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition")
    return not (spec.get("paused") or strategy.get("type") == "OnDelete" or partition)


def _never(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("reason") == "ProgressDeadlineExceeded":
            return str(condition.get("message") or "it exceeded its progress deadline")
    return ""


def failed_create(status: Mapping[str, Any]) -> str:
    """Why a workload's pods are refused (quota, Pod Security), in the API's own words."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message") or condition.get("reason") or "")
    return ""


def job_end(live: Mapping[str, Any]) -> str:
    """`Complete` or `Failed` once a Job has ended, else nothing."""
    for condition in (live.get("status") or {}).get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return str(condition["type"])
    return ""
