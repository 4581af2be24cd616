"""One workload: how it is named, found, and what belongs to it."""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from tools.context import Context
from tools.errors import Code, ToolError
from tools.health import event_time
from tools.inputs import InTenant, Subdomain
from tools.looking import Cluster
from tools.objects import Object, meta
from tools.plan import Ref

Kind = Literal["Deployment", "StatefulSet", "DaemonSet", "Pod"]

KINDS: dict[str, str] = {
    "Deployment": "apps/v1/Deployment",
    "StatefulSet": "apps/v1/StatefulSet",
    "DaemonSet": "apps/v1/DaemonSet",
    "Pod": "v1/Pod",
}
HPA = "autoscaling/v2/HorizontalPodAutoscaler"
STOPPED = "pilothouse.dev/stopped-replicas"

# What controllers mark their pods with: a pod without any of these is a workload by itself.
BARE = "!pod-template-hash,!controller-revision-hash,!job-name"
PAGE = 500
EVENTS_READ = 1000


class OfWorkload(InTenant):
    """One workload. Without a kind, whichever has that name."""

    name: Subdomain
    kind: Kind | None = None


async def find(ctx: Context, args: OfWorkload) -> tuple[Ref, dict[str, Any]]:
    """The workload asked for. Raises `ToolError`: NOT_FOUND, or INVALID_ARGUMENT where the name
    alone does not say which."""
    kinds = [KINDS[args.kind]] if args.kind else list(KINDS.values())
    refs = [ctx.cluster.ref(kind, args.name, args.tenant) for kind in kinds]
    found = await asyncio.gather(*(ctx.cluster.find(ref) for ref in refs))
    there = [(ref, thing) for ref, thing in zip(refs, found, strict=True) if thing]
    if len(there) > 1:
        which = " and a ".join(ref.short_kind for ref, _ in there)
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{args.name} in {args.tenant} is a {which}.",
            "Say which with `kind`.",
        )
    if not there:
        what = args.kind or "Deployment, StatefulSet, DaemonSet or Pod"
        raise ToolError(
            Code.NOT_FOUND,
            f"{args.tenant} has no {what} {args.name}.",
            "workload_list shows those there are.",
        )
    ref, thing = there[0]
    return ref, {**thing, "kind": ref.short_kind}


def template(thing: Object) -> dict[str, Any]:
    """The spec of its pods."""
    spec = thing.get("spec") or {}
    if thing.get("kind") == "Pod":
        return dict(spec)
    return (spec.get("template") or {}).get("spec") or {}


def selector(thing: Object) -> str:
    """The label selector of its pods, as the API takes it in a query."""
    of = (thing.get("spec") or {}).get("selector") or {}
    parts = [f"{k}={v}" for k, v in (of.get("matchLabels") or {}).items()]
    for rule in of.get("matchExpressions") or []:
        key, values = rule["key"], ",".join(rule.get("values") or [])
        parts.append({
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }[rule["operator"]])  # fmt: skip
    return ",".join(parts)


async def pods_of(cluster: Cluster, thing: Object, limit: int = 100) -> list[Object]:
    """Its pods, newest first; a pod is its own."""
    if thing.get("kind") == "Pod":
        return [thing]
    pods, _ = await cluster.list(
        "v1/Pod", meta(thing)["namespace"], labels=selector(thing), limit=limit, parts="whole"
    )
    return sorted(pods, key=lambda pod: meta(pod)["creationTimestamp"], reverse=True)


async def events_of(cluster: Cluster, thing: Object, pods: Sequence[Object]) -> list[Object]:
    """What was told lately of a workload, its ReplicaSets and its pods: warnings, then the rest,
    each with the newest first."""
    events, _ = await cluster.list(
        "v1/Event", meta(thing)["namespace"], limit=EVENTS_READ, parts="whole"
    )
    name, theirs = meta(thing)["name"], {meta(pod)["name"] for pod in pods}

    def about_it(event: Object) -> bool:
        of = event.get("involvedObject") or {}
        if of.get("kind") == "ReplicaSet":
            return bool(of.get("name", "").rpartition("-")[0] == name)
        return of.get("name") in theirs or (
            of.get("name") == name and of.get("kind") in (thing["kind"], "HorizontalPodAutoscaler")
        )

    told = sorted(filter(about_it, events), key=event_time, reverse=True)
    return sorted(told, key=lambda event: event.get("type") != "Warning")


async def autoscaler_of(cluster: Cluster, ref: Ref) -> dict[str, Any] | None:
    """The HorizontalPodAutoscaler that sets a workload's replicas, if there is one."""
    try:
        found, _ = await cluster.list(HPA, ref.namespace, parts="whole", cached=True)
    except ToolError as error:
        # Who may not see autoscalers can still scale.
        if error.code in (Code.PERMISSION_DENIED, Code.NOT_FOUND):
            return None
        raise
    for scaler in found:
        target = scaler["spec"]["scaleTargetRef"]
        if (target.get("kind"), target.get("name")) == (ref.short_kind, ref.name):
            return scaler
    return None
