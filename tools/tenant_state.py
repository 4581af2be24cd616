"""A tenant as it is and as it must be: what its tools read before they plan."""

import asyncio

from tools import placing
from tools.context import Context
from tools.errors import Code, ToolError
from tools.looking import Cluster
from tools.objects import Object, anew, labels, meta
from tools.plan import Change, Delete, Ref
from tools.provisioning import (
    BINDING,
    CLUSTER_ROLES,
    KINDS,
    NAMESPACE,
    POLICY,
    UID,
    TenantSpec,
    aws_refs,
    desired,
    is_tenant,
    pool_policy,
    refs,
    spec_of,
)

GONE_S = 1800


async def live(ctx: Context, *, going: bool = False) -> tuple[TenantSpec, Cluster, Object]:
    """The call's tenant as it is now. One that is being deleted is found only if it may be."""
    ref = ctx.need_tenant()
    cluster = ctx.clusters[ref.cluster]
    namespace = await cluster.find(cluster.ref(NAMESPACE, ref.name))
    if namespace is None or not is_tenant(namespace):
        raise ToolError(
            Code.NOT_FOUND, f"There is no tenant {ref.name}.", "tenant_list shows those there are."
        )
    if "deletionTimestamp" in meta(namespace) and not going:
        raise terminating(ref.name)
    return spec_of(namespace, cluster.name), cluster, namespace


def must_not_be_protected(spec: TenantSpec) -> None:
    if spec.protected:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Tenant {spec.name} is protected against deletion.",
            "Lift it first: tenant_update with protected=false.",
        )


async def must_be_new(ctx: Context, name: str, adopting: Cluster | None = None) -> None:
    found = await asyncio.gather(
        *(cluster.find(cluster.ref(NAMESPACE, name)) for cluster in ctx.clusters.values())
    )
    for cluster, namespace in zip(ctx.clusters.values(), found, strict=True):
        if namespace is None:
            continue
        if "deletionTimestamp" in meta(namespace):
            raise terminating(name)
        if is_tenant(namespace):
            raise ToolError(
                Code.ALREADY_EXISTS,
                f"There is a tenant {name} already, in cluster {cluster.name}.",
                "See it with tenant_get; tenant_update changes and tenant_repair mends it.",
            )
        if adopting is None:
            raise ToolError(
                Code.ALREADY_EXISTS,
                f"There is a namespace {name} in cluster {cluster.name} that is no tenant.",
                "tenant_adopt takes it in; or choose another name.",
            )


def terminating(name: str) -> ToolError:
    return ToolError(
        Code.FAILED_PRECONDITION,
        f"Namespace {name} is being deleted.",
        "Wait until it is gone (tenant_get), and repeat.",
    )


def known_tier(ctx: Context, plan: str) -> None:
    if plan not in ctx.tiers.tiers:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"There is no plan tier {plan}.",
            f"One of: {', '.join(ctx.tiers.tiers)}.",
        )


async def fits(ctx: Context, cluster: Cluster, spec: TenantSpec, force: bool) -> list[str]:
    """What the tenant uses beyond the new tier, to be told. Raises `ToolError` unless forced."""
    beyond = await placing.over(ctx, cluster, spec, spec.plan)
    if beyond and not force:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Tenant {spec.name} uses more than tier {spec.plan} allows: {', '.join(beyond)}.",
            "Stop or scale something first, or repeat with force=true: what runs goes on, "
            "and nothing new starts.",
        )
    return [f"It uses more than that: {', '.join(beyond)}. Nothing new starts."] if beyond else []


async def wanted(
    ctx: Context, cluster: Cluster, spec: TenantSpec, *, force: bool = False
) -> list[Change]:
    aws = await ctx.aws.connected() if ctx.aws is not None else None
    pooled = await placing.admission(cluster) if spec.isolation == "node-pool" else ""
    return desired(spec, ctx.tiers, aws, admission=pooled, force=force)


async def stale(cluster: Cluster, spec: TenantSpec, wanted: list[Change]) -> list[Change]:
    """Deletions of what is marked as the tenant's and should not be there any more."""
    found = await asyncio.gather(
        *(cluster.list(kind, spec.name, labels=spec.selector, parts="whole") for kind in KINDS)
    )
    there: list[tuple[Ref, Object]] = [
        (cluster.ref(kind, meta(thing)["name"], spec.name), thing)
        for kind, (things, _) in zip(KINDS, found, strict=True)
        for thing in things
    ]
    there += await pool_objects(cluster, spec)
    kept = refs(wanted)
    return [deleted(ref, thing, ("namespace",)) for ref, thing in there if ref not in kept]


async def pool_objects(cluster: Cluster, spec: TenantSpec) -> list[tuple[Ref, Object]]:
    if not (served := await placing.served_admission(cluster)):
        return []
    names = [cluster.ref(f"{served}/{kind}", pool_policy(spec.name)) for kind in (BINDING, POLICY)]
    found = await asyncio.gather(*map(cluster.find, names))
    return [
        (ref, thing)
        for ref, thing in zip(names, found, strict=True)
        if thing is not None and labels(thing).get(UID) == spec.uid
    ]


def deleted(ref: Ref, thing: Object, needs: tuple[str, ...] = ()) -> Delete:
    id = f"old-{ref.short_kind.lower()}-{ref.name}"
    return Delete(id=id, ref=ref, whole=anew(thing), needs=needs)


async def left_behind(cluster: Cluster, spec: TenantSpec, made: list[Change]) -> list[Change]:
    """The namespace in the cluster that a tenant leaves. Raises `ToolError` unless it is empty."""
    counts = await placing.inside(cluster, spec.name, all=True)
    if counts:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Tenant {spec.name} cannot move to another cluster with what is inside: "
            f"{placing.told(counts)}.",
            "Delete these first, and make them anew in the other cluster.",
        )
    needs = tuple(change.id for change in made)
    ref = cluster.ref(NAMESPACE, spec.name)
    gone: list[Change] = [Delete(id="old-namespace", ref=ref, needs=needs, settle_s=GONE_S)]
    pooled = await pool_objects(cluster, spec)
    return gone + [deleted(ref, thing, ("old-namespace",)) for ref, thing in pooled]


async def must_not_be_theirs(cluster: Cluster, changes: list[Change]) -> None:
    """Server-side apply would mix our fields into an object of somebody else's by the same name."""
    wanted = [c.ref for c in changes if c.ref.backend == "kubernetes" and c.ref.namespace]
    found = await asyncio.gather(*map(cluster.find, wanted))
    theirs = [
        str(ref.short_kind) + " " + ref.name
        for ref, thing in zip(wanted, found, strict=True)
        if thing is not None and UID not in labels(thing)
    ]
    if theirs:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"The namespace has objects of its own by names that a tenant needs: "
            f"{', '.join(theirs)}.",
            "Rename or delete them, and repeat; nothing was taken over.",
        )


async def lacking(ctx: Context, cluster: Cluster) -> list[str]:
    notes = []
    found = await asyncio.gather(
        *(
            cluster.there(cluster.ref("rbac.authorization.k8s.io/v1/ClusterRole", name))
            for name in CLUSTER_ROLES
        )
    )
    missing = [n for n, there in zip(CLUSTER_ROLES, found, strict=True) if not there]
    if missing:
        notes.append(
            f"Cluster {cluster.name} lacks the ClusterRoles {', '.join(missing)}: nobody has any "
            "rights in the tenant until `kubectl apply -f deploy/clusterroles.yaml`."
        )
    if ctx.aws is None:
        notes.append("No AWS account is configured: it gets no IAM role and no S3 prefix.")
    return notes


def result(ctx: Context, spec: TenantSpec) -> dict[str, str]:
    result = {"name": spec.name, "uid": spec.uid, "plan": spec.plan, "cluster": spec.cluster}
    if ctx.aws is not None:
        role, prefix = aws_refs(spec, ctx.aws)
        result |= {"role_arn": ctx.aws.arn(role), "prefix": f"s3://{prefix.name}"}
    return result
