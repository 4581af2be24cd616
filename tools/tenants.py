"""Tenants: made, changed, put right, taken in and deleted. Each is a plan over cluster and AWS."""

import asyncio
import re
import secrets
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tools import placing, tenant_views
from tools import tenant_state as state
from tools.calls import Role
from tools.context import Context
from tools.errors import Code, ToolError
from tools.inputs import InTenant, Label
from tools.looking import Aws
from tools.objects import Object, labels, meta
from tools.plan import Change, Delete, DeleteRole, DropPrefix, EmptyPrefix, Plan, Ref, Seen
from tools.provisioning import (
    NAMESPACE,
    UID,
    Isolation,
    TenantSpec,
    aws_refs,
    created_at,
)
from tools.tool import Arguments, Effect, tool

__all__ = ["tenant_views"]

# Long enough for a name, and short enough for the names that are made from it (IAM allows 64).
LONGEST = 40
RESERVED = ("kube-", "openshift-", "pilothouse")
EMPTIED_S = 7200


def _name(name: str) -> str:
    if len(name) > LONGEST:
        raise ValueError(f"a tenant's name has at most {LONGEST} characters, not {len(name)}")
    if name == "default" or name.startswith(RESERVED):
        raise ValueError(f"{name} is reserved, as are names that begin with {', '.join(RESERVED)}")
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
    state.known_tier(ctx, args.plan)
    cluster, pool = await placing.place(
        ctx, args.name, args.isolation, args.cluster or "", args.pool or ""
    )
    lacking, _ = await asyncio.gather(
        state.lacking(ctx, cluster), state.must_be_new(ctx, args.name)
    )
    spec = TenantSpec(
        **args.model_dump(include={"name", "plan", "isolation", "owner", "display_name"}),
        protected=args.protected,
        uid=secrets.token_hex(4),
        cluster=cluster.name,
        pool=pool,
        created=created_at(ctx.now),
    )
    changes = _new(await state.wanted(ctx, cluster, spec), spec)
    return Plan.of(
        f"Create tenant {spec.name} ({spec.plan}, {spec.isolation} isolation) in {cluster.name}",
        changes,
        notes=lacking,
        result=state.result(ctx, spec),
    )


def _new(changes: list[Change], spec: TenantSpec) -> list[Change]:
    """Nothing is there yet of what is in a namespace that is not there, or is named after a uid
    that was made up this moment: it need not be looked for."""

    def unheard_of(ref: Ref) -> bool:
        return ref.backend == "aws" or ref.kind == NAMESPACE or ref.namespace == spec.name

    absent = {"seen": Seen()}
    return [c.model_copy(update=absent) if unheard_of(c.ref) else c for c in changes]


@tool("tenant_update", effect=Effect.WRITE, group="tenants", title="Change a tenant",
      role=Role.OPERATOR, scope="platform", runs_as="platform")  # fmt: skip
async def update(ctx: Context, args: TenantUpdate) -> Plan:
    """Change a tenant's plan tier, isolation, owner, name or deletion protection."""
    before, source, _ = await state.live(ctx)
    said = args.model_dump(
        include={"plan", "isolation", "owner", "display_name", "protected"}, exclude_none=True
    )
    spec = before.model_copy(update=said)
    state.known_tier(ctx, spec.plan)
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
        notes += await state.fits(ctx, source, spec, args.force)
    changes = await state.wanted(ctx, target, spec)
    if target is source:
        changes += await state.stale(source, spec, changes)
    else:
        changes += await state.left_behind(source, spec, changes)
        notes.append(f"It moves from cluster {source.name} to {target.name}.")
    moved = [f"{k} {getattr(before, k) or 'none'} → {v or 'none'}" for k, v in said.items()
             if getattr(before, k) != v]  # fmt: skip
    return Plan.of(
        f"Change tenant {spec.name}: {', '.join(moved) or 'place'}",
        changes,
        notes=notes,
        result=state.result(ctx, spec),
    )


@tool("tenant_repair", effect=Effect.WRITE, group="tenants", title="Repair a tenant",
      role=Role.OPERATOR, scope="platform", runs_as="platform")  # fmt: skip
async def repair(ctx: Context, args: InTenant) -> Plan:
    """Put what drifted in a tenant back to what its plan and isolation say."""
    spec, cluster, _ = await state.live(ctx)
    changes = await state.wanted(ctx, cluster, spec, force=True)
    changes += await state.stale(cluster, spec, changes)
    return Plan.of(
        f"Put tenant {spec.name} back to what it should be",
        changes,
        notes=await state.lacking(ctx, cluster),
        result=state.result(ctx, spec),
    )


@tool("tenant_adopt", effect=Effect.WRITE, group="tenants", title="Adopt a namespace",
      role=Role.OPERATOR, scope="platform", runs_as="platform")  # fmt: skip
async def adopt(ctx: Context, args: TenantAdopt) -> Plan:
    """Take an existing namespace in as a tenant: adds what is missing, takes over nothing."""
    state.known_tier(ctx, args.plan)
    cluster, _ = await placing.place(ctx, args.name, "namespace", args.cluster or "", "")
    namespace = await cluster.find(cluster.ref(NAMESPACE, args.name))
    if namespace is None:
        raise ToolError(
            Code.NOT_FOUND,
            f"There is no namespace {args.name} in cluster {cluster.name}.",
            "tenant_create makes a tenant with a namespace of its own.",
        )
    await state.must_be_new(ctx, args.name, adopting=cluster)
    spec = TenantSpec(
        name=args.name,
        uid=_uid_before(namespace) or secrets.token_hex(4),
        cluster=cluster.name,
        plan=args.plan,
        owner=args.owner,
        created=created_at(ctx.now),
    )
    changes = await state.wanted(ctx, cluster, spec)
    await state.must_not_be_theirs(cluster, changes)
    return Plan.of(
        f"Take namespace {spec.name} in as a tenant ({spec.plan})",
        changes,
        notes=[
            "Traffic to and from other namespaces is cut off, but for what NetworkPolicies allow.",
            "What runs goes on; new pods must fit the quota and Pod Security level baseline.",
            *await state.lacking(ctx, cluster),
        ],
        result=state.result(ctx, spec),
    )


@tool("tenant_delete", effect=Effect.WRITE, group="tenants", title="Delete a tenant",
      role=Role.OPERATOR, scope="platform", runs_as="platform", destructive=True)  # fmt: skip
async def delete(ctx: Context, args: TenantDelete) -> Plan:
    """Delete a tenant with all in its namespace, and its IAM role; keeps S3 objects unless told."""
    spec, cluster, namespace = await state.live(ctx, going=True)
    state.must_not_be_protected(spec)
    if (elsewhere := spec.role_arn or spec.prefix) and ctx.aws is None:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Tenant {spec.name} has {elsewhere}, and no AWS is configured.",
            "Start Pilothouse with the credentials of that account.",
        )
    ref = cluster.ref(NAMESPACE, spec.name)
    changes: list[Change] = [Delete(id="namespace", ref=ref, settle_s=state.GONE_S)]
    after = ("namespace",)
    # Last, so that no pod of it starts on the nodes of others meanwhile.
    pooled = await state.pool_objects(cluster, spec)
    changes += [state.deleted(ref, thing, after) for ref, thing in pooled]
    if ctx.aws is not None and elsewhere:
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
    if ctx.aws is not None and elsewhere and args.objects == "keep":
        notes.append(f"{await _usage(ctx.aws, prefix)} at s3://{prefix.name}.")
    return Plan.of(f"Delete tenant {spec.name} and all that is in it", changes, notes=notes,
                   result={"name": spec.name, "uid": spec.uid})  # fmt: skip


def _uid_before(namespace: Object) -> str:
    """One that was a tenant before stays the same one, with its role and prefix."""
    uid = labels(namespace).get(UID, "")
    return uid if re.fullmatch("[0-9a-f]{8}", uid) else ""


async def _usage(aws: Aws, prefix: Ref) -> str:
    try:
        objects, size = await aws.prefix_usage(prefix)
    except ToolError as error:
        # A bucket that is gone, or closed to us, must not keep a tenant from being deleted.
        if error.passing:
            raise
        return f"What is kept could not be counted ({error.message})"
    return f"{objects} objects ({size:,} bytes) stay"
