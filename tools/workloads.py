"""Workloads as they are: Deployments, StatefulSets, DaemonSets and bare pods as one kind."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from tools import logs
from tools.context import Context
from tools.errors import Code, ToolError
from tools.health import counts, next_step, what_is_wrong
from tools.inputs import OfAnyTenant
from tools.looking import Cluster
from tools.objects import Lean, Object, annotations, clip, labels, meta, owner
from tools.plan import Ref
from tools.tool import Effect, tool
from tools.workload import (
    BARE,
    KINDS,
    PAGE,
    STOPPED,
    Kind,
    OfWorkload,
    autoscaler_of,
    events_of,
    find,
    pods_of,
    template,
)
from tools.workload_views import (
    AutoscalerAnswer,
    WorkloadAnswer,
    condition_answer,
    container_answer,
    event_answer,
    pod_answer,
)

MOST_ROWS = 5000
MOST_PODS = 20
MOST_EVENTS = 10
# So many that are unhealthy are looked into for their reason; of the others the counts are told,
# and of a pod the word that the server's table has for it.
LOOKED_INTO = 12
LOOKED_INTO_PODS = 3


class WorkloadListArguments(OfAnyTenant):
    kind: Kind | None = None
    text: str = Field("", max_length=200, description="in name or image")
    only_unhealthy: bool = False
    limit: int = Field(50, ge=1, le=200)
    next: str = Field("", max_length=600)


class WorkloadRow(Lean):
    """`ready` is ready/desired; `wrong` is what is wrong in one phrase."""

    kind: str
    name: str
    namespace: str = ""
    ready: str
    image: str = ""
    age: str = ""
    wrong: str = ""


class WorkloadList(Lean):
    """Unhealthy ones first. `total` counts all that match."""

    workloads: list[WorkloadRow]
    total: int
    next: str = ""
    note: str = ""


# ---- list


@tool("workload_list", effect=Effect.READ, group="workloads", title="List workloads")
async def list_workloads(ctx: Context, args: WorkloadListArguments) -> WorkloadList:
    """Deployments, StatefulSets, DaemonSets and bare pods, unhealthy first: ready/desired, image,
    age, and what is wrong in one phrase."""
    kinds = [args.kind] if args.kind else list(KINDS)
    parts = await asyncio.gather(*(_rows(ctx.cluster, kind, args) for kind in kinds))
    text = args.text.lower()
    rows = [row for part, _ in parts for row in part if text in f"{row.name} {row.image}".lower()]
    if args.only_unhealthy:
        rows = [row for row in rows if row.wrong]
    rows.sort(key=_place)
    begun = [row for row in rows if _place(row) > _cursor(args.next)]
    page, more = begun[: args.limit], len(begun) > args.limit
    return WorkloadList(
        workloads=[_short(row, args) for row in await _looked_into(ctx, page)],
        total=len(rows),
        next="|".join(_place(page[-1])) if more else "",
        note="There are more than were read: name a tenant or a kind."
        if any(cut for _, cut in parts)
        else "",
    )


def _place(row: WorkloadRow) -> tuple[str, ...]:
    """Where a row stands in the list; the place of a page's last row continues it."""
    return ("0" if row.wrong else "1", row.namespace, row.name, row.kind)


def _cursor(next: str) -> tuple[str, ...]:
    place = tuple(next.split("|")) if next else ("",)
    if next and len(place) != 4:
        raise ToolError(
            Code.INVALID_ARGUMENT, "`next` is not from an earlier answer.", "Leave it out."
        )
    return place


def _short(row: WorkloadRow, args: WorkloadListArguments) -> WorkloadRow:
    """Without the namespace where the caller named it."""
    return row.model_copy(update={"namespace": ""}) if args.tenant else row


async def _rows(
    cluster: Cluster, kind: str, args: WorkloadListArguments
) -> tuple[list[WorkloadRow], bool]:
    """Every workload of a kind from the server's own tables, and whether there were too many."""
    bare = kind == "Pod" and not args.kind
    rows: list[WorkloadRow] = []
    next = ""
    while True:
        table = await cluster.table(
            KINDS[kind],
            args.tenant or "",
            labels=BARE if bare else "",
            limit=PAGE,
            next=next,
            cached=bool(args.tenant),
        )
        rows += [_row(kind, cells) for cells in table.rows]
        next = table.next
        if not next or len(rows) >= MOST_ROWS:
            return rows, bool(next)


def _row(kind: str, cells: Mapping[str, Any]) -> WorkloadRow:
    ready = str(cells.get("ready", ""))
    if kind == "DaemonSet":
        ready = f"{cells.get('ready', 0)}/{cells.get('desired', 0)}"
    return WorkloadRow(
        kind=kind,
        name=cells["name"],
        namespace=cells.get("namespace") or "",
        ready=ready,
        image=clip(cells.get("images") or "", 100),
        age=cells.get("age") or "",
        wrong=_wrong_at_a_glance(kind, ready, cells),
    )


def _wrong_at_a_glance(kind: str, ready: str, cells: Mapping[str, Any]) -> str:
    """What a table's row tells: that something is wrong, and of a pod also what."""
    have, _, want = ready.partition("/")
    if kind != "Pod":
        return "" if have == want else f"{have} of {want} ready"
    status = str(cells.get("status", ""))
    if status in ("Completed", "Succeeded") or (status == "Running" and have == want):
        return ""
    restarts = str(cells.get("restarts", "0")).partition(" ")[0]
    word = "not ready" if status == "Running" else status
    return f"{word} ({restarts} restarts)" if restarts != "0" else word


async def _looked_into(ctx: Context, page: Sequence[WorkloadRow]) -> list[WorkloadRow]:
    """The same rows, the first unhealthy ones with the reason."""
    pods = [row for row in page if row.wrong and row.kind == "Pod"]
    unhealthy = [row for row in page if row.wrong and row.kind != "Pod"][:LOOKED_INTO]
    unhealthy += pods[:LOOKED_INTO_PODS]
    reasons = await asyncio.gather(*(_reason(ctx.cluster, row) for row in unhealthy))
    by_row = {id(row): update for row, update in zip(unhealthy, reasons, strict=True)}
    return [row.model_copy(update=by_row.get(id(row), {})) for row in page]


async def _reason(cluster: Cluster, row: WorkloadRow) -> dict[str, str]:
    ref = cluster.ref(KINDS[row.kind], row.name, row.namespace)
    found = await cluster.find(ref)
    if found is None:
        return {"wrong": "gone"}
    thing = {**found, "kind": row.kind}
    pods = await pods_of(cluster, thing, limit=MOST_PODS)
    events: Sequence[Object] = ()
    if row.kind in ("StatefulSet", "DaemonSet"):  # they tell a refusal only in an event
        events, _ = await cluster.list(
            "v1/Event", row.namespace, parts="whole", limit=MOST_EVENTS,
            fields=f"involvedObject.name={row.name},reason=FailedCreate",
        )  # fmt: skip
    said = what_is_wrong(thing, pods, events)
    images = ",".join(c["image"] for c in template(thing).get("containers") or [])
    return {"wrong": clip(said, 120) or row.wrong, "image": row.image or clip(images, 100)}


# ---- one


@tool("workload_get", effect=Effect.READ, group="workloads", title="Show a workload")
async def get(ctx: Context, args: OfWorkload) -> WorkloadAnswer:
    """A workload with its containers, conditions, pods, latest events and autoscaler, what is
    wrong and what to do next."""
    ref, thing = await find(ctx, args)
    pods, scaler = await asyncio.gather(pods_of(ctx.cluster, thing), _autoscaler(ctx, ref))
    events = await events_of(ctx.cluster, thing, pods)
    wrong = what_is_wrong(thing, pods, events)
    ready, desired = counts(thing)
    spec, status = thing["spec"], thing.get("status") or {}
    kept = annotations(thing).get(STOPPED, "")
    others = pods[:MOST_PODS] if ref.short_kind != "Pod" else []
    strategy = spec.get("strategy") or spec.get("updateStrategy") or {}
    return WorkloadAnswer(
        kind=ref.short_kind,
        name=ref.name,
        namespace=ref.namespace,
        ready=ready,
        desired=desired,
        wrong=wrong,
        next_step=next_step(wrong),
        created=meta(thing).get("creationTimestamp", ""),
        labels=labels(thing),
        strategy=strategy.get("type", ""),
        owner=owner(thing),
        stopped_replicas=int(kept) if kept.isdigit() else None,
        containers=[container_answer(c) for c in template(thing).get("containers") or []],
        conditions=[condition_answer(c) for c in status.get("conditions") or []],
        pods=[pod_answer(p, ctx, events) for p in others],
        events=[event_answer(e, ctx) for e in events[:MOST_EVENTS]],
        autoscaler=scaler,
    )


async def _autoscaler(ctx: Context, ref: Ref) -> AutoscalerAnswer | None:
    scaler = await autoscaler_of(ctx.cluster, ref)
    if scaler is None:
        return None
    return AutoscalerAnswer(
        name=meta(scaler)["name"],
        min=scaler["spec"].get("minReplicas", 1),
        max=scaler["spec"]["maxReplicas"],
        current=(scaler.get("status") or {}).get("currentReplicas", 0),
    )


# ---- logs


class WorkloadLogs(logs.LogArguments):
    kind: Kind | None = None
    previous: bool = Field(False, description="of the run before the last restart")


@tool("workload_logs", effect=Effect.STREAM, group="workloads", title="Read a workload's logs")
async def read_logs(ctx: Context, args: WorkloadLogs) -> AsyncIterator[dict[str, Any]]:
    """The logs of a workload's pods (or of one pod) in order of time; with follow, live."""
    if args.follow and args.previous:
        raise ToolError(
            Code.INVALID_ARGUMENT, "A previous run has ended.", "Leave out `follow` or `previous`."
        )
    which = OfWorkload(tenant=args.tenant, name=args.name, kind=args.kind)
    _, thing = await find(ctx, which)
    pods = await pods_of(ctx.cluster, thing)
    if not pods:
        wrong = what_is_wrong(thing)
        yield {"note": f"{args.name} has no pods{': ' + wrong if wrong else ''}."}
    if len(pods) > logs.MOST_PODS:
        yield {"note": f"The newest {logs.MOST_PODS} of its pods."}
    chosen = pods[: logs.MOST_PODS]
    pieces = (
        logs.follow(ctx, chosen, args)
        if args.follow
        else logs.read(ctx, chosen, args, args.previous)
    )
    async for piece in pieces:
        yield piece
    yield {"done": True, "pods": len(chosen)}
