"""Where a tenant may be put: a shared cluster, a pool of nodes or a cluster of its own."""

import asyncio

from tools.context import Context
from tools.errors import Code, ToolError
from tools.inputs import amount
from tools.looking import Cluster
from tools.objects import MANAGED_BY, OURS, meta
from tools.plan import Ref
from tools.provisioning import BINDING, NAMESPACE, POLICY, POOL, QUOTA, Isolation, TenantSpec

# What cannot be moved along to another cluster.
INSIDE = {
    "Deployments": "apps/v1/Deployment",
    "StatefulSets": "apps/v1/StatefulSet",
    "DaemonSets": "apps/v1/DaemonSet",
    "Jobs": "batch/v1/Job",
    "CronJobs": "batch/v1/CronJob",
    "pods": "v1/Pod",
    "volume claims": "v1/PersistentVolumeClaim",
    "Secrets": "v1/Secret",
    "Services": "v1/Service",
    "ConfigMaps": "v1/ConfigMap",
}


async def place(
    ctx: Context, name: str, isolation: Isolation, cluster: str, pool: str, now: str = ""
) -> tuple[Cluster, str]:
    """The cluster and the pool of nodes (or none) for a tenant; `now` is the cluster that it is in.

    Without a name for them, the first that is free. Raises `ToolError` where there is none.
    """
    if cluster and cluster not in ctx.clusters:
        raise _unknown("cluster", cluster, list(ctx.clusters))
    alone = ctx.tiers.isolation.clusters
    if isolation == "cluster":
        wanted = [cluster] if cluster else [now] if now in alone else alone
        return await _free_cluster(ctx, name, wanted), ""
    chosen = ctx.clusters[cluster or (now if now not in alone else "") or _shared(ctx)]
    if chosen.name in alone:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Cluster {chosen.name} is kept for tenants of isolation level cluster.",
            "Name another cluster, or isolation=cluster.",
        )
    if isolation == "namespace":
        return chosen, ""
    return chosen, await _free_pool(ctx, chosen, name, pool)


def _shared(ctx: Context) -> str:
    alone = ctx.tiers.isolation.clusters
    shared = [ctx.cluster.name, *ctx.clusters]
    return next((c for c in shared if c not in alone), ctx.cluster.name)


async def _free_cluster(ctx: Context, name: str, wanted: list[str]) -> Cluster:
    alone = ctx.tiers.isolation.clusters
    for candidate in wanted:
        if candidate in alone and candidate in ctx.clusters:
            cluster = ctx.clusters[candidate]
            there, _ = await cluster.list(NAMESPACE, labels=f"{MANAGED_BY}={OURS}", limit=2)
            if all(meta(n)["name"] == name for n in there):
                return cluster
    raise ToolError(
        Code.FAILED_PRECONDITION,
        f"No cluster is free for {name} alone"
        + (f" ({', '.join(wanted)} taken or not kept for this)." if wanted else "."),
        "Name more in isolation.clusters, or choose isolation namespace or node-pool.",
    )


async def _free_pool(ctx: Context, cluster: Cluster, name: str, pool: str) -> str:
    """A pool that is no other tenant's and has nodes."""
    pools = ctx.tiers.isolation.node_pools
    if pool and pool not in pools:
        raise _unknown("node pool", pool, pools)
    await admission(cluster)
    for candidate in [pool] if pool else pools:
        taken, _ = await cluster.list(NAMESPACE, labels=f"{POOL}={candidate}", limit=2)
        nodes, _ = await cluster.list("v1/Node", labels=f"{POOL}={candidate}", limit=1)
        if nodes and all(meta(n)["name"] == name for n in taken):
            return candidate
    raise ToolError(
        Code.FAILED_PRECONDITION,
        f"No pool of nodes is free for {name}"
        + (f": {', '.join([pool] if pool else pools)} taken, or without nodes." if pools else "."),
        f"Label and taint nodes {POOL}=NAME, and name it in isolation.node_pools.",
    )


async def admission(cluster: Cluster) -> str:
    """The API version that serves MutatingAdmissionPolicy. Raises `ToolError` where none does."""
    try:
        kind, _ = await asyncio.gather(cluster.kind(POLICY), cluster.kind(BINDING))
    except ToolError as error:
        if error.code not in (Code.NOT_FOUND, Code.INVALID_ARGUMENT):
            raise
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Cluster {cluster.name} does not serve {POLICY}, which puts a tenant's pods "
            "onto its nodes.",
            "Kubernetes 1.36 serves it (earlier ones behind a feature gate); or choose isolation "
            "namespace or cluster.",
        ) from error
    return kind.rpartition("/")[0]


async def served_admission(cluster: Cluster) -> str:
    """As `admission`; empty where none does."""
    try:
        return await admission(cluster)
    except ToolError as error:
        if error.code is not Code.FAILED_PRECONDITION:
            raise
        return ""


async def inside(cluster: Cluster, namespace: str, *, all: bool = False) -> dict[str, int]:
    """How many there are of what users put into a namespace, without what there is none of.

    Of what Pilothouse has no right to see (Secrets, as a rule) nothing is said; with `all`, that
    raises."""

    async def count(kind: str) -> int:
        try:
            if kind == INSIDE["ConfigMaps"]:
                # Controllers put the CAs of the cluster into every namespace.
                maps, _ = await cluster.list(kind, namespace, limit=500)
                return sum(not meta(m)["name"].endswith("-ca.crt") for m in maps)
            table = await cluster.table(kind, namespace, limit=1)
        except ToolError as error:
            if all or error.code is not Code.PERMISSION_DENIED:
                raise
            return 0
        return len(table.rows) + (table.remaining or 0)

    counts = await asyncio.gather(*map(count, INSIDE.values()))
    return {what: many for what, many in zip(INSIDE, counts, strict=True) if many}


def told(counts: dict[str, int]) -> str:
    return ", ".join(f"{many} {what}" for what, many in counts.items())


async def quota_of(cluster: Cluster, tenant: str) -> dict[str, dict[str, str]]:
    """`hard` and `used` of a tenant's quota; empty where it has none."""
    found = await cluster.find(Ref(at=cluster.name, kind=QUOTA, name="plan", namespace=tenant))
    status: dict[str, dict[str, str]] = (found or {}).get("status") or {}
    return status


async def over(ctx: Context, cluster: Cluster, spec: TenantSpec, plan: str) -> list[str]:
    """What a tenant uses now beyond a tier: `pods 12 of 10`."""
    used = (await quota_of(cluster, spec.name)).get("used", {})
    hard = ctx.tiers.tiers[plan].quota
    return [
        f"{what} {used[what]} of {most}"
        for what, most in sorted(hard.items())
        if what in used and amount(str(used[what])) > amount(str(most))
    ]


def _unknown(what: str, name: str, names: list[str]) -> ToolError:
    return ToolError(
        Code.INVALID_ARGUMENT,
        f"There is no {what} {name}.",
        f"One of: {', '.join(names)}." if names else f"None is configured: no {what} can be named.",
    )
