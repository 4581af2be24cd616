"""Tenants: made, changed, put right, taken in and deleted. Each is a plan over cluster and AWS."""

import asyncio
import secrets
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tools import placing, tenant_views
from tools.calls import Role
from tools.context import Cluster, Context
from tools.errors import Code, ToolError
from tools.inputs import InTenant, Label
from tools.objects import Object, anew, labels, meta
from tools.plan import Change, Delete, DeleteRole, DropPrefix, EmptyPrefix, Plan, Ref
from tools.provisioning import (
    BINDING,
    CLUSTER_ROLES,
    KINDS,
    NAMESPACE,
    POLICY,
    UID,
    Isolation,
    TenantSpec,
    aws_refs,
    created_at,
    desired,
    is_tenant,
    pool_policy,
    refs,
    spec_of,
)
from tools.tool import Arguments, Effect, tool

__all__ = ["tenant_views"]

# Long enough for a name, and short enough for the names that are made from it (IAM allows 64).
LONGEST = 40
RESERVED = ("kube-", "openshift-", "pilothouse", "default")
GONE_S = 1800
EMPTIED_S = 7200


def _name(name: str) -> str:
    if len(name) > LONGEST:
        raise ValueError(f"a tenant's name has at most {LONGEST} characters, not {len(name)}")
    if name == "default" or name.startswith(RESERVED[:3]):
        raise ValueError(f"{name} is reserved: names beginning with {', '.join(RESERVED[:3])}")
    return name


def _line(text: str) -> str:
    if len(text) > 200 or not text.isprintable():
        raise ValueError("this is one line of at most 200 characters")
    return text


TenantName = Annotated[Label, AfterValidator(_name)]
Line = Annotated[str, AfterValidator(_line)]


class Placed(Arguments):
    """Where a tenant is to be."""

    pool: Label | None = Field(None, description="for node-pool; else the first that is free")
    cluster: Label | None = None


class TenantCreate(Placed):
    name: TenantName
    plan: Label = Field("free", description="tier: free, pro, enterprise")
    isolation: Isolation = "namespace"
    owner: Line = ""
    display_name: Line = ""
    protected: bool = Field(False, description="cannot be deleted")


class TenantUpdate(Placed, InTenant):
    plan: Label | None = None
    isolation: Isolation | None = None
    owner: Line | None = None
    display_name: Line | None = None
    protected: bool | None = None
    force: bool = Field(False, description="also to a tier below what is in use")


class TenantAdopt(Arguments):
    name: TenantName
    plan: Label = "free"
    cluster: Label | None = None
    owner: Line = ""


class TenantDelete(InTenant):
    objects: Literal["keep", "delete"] = Field("keep", description="what is in S3")


@tool("tenant_create", effect=Effect.WRITE, group="tenants", title="Create a tenant",
      role=Role.OPERATOR, scope="platform", runs_as="platform")  # fmt: skip
async def create(ctx: Context, args: TenantCreate) -> Plan:
    """Provision a tenant: namespace, roles, network isolation, quota, IAM role and S3 prefix."""
    _known_tier(ctx, args.plan)
    await _must_be_new(ctx, args.name)
    cluster, pool = await placing.place(
        ctx, args.name, args.isolation, args.cluster or "", args.pool or ""
    )
    spec = TenantSpec(
        **args.model_dump(include={"name", "plan", "isolation", "owner", "display_name"}),
        protected=args.protected,
        uid=secrets.token_hex(4),
        cluster=cluster.name,
        pool=pool,
        created=created_at(ctx.now),
    )
    changes = await _desired(ctx, cluster, spec)
    return Plan.of(
        f"Create tenant {spec.name} ({spec.plan}, {spec.isolation} isolation) in {cluster.name}",
        changes,
        notes=await _notes(ctx, cluster),
        result=_result(ctx, spec),
    )


@tool("tenant_update", effect=Effect.WRITE, group="tenants", title="Change a tenant",
      role=Role.OPERATOR, scope="platform", runs_as="platform")  # fmt: skip
async def update(ctx: Context, args: TenantUpdate) -> Plan:
    """Change a tenant's plan tier, isolation, owner, name or deletion protection."""
    before, source, _ = await _live(ctx)
    said = args.model_dump(
        include={"plan", "isolation", "owner", "display_name", "protected"}, exclude_none=True
    )
    spec = before.model_copy(update=said)
    _known_tier(ctx, spec.plan)
    target = source
    notes: list[str] = []
    if args.isolation or args.pool or args.cluster:
        pool = args.pool or (before.pool if before.isolation == spec.isolation else "")
        target, pool = await placing.place(
            ctx, spec.name, spec.isolation, args.cluster or "", pool, source.name
        )
        spec = spec.model_copy(update={"cluster": target.name, "pool": pool})
        if pool != before.pool:
            notes.append("Pods that run stay where they are until they are started anew.")
    if spec.plan != before.plan:
        notes += await _fits(ctx, source, spec, args.force)
    changes = await _desired(ctx, target, spec)
    if target is source:
        changes += await _stale(source, spec, changes)
    else:
        changes += await _left_behind(source, spec, changes)
        notes.append(f"It moves from cluster {source.name} to {target.name}.")
    moved = [f"{k} {getattr(before, k) or 'none'} → {v or 'none'}" for k, v in said.items()
             if getattr(before, k) != v]  # fmt: skip
    return Plan.of(
        f"Change tenant {spec.name}: {', '.join(moved) or 'place'}",
        changes,
        notes=notes,
        result=_result(ctx, spec),
    )


@tool("tenant_repair", effect=Effect.WRITE, group="tenants", title="Repair a tenant",
      role=Role.OPERATOR, scope="platform", runs_as="platform")  # fmt: skip
async def repair(ctx: Context, args: InTenant) -> Plan:
    """Put what drifted in a tenant back to what its plan and isolation say."""
    spec, cluster, _ = await _live(ctx)
    changes = await _desired(ctx, cluster, spec, force=True)
    changes += await _stale(cluster, spec, changes)
    return Plan.of(
        f"Put tenant {spec.name} back to what it should be",
        changes,
        notes=await _notes(ctx, cluster),
        result=_result(ctx, spec),
    )


@tool("tenant_adopt", effect=Effect.WRITE, group="tenants", title="Adopt a namespace",
      role=Role.OPERATOR, scope="platform", runs_as="platform")  # fmt: skip
async def adopt(ctx: Context, args: TenantAdopt) -> Plan:
    """Take an existing namespace in as a tenant: adds what is missing, takes over nothing."""
    _known_tier(ctx, args.plan)
    cluster, _ = await placing.place(ctx, args.name, "namespace", args.cluster or "", "")
    namespace = await cluster.find(cluster.ref(NAMESPACE, args.name))
    if namespace is None:
        raise ToolError(
            Code.NOT_FOUND,
            f"There is no namespace {args.name} in cluster {cluster.name}.",
            "tenant_create makes a tenant with a namespace of its own.",
        )
    await _must_be_new(ctx, args.name, adopting=cluster)
    spec = TenantSpec(
        name=args.name,
        # One that was a tenant before stays the same one, with its role and prefix.
        uid=labels(namespace).get(UID) or secrets.token_hex(4),
        cluster=cluster.name,
        plan=args.plan,
        owner=args.owner,
        created=created_at(ctx.now),
    )
    changes = await _desired(ctx, cluster, spec)
    await _must_not_be_theirs(cluster, changes)
    return Plan.of(
        f"Take namespace {spec.name} in as a tenant ({spec.plan})",
        changes,
        notes=[
            "Traffic to and from other namespaces is cut off, but for what NetworkPolicies allow.",
            "What runs goes on; new pods must fit the quota and Pod Security level baseline.",
            *await _notes(ctx, cluster),
        ],
        result=_result(ctx, spec),
    )


@tool("tenant_delete", effect=Effect.WRITE, group="tenants", title="Delete a tenant",
      role=Role.OPERATOR, scope="platform", runs_as="platform", destructive=True)  # fmt: skip
async def delete(ctx: Context, args: TenantDelete) -> Plan:
    """Delete a tenant with all in its namespace, and its IAM role; keeps S3 objects unless told."""
    spec, cluster, namespace = await _live(ctx, going=True)
    if spec.protected:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Tenant {spec.name} is protected against deletion.",
            "Lift it first: tenant_update with protected=false.",
        )
    if ctx.aws is None and (spec.role_arn or spec.prefix):
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Tenant {spec.name} has {spec.role_arn or spec.prefix}, and no AWS is configured.",
            "Start Pilothouse with the credentials of that account.",
        )
    ref = cluster.ref(NAMESPACE, spec.name)
    changes: list[Change] = [Delete(id="namespace", ref=ref, settle_s=GONE_S)]
    after = ("namespace",)
    # Last, so that no pod of it starts on the nodes of others meanwhile.
    pooled = await _pool_objects(cluster, spec)
    changes += [_deleted(ref, thing, after) for ref, thing in pooled]
    if ctx.aws is not None:
        role, prefix = aws_refs(spec, await ctx.aws.connected())
        changes.append(DeleteRole(id="role", ref=role, needs=after))
        if args.objects == "delete":
            changes.append(EmptyPrefix(id="prefix", ref=prefix, needs=after, settle_s=EMPTIED_S))
        else:
            changes.append(DropPrefix(id="prefix", ref=prefix, needs=after))
    counts = await placing.inside(cluster, spec.name)
    notes = [f"Inside are {placing.told(counts)}: all go." if counts else "Nothing is inside."]
    if "deletionTimestamp" in meta(namespace):
        notes.append("Its namespace is being deleted already.")
    if ctx.aws is not None and args.objects == "keep":
        objects, size = await ctx.aws.prefix_usage(prefix)
        notes.append(f"{objects} objects ({size:,} bytes) stay at s3://{prefix.name}.")
    return Plan.of(f"Delete tenant {spec.name} and all that is in it", changes, notes=notes,
                   result={"name": spec.name, "uid": spec.uid})  # fmt: skip


# ---- what is there


async def _live(ctx: Context, *, going: bool = False) -> tuple[TenantSpec, Cluster, Object]:
    """The call's tenant as it is now. One that is being deleted is found only if it may be."""
    ref = ctx.need_tenant()
    cluster = ctx.clusters[ref.cluster]
    namespace = await cluster.find(cluster.ref(NAMESPACE, ref.name))
    if namespace is None or not is_tenant(namespace):
        raise ToolError(
            Code.NOT_FOUND, f"There is no tenant {ref.name}.", "tenant_list shows those there are."
        )
    if "deletionTimestamp" in meta(namespace) and not going:
        raise _terminating(ref.name)
    return spec_of(namespace, cluster.name), cluster, namespace


async def _must_be_new(ctx: Context, name: str, adopting: Cluster | None = None) -> None:
    found = await asyncio.gather(
        *(cluster.find(cluster.ref(NAMESPACE, name)) for cluster in ctx.clusters.values())
    )
    for cluster, namespace in zip(ctx.clusters.values(), found, strict=True):
        if namespace is None:
            continue
        if "deletionTimestamp" in meta(namespace):
            raise _terminating(name)
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


def _terminating(name: str) -> ToolError:
    return ToolError(
        Code.FAILED_PRECONDITION,
        f"Namespace {name} is being deleted.",
        "Wait until it is gone (tenant_get), and repeat.",
    )


def _known_tier(ctx: Context, plan: str) -> None:
    if plan not in ctx.tiers.tiers:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"There is no plan tier {plan}.",
            f"One of: {', '.join(ctx.tiers.tiers)}.",
        )


async def _fits(ctx: Context, cluster: Cluster, spec: TenantSpec, force: bool) -> list[str]:
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


# ---- what must be there


async def _desired(
    ctx: Context, cluster: Cluster, spec: TenantSpec, *, force: bool = False
) -> list[Change]:
    aws = await ctx.aws.connected() if ctx.aws is not None else None
    pooled = await placing.admission(cluster) if spec.isolation == "node-pool" else ""
    return desired(spec, ctx.tiers, aws, admission=pooled, force=force)


async def _stale(cluster: Cluster, spec: TenantSpec, wanted: list[Change]) -> list[Change]:
    """Deletions of what is marked as the tenant's and should not be there any more."""
    found = await asyncio.gather(
        *(cluster.list(kind, spec.name, labels=spec.selector, parts="whole") for kind in KINDS)
    )
    there: list[tuple[Ref, Object]] = [
        (cluster.ref(kind, meta(thing)["name"], spec.name), thing)
        for kind, (things, _) in zip(KINDS, found, strict=True)
        for thing in things
    ]
    there += await _pool_objects(cluster, spec)
    kept = refs(wanted)
    return [_deleted(ref, thing, ("namespace",)) for ref, thing in there if ref not in kept]


async def _pool_objects(cluster: Cluster, spec: TenantSpec) -> list[tuple[Ref, Object]]:
    if not (served := await placing.served_admission(cluster)):
        return []
    names = [cluster.ref(f"{served}/{kind}", pool_policy(spec.name)) for kind in (BINDING, POLICY)]
    found = await asyncio.gather(*map(cluster.find, names))
    return [
        (ref, thing)
        for ref, thing in zip(names, found, strict=True)
        if thing is not None and labels(thing).get(UID) == spec.uid
    ]


def _deleted(ref: Ref, thing: Object, needs: tuple[str, ...] = ()) -> Delete:
    id = f"old-{ref.short_kind.lower()}-{ref.name}"
    return Delete(id=id, ref=ref, whole=anew(thing), needs=needs)


async def _left_behind(cluster: Cluster, spec: TenantSpec, made: list[Change]) -> list[Change]:
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
    pooled = await _pool_objects(cluster, spec)
    return gone + [_deleted(ref, thing, ("old-namespace",)) for ref, thing in pooled]


async def _must_not_be_theirs(cluster: Cluster, changes: list[Change]) -> None:
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


async def _notes(ctx: Context, cluster: Cluster) -> list[str]:
    notes = []
    found = await asyncio.gather(
        *(
            cluster.find(cluster.ref("rbac.authorization.k8s.io/v1/ClusterRole", name))
            for name in CLUSTER_ROLES
        )
    )
    missing = [n for n, role in zip(CLUSTER_ROLES, found, strict=True) if role is None]
    if missing:
        notes.append(
            f"Cluster {cluster.name} lacks the ClusterRoles {', '.join(missing)}: nobody has any "
            "rights in the tenant until `kubectl apply -f deploy/clusterroles.yaml`."
        )
    if ctx.aws is None:
        notes.append("No AWS account is configured: it gets no IAM role and no S3 prefix.")
    return notes


def _result(ctx: Context, spec: TenantSpec) -> dict[str, str]:
    result = {"name": spec.name, "uid": spec.uid, "plan": spec.plan, "cluster": spec.cluster}
    if ctx.aws is not None:
        role, prefix = aws_refs(spec, ctx.aws)
        result |= {"role_arn": ctx.aws.arn(role), "prefix": f"s3://{prefix.name}"}
    return result
