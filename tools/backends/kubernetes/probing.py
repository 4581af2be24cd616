"""Whether the pods that a workload would make are let in: by dry-running one, and counting.

A Job's own dry run answers 201 over any quota, and so does a Deployment's.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tools.backends.kubernetes.fields import difference
from tools.backends.kubernetes.quantities import number, written
from tools.errors import Code, ToolError
from tools.plan import Ref

if TYPE_CHECKING:
    from tools.backends.kubernetes.cluster import KubeCluster

TEMPLATED = frozenset(
    {
        "apps/v1/Deployment",
        "apps/v1/StatefulSet",
        "apps/v1/DaemonSet",
        "apps/v1/ReplicaSet",
        "batch/v1/Job",
        "batch/v1/CronJob",
    }
)
SCALED = frozenset({"apps/v1/Deployment", "apps/v1/StatefulSet", "apps/v1/ReplicaSet"})
SUFFIX = "-pilothouse-probe"


async def probe(
    cluster: "KubeCluster",
    ref: Ref,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
) -> bool | None:
    """Try the pods that come with a workload's new state. True when one was tried and let in,
    False when there are none to try, None when this caller may not try any. Raises the API's own
    refusal (quota, Pod Security, limits)."""
    if ref.kind not in TEMPLATED or _idle(ref, after):
        return False
    template = _template(ref, after)
    was = _template(ref, before) if before else None
    changed = was is None or bool(difference(was, template))
    running = _pods(ref, before) if before and not _idle(ref, before) else 0
    added = _pods(ref, after) - running
    if not changed and added <= 0:
        return False
    probed = _pod(ref, template)
    try:
        pod = await cluster.probe("v1/Pod", ref.namespace, probed)
    except ToolError as error:
        if error.code is Code.PERMISSION_DENIED:
            return None
        error.message = error.message.replace(probed["metadata"]["name"], ref.name)
        if error.code is Code.RESOURCE_EXHAUSTED and changed and was and _makes_room(ref, after):
            await _fit_after(cluster, ref, was, running, template, after)
            return True
        if error.code is Code.RESOURCE_EXHAUSTED and added > 1:  # not for the first only
            await _count(cluster, ref, probed, added)
        raise
    if added > 1:
        await _count(cluster, ref, pod, added)
    return True


def _template(ref: Ref, workload: Mapping[str, Any]) -> dict[str, Any]:
    spec = workload.get("spec") or {}
    if ref.kind == "batch/v1/CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return spec.get("template") or {}


def _idle(ref: Ref, workload: Mapping[str, Any]) -> bool:
    spec = workload.get("spec") or {}
    return bool(spec.get("suspend")) or (ref.kind in SCALED and _pods(ref, workload) == 0)


def _pods(ref: Ref, workload: Mapping[str, Any]) -> int:
    if ref.kind not in SCALED:
        return 1
    replicas = (workload.get("spec") or {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def _pod(ref: Ref, template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = template.get("metadata") or {}
    kept = {k: metadata[k] for k in ("labels", "annotations") if metadata.get(k)}
    return {"metadata": {"name": ref.name[:40] + SUFFIX, **kept}, "spec": template.get("spec")}


def _makes_room(ref: Ref, workload: Mapping[str, Any]) -> bool:
    """Does a rollout take an old pod away before it adds a new one?"""
    spec = workload.get("spec") or {}
    if ref.kind in ("apps/v1/StatefulSet", "apps/v1/DaemonSet"):
        return True
    if ref.kind != "apps/v1/Deployment":
        return False
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return True
    most = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%")
    if isinstance(most, str) and most.endswith("%"):
        return int(most[:-1]) * _pods(ref, workload) // 100 > 0
    return int(most) > 0


async def _fit_after(
    cluster: "KubeCluster",
    ref: Ref,
    was: Mapping[str, Any],
    running: int,
    template: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    """One pod more does not fit, but the rollout takes an old one away first."""
    old, new = usage(was.get("spec") or {}), usage(template.get("spec") or {})
    pods = _pods(ref, after)
    added = {k: much * pods - old.get(k, Decimal(0)) * running for k, much in new.items()}
    if said := await _over(cluster, ref.namespace, added):
        raise _forbidden(f"The new pods of {ref.name}", said)


async def _count(cluster: "KubeCluster", ref: Ref, pod: Mapping[str, Any], added: int) -> None:
    each = usage(pod.get("spec") or {})
    if said := await _over(cluster, ref.namespace, {k: v * added for k, v in each.items()}):
        raise _forbidden(f"{added} more pods of {ref.name}", said)


def _forbidden(what: str, said: str) -> ToolError:
    return ToolError(
        Code.RESOURCE_EXHAUSTED,
        f"{what} are forbidden: {said}",
        "Ask for less, free some, or raise the plan tier.",
    )


async def _over(cluster: "KubeCluster", namespace: str, added: Mapping[str, Decimal]) -> str:
    """What a namespace's quotas would say to this much more, in their own words; or nothing."""
    try:
        quotas, _ = await cluster.list("v1/ResourceQuota", namespace, parts="whole")
    except ToolError as error:
        if error.code is Code.PERMISSION_DENIED:
            return ""
        raise
    for quota in quotas:
        spec, status = quota.get("spec") or {}, quota.get("status") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue  # which pods it counts is the server's to say
        hard = status.get("hard") or spec.get("hard") or {}
        used = status.get("used") or {}
        over = {}
        for name in sorted(hard):
            more = added.get(name, Decimal(0))
            limit, now = number(hard[name]), number(used.get(name, "0"))
            if limit is not None and now is not None and more > 0 and now + more > limit:
                over[name] = (written(more, str(hard[name])), used.get(name, "0"), hard[name])
        if over:
            requested, was, limited = (
                ",".join(f"{name}={figures[i]}" for name, figures in over.items()) for i in range(3)
            )
            return (
                f"exceeded quota: {quota['metadata']['name']}, requested: {requested}, "
                f"used: {was}, limited: {limited}"
            )
    return ""


def usage(spec: Mapping[str, Any]) -> dict[str, Decimal]:
    """What a pod counts for in a quota: itself, its requests and its limits."""
    total: dict[str, Decimal] = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for what in ("requests", "limits"):
        running: dict[str, Decimal] = {}
        starting: dict[str, Decimal] = {}
        for container in spec.get("containers") or ():
            for name, value in _resources(container, what).items():
                running[name] = running.get(name, Decimal(0)) + value
        for container in spec.get("initContainers") or ():
            for name, value in _resources(container, what).items():
                if container.get("restartPolicy") == "Always":  # a sidecar stays
                    running[name] = running.get(name, Decimal(0)) + value
                else:
                    starting[name] = max(starting.get(name, Decimal(0)), value)
        for name in running.keys() | starting.keys():
            value = max(running.get(name, Decimal(0)), starting.get(name, Decimal(0)))
            value += number((spec.get("overhead") or {}).get(name, "0")) or Decimal(0)
            total[f"{what}.{name}"] = value
            if what == "requests":
                total[name] = value
    return total


def _resources(container: Mapping[str, Any], what: str) -> dict[str, Decimal]:
    """A request that is not said is the limit."""
    resources = container.get("resources") or {}
    said = dict(resources.get("limits") or {}) if what == "requests" else {}
    said |= resources.get(what) or {}
    return {name: value for name, q in said.items() if (value := number(q)) is not None}
