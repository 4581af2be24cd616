"""Deployments: a ReplicaSet for each template, and the way from one to the next."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from ..clock import parse_stamp
from ..errors import ApiError
from ..pods import condition
from ..schema import clone
from ..world import World, owner_reference, set_condition
from .podmaking import HASH_LABEL, template_hash

Object = dict[str, Any]
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
COMPONENT = "deployment-controller"


def sync(world: World, deployment: Object) -> float | None:
    """One step towards the template and the number of replicas that are wanted."""
    if deployment["metadata"].get("deletionTimestamp"):
        return None
    sets = world.owned("ReplicaSet", deployment)
    new = next((rs for rs in sets if _template(rs) == deployment["spec"]["template"]), None)
    old = [rs for rs in sets if rs is not new]
    recreates = deployment["spec"]["strategy"]["type"] == "Recreate"
    created = False
    paused = deployment["spec"].get("paused")
    if new is None and not paused:
        if recreates and _scale_away(world, deployment, old):
            return _finish(world, deployment, None, old, created)
        new = _make(world, deployment, old)
        created = True
    elif new is not None and not paused:
        _mark(world, deployment, new, sets)
    if new is not None:
        if paused or recreates or not any(_replicas(rs) for rs in old):
            _scale(world, deployment, new, _wanted(deployment))
        else:
            _roll(world, deployment, new, old)
        _clean_up(world, deployment, old)
    elif len(running := [rs for rs in old if _replicas(rs)]) == 1:
        # Paused before its new template was rolled out, it still scales.
        _scale(world, deployment, running[0], _wanted(deployment))
    return _finish(world, deployment, new, old, created)


def limits(deployment: Object) -> tuple[int, int]:
    """How many pods more than wanted there may be, and how many may be missing."""
    rolling = deployment["spec"]["strategy"].get("rollingUpdate")
    if not rolling:
        return 0, _wanted(deployment)
    wanted = _wanted(deployment)
    surge = _share(rolling["maxSurge"], wanted, math.ceil)
    missing = _share(rolling["maxUnavailable"], wanted, math.floor)
    return (surge, missing) if surge or missing else (0, 1)


def _share(value: Any, wanted: int, rounded: Any) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return int(rounded(wanted * int(value[:-1]) / 100))
    return int(value)


def _wanted(deployment: Object) -> int:
    return int(deployment["spec"].get("replicas", 1))


def _replicas(rs: Object) -> int:
    return int(rs["spec"].get("replicas", 0))


def _available(rs: Object) -> int:
    return int(rs.get("status", {}).get("availableReplicas", 0))


def _revision(obj: Object) -> int:
    return int(obj["metadata"].get("annotations", {}).get(REVISION, 0))


def _template(rs: Object) -> Object:
    template = clone(rs["spec"]["template"])
    template["metadata"]["labels"].pop(HASH_LABEL, None)
    if not template["metadata"]["labels"]:
        del template["metadata"]["labels"]
    found: Object = template
    return found


def _make(world: World, deployment: Object, old: list[Object]) -> Object:
    meta, spec = deployment["metadata"], deployment["spec"]
    template = clone(spec["template"])
    name = template_hash(template)
    labels = template["metadata"].get("labels", {}) | {HASH_LABEL: name}
    template["metadata"]["labels"] = labels
    surge, _ = limits(deployment)
    total = sum(_replicas(rs) for rs in old)
    size = _wanted(deployment)
    if total and spec["strategy"]["type"] != "Recreate":
        size = min(size, max(0, _wanted(deployment) + surge - total))
    selector = clone(spec["selector"])
    selector["matchLabels"] = selector.get("matchLabels", {}) | {HASH_LABEL: name}
    made = world.create(
        "ReplicaSet",
        {
            "metadata": {
                "name": f"{meta['name']}-{name}",
                "namespace": meta["namespace"],
                "labels": labels,
                "annotations": _annotations(deployment, max(map(_revision, old), default=0) + 1),
                "ownerReferences": [owner_reference("Deployment", deployment)],
            },
            "spec": {"replicas": size, "selector": selector, "template": template},
        },
    )
    if size:
        _tell(world, deployment, made, 0, size)
    return made


def _annotations(deployment: Object, revision: int) -> Object:
    surge, _ = limits(deployment)
    wanted = _wanted(deployment)
    return {DESIRED: str(wanted), MAXIMUM: str(wanted + surge), REVISION: str(revision)}


def _mark(world: World, deployment: Object, new: Object, sets: list[Object]) -> None:
    """An older template wanted again is the newest revision."""
    newest = max(map(_revision, sets))
    if _revision(new) < newest:
        world.change(
            "ReplicaSet",
            new,
            lambda rs: rs["metadata"]["annotations"].update({REVISION: str(newest + 1)}),
        )


def _scale(world: World, deployment: Object, rs: Object, size: int) -> None:
    fresh = _annotations(deployment, _revision(rs))
    before = _replicas(rs)
    if before == size and fresh.items() <= rs["metadata"].get("annotations", {}).items():
        return

    def change(copy: Object) -> None:
        copy["spec"]["replicas"] = size
        annotations = copy["metadata"].setdefault("annotations", {})
        annotations |= {key: fresh[key] for key in (DESIRED, MAXIMUM)}

    world.change("ReplicaSet", rs, change)
    if before != size:
        _tell(world, deployment, rs, before, size)


def _tell(world: World, deployment: Object, rs: Object, before: int, size: int) -> None:
    way = "up" if size > before else "down"
    message = f"Scaled {way} replica set {rs['metadata']['name']} from {before} to {size}"
    world.event("Deployment", deployment, "Normal", "ScalingReplicaSet", message, COMPONENT)


def _scale_away(world: World, deployment: Object, old: list[Object]) -> bool:
    """Whether pods of older templates are still there."""
    for rs in old:
        if _replicas(rs):
            _scale(world, deployment, rs, 0)
    return any(world.owned("Pod", rs) for rs in old)


def _roll(world: World, deployment: Object, new: Object, old: list[Object]) -> None:
    wanted = _wanted(deployment)
    surge, missing = limits(deployment)
    total = _replicas(new) + sum(map(_replicas, old))
    if _replicas(new) != wanted:
        room = max(0, wanted + surge - total)
        _scale(world, deployment, new, min(wanted, _replicas(new) + room))
    least = wanted - missing
    pending = _replicas(new) - _available(new)
    spare = total - least - pending
    for rs in sorted(old, key=_revision):
        # Pods that are not available go first: they serve nobody.
        idle = _replicas(rs) - _available(rs)
        down = min(_replicas(rs), max(0, min(idle, spare)))
        if down:
            spare -= down
            _scale(world, deployment, rs, _replicas(rs) - down)
    spare = sum(map(_available, old)) + _available(new) - least
    for rs in sorted(old, key=_revision):
        size = _replicas(
            world.get("ReplicaSet", rs["metadata"]["namespace"], rs["metadata"]["name"]) or rs
        )
        down = min(size, _available(rs), max(0, spare))
        if down:
            spare -= down
            _scale(world, deployment, rs, size - down)


def _clean_up(world: World, deployment: Object, old: list[Object]) -> None:
    """Keep only so many old ReplicaSets to go back to."""
    idle = [rs for rs in old if not _replicas(rs) and not rs.get("status", {}).get("replicas")]
    keep = deployment["spec"].get("revisionHistoryLimit", 10)
    for rs in sorted(idle, key=_revision)[: max(0, len(idle) - keep)]:
        world.delete("ReplicaSet", rs)


def _finish(
    world: World, deployment: Object, new: Object | None, old: list[Object], created: bool
) -> float | None:
    status, again = _status(world, deployment, new, old, created)
    revision = str(_revision(new)) if new else None

    def change(copy: Object) -> None:
        copy["status"] = status
        if revision:
            copy["metadata"].setdefault("annotations", {})[REVISION] = revision

    annotated = deployment["metadata"].get("annotations", {}).get(REVISION)
    if deployment.get("status") != status or (revision and annotated != revision):
        try:
            world.change("Deployment", deployment, change, "status")
        except ApiError:
            return world.timings.retry
    return again


def _status(
    world: World, deployment: Object, new: Object | None, old: list[Object], created: bool
) -> tuple[Object, float | None]:
    meta, before = deployment["metadata"], deployment.get("status", {})
    space = meta["namespace"]
    sets = [
        world.get("ReplicaSet", space, rs["metadata"]["name"])
        for rs in [*old, *([new] if new else [])]
    ]
    there = [rs for rs in sets if rs]
    current = world.get("ReplicaSet", space, new["metadata"]["name"]) if new else None

    def total(field: str, of: list[Object]) -> int:
        return sum(rs.get("status", {}).get(field, 0) for rs in of)

    wanted = _wanted(deployment)
    available = total("availableReplicas", there)
    replicas = total("replicas", there)
    counts = {
        "observedGeneration": meta.get("generation", 1),
        "replicas": replicas,
        "updatedReplicas": total("replicas", [current] if current else []),
        "readyReplicas": total("readyReplicas", there),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(wanted, sum(map(_replicas, there))) - available),
    }
    status: Object = {name: count for name, count in counts.items() if count}
    status["terminatingReplicas"] = total("terminatingReplicas", there)
    if before.get("conditions"):
        status["conditions"] = clone(before["conditions"])
    now = world.now()
    _, missing = limits(deployment)
    enough = available >= wanted - missing
    set_condition(
        status,
        _condition(
            now,
            "Available",
            enough,
            *(
                ("MinimumReplicasAvailable", "Deployment has minimum availability.")
                if enough
                else (
                    "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.",
                )
            ),
        ),
    )
    again = _progress(world, deployment, status, current, created, counts)
    _failure(status, there, now)
    return status, again


def _condition(now: str, name: str, holds: bool, reason: str, message: str) -> Object:
    return {
        "type": name,
        "status": str(holds),
        "lastUpdateTime": now,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }


def _progress(
    world: World,
    deployment: Object,
    status: Object,
    new: Object | None,
    created: bool,
    counts: dict[str, int],
) -> float | None:
    if new is None:
        return None
    wanted, now = _wanted(deployment), world.now()
    name = new["metadata"]["name"]
    before = condition(deployment, "Progressing")
    complete = (
        counts["updatedReplicas"] == wanted
        and counts["replicas"] == wanted
        and counts["availableReplicas"] == wanted
    )
    said = f'ReplicaSet "{name}" '
    if complete:
        reason, message = "NewReplicaSetAvailable", said + "has successfully progressed."
        set_condition(status, _condition(now, "Progressing", True, reason, message))
        return None
    settled = before.get("reason") == "NewReplicaSetAvailable" and name in before.get("message", "")
    if settled and not created:
        # Scaling what is rolled out is not a new rollout.
        return None
    if created:
        reason = "NewReplicaSetCreated"
        message = f'Created new replica set "{name}"'
        set_condition(status, _condition(now, "Progressing", True, reason, message))
    elif _moved(deployment, status) or before.get("reason") in (None, "NewReplicaSetAvailable"):
        condition_now = _condition(
            now, "Progressing", True, "ReplicaSetUpdated", said + "is progressing."
        )
        status["conditions"] = [c for c in status["conditions"] if c["type"] != "Progressing"]
        if before.get("status") == "True":
            condition_now["lastTransitionTime"] = before["lastTransitionTime"]
        status["conditions"].append(condition_now)
    else:
        return _deadline(world, deployment, status, said)
    return float(deployment["spec"].get("progressDeadlineSeconds", 600)) + 0.1


def _moved(deployment: Object, status: Object) -> bool:
    before = deployment.get("status", {})
    return any(
        status.get(field, 0) != before.get(field, 0)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    ) or status.get("replicas", 0) < before.get("replicas", 0)


def _deadline(world: World, deployment: Object, status: Object, said: str) -> float | None:
    before = condition(deployment, "Progressing")
    if before.get("reason") == "ProgressDeadlineExceeded":
        return None
    allowed = timedelta(seconds=deployment["spec"].get("progressDeadlineSeconds", 600))
    left = parse_stamp(before["lastUpdateTime"]) + allowed - world.clock.now()
    if left > timedelta():
        return left.total_seconds() + 0.1
    set_condition(
        status,
        _condition(
            world.now(),
            "Progressing",
            False,
            "ProgressDeadlineExceeded",
            said + "has timed out progressing.",
        ),
    )
    return None


def _failure(status: Object, sets: list[Object], now: str) -> None:
    failed = next((c for rs in sets if (c := condition(rs, "ReplicaFailure"))), None)
    if failed:
        set_condition(
            status, _condition(now, "ReplicaFailure", True, failed["reason"], failed["message"])
        )
    else:
        status["conditions"] = [c for c in status["conditions"] if c["type"] != "ReplicaFailure"]
