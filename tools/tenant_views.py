"""Tenants as they are: one with its quota, role and drift, or all of them by the page."""

import asyncio
from datetime import datetime

from pydantic import Field

from tools import placing
from tools.context import Context
from tools.errors import Code, ToolError
from tools.inputs import InTenant, Label
from tools.looking import Cluster
from tools.objects import MANAGED_BY, OURS, Lean, Object, age, annotations, clip, labels, meta
from tools.plan import Change, Plan, canonical
from tools.provisioning import (
    DISPLAY_NAME,
    ISOLATION,
    NAMESPACE,
    OWNER,
    PLAN,
    ROLES,
    Isolation,
    TenantSpec,
    desired,
    is_tenant,
    spec_of,
)
from tools.tool import Arguments, Effect, tool

# A search reads so many pages at most: 10,000 tenants in each cluster.
PAGE = 500
PAGES = 20
DRIFT_S = 5.0


class TenantRow(Lean):
    name: str
    plan: str
    isolation: str = "namespace"
    status: str = "Active"
    cluster: str = ""
    display_name: str = ""
    age: str = ""


class TenantList(Lean):
    tenants: list[TenantRow]
    next: str = ""


class Quota(Lean):
    used: str
    hard: str


class TenantAnswer(Lean):
    """A tenant. `drift` counts what is not as it should be; `drifted` says what."""

    name: str
    uid: str
    plan: str
    isolation: str
    cluster: str
    status: str
    pool: str = ""
    owner: str = ""
    display_name: str = ""
    protected: bool = False
    age: str = ""
    quota: dict[str, Quota] = {}
    service_accounts: list[str] = []
    role_arn: str = ""
    prefix: str = ""
    drift: int = 0
    drifted: list[str] = []


class TenantGet(InTenant):
    drift: bool = Field(False, description="say what drifted")


class TenantListArguments(Arguments):
    plan: Label | None = None
    isolation: Isolation | None = None
    text: str = Field("", max_length=100, description="in the name or owner")
    limit: int = Field(50, ge=1, le=200)
    next: str = Field("", max_length=2000)


@tool("tenant_get", effect=Effect.READ, group="tenants", title="Show a tenant",
      runs_as="platform")  # fmt: skip
async def get(ctx: Context, args: TenantGet) -> TenantAnswer:
    """A tenant's plan, isolation, quota and use, AWS role and prefix, and how much has drifted."""
    ref = ctx.need_tenant()
    cluster = ctx.clusters[ref.cluster]
    namespace = await cluster.find(cluster.ref(NAMESPACE, ref.name))
    if namespace is None or not is_tenant(namespace):
        raise ToolError(
            Code.NOT_FOUND, f"There is no tenant {ref.name}.", "tenant_list shows those there are."
        )
    spec = spec_of(namespace, cluster.name)
    going = "deletionTimestamp" in meta(namespace)
    quota, drifted = await asyncio.gather(
        placing.quota_of(cluster, spec.name), _nothing() if going else _drift(ctx, cluster, spec)
    )
    return TenantAnswer(
        **spec.model_dump(include=set(TenantSpec.model_fields) & set(TenantAnswer.model_fields)),
        status="Terminating" if going else "Active",
        age=age(spec.created, ctx.now),
        quota={
            what: Quota(used=str(quota.get("used", {}).get(what, "0")), hard=str(most))
            for what, most in quota.get("hard", {}).items()
        },
        service_accounts=[f"pilothouse-{role}" for role in (*ROLES, "workload")],
        drift=len(drifted),
        drifted=drifted if args.drift else [],
    )


@tool("tenant_list", effect=Effect.READ, group="tenants", title="List tenants",
      scope="platform", runs_as="platform")  # fmt: skip
async def list_(ctx: Context, args: TenantListArguments) -> TenantList:
    """Tenants that you may see, with plan, isolation and status. Pass `next` on for more."""
    if not ctx.caller.operator:
        return _after(await _own(ctx, args), args)
    if args.text:
        return _after(await _found(ctx, args), args)
    names = list(ctx.clusters)
    at, _, token = args.next.partition(":")
    if args.next and at not in names:
        raise _no_page(args.next)
    rows: list[TenantRow] = []
    left = names[names.index(at) :] if at else names
    while left and len(rows) < args.limit:
        cluster = ctx.clusters[left[0]]
        page, token = await cluster.list(
            NAMESPACE, labels=_selector(args), limit=args.limit - len(rows), next=token
        )
        rows += [_row(n, cluster.name, ctx.now) for n in page]
        if not token:
            left = left[1:]
    return TenantList(tenants=rows, next=f"{left[0]}:{token}" if left else "")


async def _own(ctx: Context, args: TenantListArguments) -> list[TenantRow]:
    """The tenants that the caller has a role in: few enough to look at each."""

    async def one(name: str) -> TenantRow | None:
        known = await ctx.tenants.find(name)
        if known is None or known.uid != ctx.caller.grants[name].uid:
            return None
        cluster = ctx.clusters[known.cluster]
        namespace = await cluster.find(cluster.ref(NAMESPACE, name))
        fits = namespace is not None and is_tenant(namespace) and _matches(namespace, args)
        return _row(namespace, cluster.name, ctx.now) if namespace and fits else None

    rows = await asyncio.gather(*map(one, sorted(ctx.caller.grants)))
    return [row for row in rows if row]


async def _found(ctx: Context, args: TenantListArguments) -> list[TenantRow]:
    """All that match a text, which no selector can ask for."""

    async def within(cluster: Cluster) -> list[TenantRow]:
        rows: list[TenantRow] = []
        token = ""
        for _ in range(PAGES):
            page, token = await cluster.list(
                NAMESPACE, labels=_selector(args), limit=PAGE, next=token
            )
            rows += [_row(n, cluster.name, ctx.now) for n in page if _matches(n, args)]
            if not token:
                break
        return rows

    found = await asyncio.gather(*map(within, ctx.clusters.values()))
    return sorted((row for rows in found for row in rows), key=lambda row: row.name)


def _after(rows: list[TenantRow], args: TenantListArguments) -> TenantList:
    """A page of rows that are all here, sorted by name: `next` is the last name shown."""
    if args.next and not args.next.startswith("after:"):
        raise _no_page(args.next)
    last = args.next.removeprefix("after:")
    left = [row for row in rows if row.name > last]
    page = left[: args.limit]
    more = len(left) > len(page)
    return TenantList(tenants=page, next=f"after:{page[-1].name}" if more else "")


def _selector(args: TenantListArguments) -> str:
    wanted = {MANAGED_BY: OURS, PLAN: args.plan, ISOLATION: args.isolation}
    return ",".join(f"{label}={value}" for label, value in wanted.items() if value)


def _matches(namespace: Object, args: TenantListArguments) -> bool:
    mine, said = labels(namespace), annotations(namespace)
    texts = (meta(namespace)["name"], said.get(DISPLAY_NAME, ""), said.get(OWNER, ""))
    return (
        args.plan in (None, mine.get(PLAN))
        and args.isolation in (None, mine.get(ISOLATION))
        and any(args.text.lower() in text.lower() for text in texts)
    )


def _row(namespace: Object, cluster: str, now: datetime) -> TenantRow:
    spec = spec_of(namespace, cluster)
    return TenantRow(
        name=spec.name,
        plan=spec.plan,
        isolation=spec.isolation,
        status="Terminating" if "deletionTimestamp" in meta(namespace) else "Active",
        cluster=cluster,
        display_name=spec.display_name,
        age=age(spec.created, now),
    )


def _no_page(next: str) -> ToolError:
    return ToolError(
        Code.INVALID_ARGUMENT,
        f"{next[:40]!r} continues no list like this.",
        "Pass on `next` as it was answered, with the same filters.",
    )


async def _nothing() -> list[str]:
    return []


async def _drift(ctx: Context, cluster: Cluster, spec: TenantSpec) -> list[str]:
    """What is not as it should be, a line each; or that it cannot be said in time."""
    try:
        async with asyncio.timeout(DRIFT_S):
            return await _drifted(ctx, cluster, spec)
    except TimeoutError:
        return [f"It cannot be said within {DRIFT_S:g} s: the cluster or AWS does not answer."]


async def _drifted(ctx: Context, cluster: Cluster, spec: TenantSpec) -> list[str]:
    pooled = spec.isolation == "node-pool"
    try:
        aws = await ctx.aws.connected() if ctx.aws is not None else None
        admission = await placing.admission(cluster) if pooled else ""
        wanted = desired(spec, ctx.tiers, aws, admission=admission, force=True)
    except ToolError as error:
        return [f"It cannot be said what there should be: {error}"]
    plan = Plan.of("", wanted)

    async def one(change: Change) -> str:
        looks = ctx.aws if change.ref.backend == "aws" else cluster
        assert looks is not None
        try:
            seen = await looks.observe(change)
            if canonical(seen.value) == canonical(looks.intended(change)):
                return ""
            if seen.value is None:
                return f"{change.ref} is missing"
            shown = await looks.preview(change.model_copy(update={"seen": seen}), plan)
        except ToolError as error:
            return f"{change.ref}: {error.message}"
        moves = [f"{d.path} is {_short(d.before)}, not {_short(d.after)}" for d in shown.diff]
        return f"{change.ref}: {'; '.join(moves)}" if moves else ""

    return [line for line in await asyncio.gather(*map(one, wanted)) if line]


def _short(value: object) -> str:
    return "not set" if value is None else clip(str(value), 80)
