"""Workloads as they should be: scaled, stopped, started, restarted, resized, deleted."""

from typing import Any

from pydantic import Field

from tools.calls import Role
from tools.context import Context
from tools.errors import Code, ToolError
from tools.inputs import InTenant, Label, Resources, Subdomain, check_bounds
from tools.objects import anew, annotations, meta, owner
from tools.plan import Change, Delete, Patch, Plan, Ref, Scale
from tools.tool import Effect, tool
from tools.workload import HPA, STOPPED, OfWorkload, autoscaler_of, find, template

MOST_REPLICAS = 1000
RESTARTED = "pilothouse.dev/restartedAt"
SCALABLE = frozenset({"Deployment", "StatefulSet"})


class WorkloadScale(OfWorkload):
    replicas: int = Field(ge=0, le=MOST_REPLICAS)


class WorkloadStart(OfWorkload):
    replicas: int | None = Field(None, ge=1, le=MOST_REPLICAS)


class WorkloadResize(Resources, OfWorkload):
    container: Label | None = None


class AutoscalerUpdate(InTenant):
    name: Subdomain = Field(description="the workload's, or the autoscaler's own")
    min_replicas: int | None = Field(None, ge=1, le=MOST_REPLICAS)
    max_replicas: int | None = Field(None, ge=1, le=MOST_REPLICAS)


@tool("workload_scale", effect=Effect.WRITE, group="workloads", title="Scale a workload",
      role=Role.USER)  # fmt: skip
async def scale(ctx: Context, args: WorkloadScale) -> Plan:
    """Set how many replicas a Deployment or StatefulSet runs."""
    ref, thing = await _scalable(ctx, args)
    return Plan.of(
        f"Scale {ref} from {_replicas(thing)} to {args.replicas} replicas",
        [Scale(id="scale", ref=ref, replicas=args.replicas)],
        notes=[] if args.replicas else await _scaler_notes(ctx, ref),
        result=_result(ref) | {"replicas": args.replicas},
    )


@tool("workload_stop", effect=Effect.WRITE, group="workloads", title="Stop a workload",
      role=Role.USER)  # fmt: skip
async def stop(ctx: Context, args: OfWorkload) -> Plan:
    """Scale a Deployment or StatefulSet to 0, remembering its replicas for workload_start."""
    ref, thing = await _scalable(ctx, args)
    running = _replicas(thing)
    if not running:
        return Plan.of(f"{ref} is stopped already", [], result=_result(ref) | {"replicas": 0})
    return Plan.of(
        f"Stop {ref} ({running} replicas)",
        [
            _remember(ref, str(running)),
            Scale(id="scale", ref=ref, replicas=0, needs=("remember",)),
        ],
        notes=await _scaler_notes(ctx, ref),
        result=_result(ref) | {"replicas": 0},
    )


@tool("workload_start", effect=Effect.WRITE, group="workloads", title="Start a workload",
      role=Role.USER)  # fmt: skip
async def start(ctx: Context, args: WorkloadStart) -> Plan:
    """Bring a stopped workload back to the replicas it had, or to `replicas`."""
    ref, thing = await _scalable(ctx, args)
    running, kept = _replicas(thing), annotations(thing).get(STOPPED, "")
    if running and args.replicas in (None, running):
        now = _result(ref) | {"replicas": running}
        return Plan.of(f"{ref} runs already ({running} replicas)", [], result=now)
    remembered = int(kept) if kept.isdigit() and 0 < int(kept) <= MOST_REPLICAS else None
    replicas = args.replicas or remembered or 1
    changes: list[Change] = [Scale(id="scale", ref=ref, replicas=replicas)]
    if kept:
        changes.append(_remember(ref, None, needs=("scale",)))
    unknown = not remembered and not args.replicas
    notes = ["It is not known how many replicas it had, so it gets 1."] if unknown else []
    return Plan.of(
        f"Start {ref} with {replicas} replicas",
        changes,
        notes=notes,
        result=_result(ref) | {"replicas": replicas},
    )


@tool("workload_restart", effect=Effect.WRITE, group="workloads", title="Restart a workload",
      role=Role.USER, idempotent=False)  # fmt: skip
async def restart(ctx: Context, args: OfWorkload) -> Plan:
    """Replace a workload's pods one after another, without a change to what they run."""
    ref, thing = await find(ctx, args)
    _not_a_pod(ref, "restarted", "Delete it, and apply it again with resource_apply.")
    at = ctx.now.isoformat(timespec="milliseconds")
    fields = {"spec": {"template": {"metadata": {"annotations": {RESTARTED: at}}}}}
    notes = ["Undoing this rolls the pods once more."]
    if ref.short_kind in SCALABLE and not _replicas(thing):
        notes.append("It is stopped, so nothing restarts now.")
    if (thing["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        notes.append("Its update strategy is OnDelete: pods are replaced only when deleted.")
    if thing["spec"].get("paused"):
        notes.append("Its rollouts are paused: pods are replaced only when it is resumed.")
    return Plan.of(
        f"Restart {ref}",
        [Patch(id="restart", ref=ref, fields=fields)],
        notes=notes,
        result=_result(ref),
    )


@tool("workload_resize", effect=Effect.WRITE, group="workloads", title="Resize a workload",
      role=Role.ADMIN)  # fmt: skip
async def resize(ctx: Context, args: WorkloadResize) -> Plan:
    """Set what CPU and memory a container requests and may use (250m, 512Mi); rolls the pods."""
    ref, thing = await find(ctx, args)
    _not_a_pod(ref, "resized", "Delete it, and apply it with other resources.")
    wanted = args.wanted()
    if not wanted:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            "There is nothing to set.",
            "Give cpu_request, cpu_limit, memory_request or memory_limit.",
        )
    container = _container(thing, args)
    live = container.get("resources") or {}
    parts = ("requests", "limits")
    check_bounds({part: (live.get(part) or {}) | wanted.get(part, {}) for part in parts})
    pods = {"containers": [{"name": container["name"], "resources": wanted}]}
    said = ", ".join(f"{k} {part[:-1]} {v}" for part, of in wanted.items() for k, v in of.items())
    return Plan.of(
        f"Resize {container['name']} of {ref}: {said}",
        [Patch(id="resize", ref=ref, fields={"spec": {"template": {"spec": pods}}})],
        result=_result(ref) | {"container": container["name"]},
    )


@tool("workload_delete", effect=Effect.WRITE, group="workloads", title="Delete a workload",
      role=Role.ADMIN, destructive=True)  # fmt: skip
async def delete(ctx: Context, args: OfWorkload) -> Plan:
    """Delete a workload and its pods. An undo makes it anew; what its pods held in memory or on
    their own disks is lost."""
    ref, thing = await find(ctx, args)
    notes = []
    if by := owner(thing):
        notes.append(f"{by} made it, and will make it again.")
    if thing["spec"].get("volumeClaimTemplates"):
        notes.append("Its PersistentVolumeClaims stay.")
    if ref.short_kind != "Pod" and (scaler := await autoscaler_of(ctx.cluster, ref)):
        notes.append(f"Its HorizontalPodAutoscaler {meta(scaler)['name']} stays.")
    return Plan.of(
        f"Delete {ref}",
        [Delete(id="delete", ref=ref, whole=anew(thing))],
        notes=notes,
        result=_result(ref),
    )


@tool("autoscaler_update", effect=Effect.WRITE, group="workloads", title="Change an autoscaler",
      role=Role.ADMIN)  # fmt: skip
async def update_autoscaler(ctx: Context, args: AutoscalerUpdate) -> Plan:
    """Set between how many replicas a workload's HorizontalPodAutoscaler moves it."""
    scaler = await _scaler(ctx, args)
    spec, name = scaler["spec"], meta(scaler)["name"]
    low, high = spec.get("minReplicas", 1), spec["maxReplicas"]
    new_low, new_high = args.min_replicas or low, args.max_replicas or high
    if (new_low, new_high) == (low, high) and (args.min_replicas or args.max_replicas):
        return Plan.of(f"{name} is between {low} and {high} already", [])
    if not (args.min_replicas or args.max_replicas):
        raise ToolError(
            Code.INVALID_ARGUMENT, "There is nothing to set.", "Give min_replicas or max_replicas."
        )
    if new_low > new_high:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"min_replicas {new_low} is above max_replicas {new_high}.",
            "Give both.",
        )
    ref = ctx.cluster.ref(HPA, name, args.tenant)
    said = {"minReplicas": args.min_replicas, "maxReplicas": args.max_replicas}
    fields = {"spec": {k: v for k, v in said.items() if v}}
    return Plan.of(
        f"Autoscale {spec['scaleTargetRef']['name']} between {new_low} and {new_high} replicas, "
        f"from {low} to {high}",
        [Patch(id="bounds", ref=ref, fields=fields, kind_of_patch="merge")],
        result={"tenant": args.tenant, "name": name, "min": new_low, "max": new_high},
    )


async def _scaler(ctx: Context, args: AutoscalerUpdate) -> dict[str, Any]:
    """By the workload's name, else by its own. Raises `ToolError(NOT_FOUND)`."""
    found, _ = await ctx.cluster.list(HPA, args.tenant, parts="whole")
    theirs = [s for s in found if s["spec"]["scaleTargetRef"]["name"] == args.name]
    if those := theirs or [s for s in found if meta(s)["name"] == args.name]:
        return those[0]
    raise ToolError(
        Code.NOT_FOUND,
        f"{args.tenant} has no HorizontalPodAutoscaler for {args.name}.",
        "Make one with resource_apply.",
    )


def _container(thing: dict[str, Any], args: WorkloadResize) -> dict[str, Any]:
    """The container meant: the one that is named, or the only one. Raises `ToolError`."""
    containers = {c["name"]: c for c in template(thing)["containers"]}
    name = args.container or (next(iter(containers)) if len(containers) == 1 else "")
    if name not in containers:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{args.name} has no container {name}." if name else "It has several containers.",
            f"Name one with `container`: {', '.join(containers)}.",
        )
    return dict(containers[name])


async def _scalable(ctx: Context, args: OfWorkload) -> tuple[Ref, dict[str, Any]]:
    ref, thing = await find(ctx, args)
    if ref.short_kind == "DaemonSet":
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"{ref} runs one pod on each of its nodes and has no replicas.",
            "workload_restart or workload_delete it; its nodeSelector says where it runs.",
        )
    _not_a_pod(ref, "scaled", "workload_delete it, or apply a Deployment instead.")
    return ref, thing


def _not_a_pod(ref: Ref, what: str, hint: str) -> None:
    if ref.short_kind == "Pod":
        raise ToolError(Code.FAILED_PRECONDITION, f"{ref} is a single pod: not {what}.", hint)


def _remember(ref: Ref, replicas: str | None, needs: tuple[str, ...] = ()) -> Patch:
    fields = {"metadata": {"annotations": {STOPPED: replicas}}}
    return Patch(id="remember", ref=ref, fields=fields, needs=needs)


async def _scaler_notes(ctx: Context, ref: Ref) -> list[str]:
    """What an autoscaler of the workload makes of 0 replicas; of others, the preview says it."""
    scaler = await autoscaler_of(ctx.cluster, ref)
    if scaler is None:
        return []
    low, high = scaler["spec"].get("minReplicas", 1), scaler["spec"]["maxReplicas"]
    about = f"HorizontalPodAutoscaler {meta(scaler)['name']} ({low} to {high} replicas)"
    return [f"{about} lets it be while it is at 0, and takes over again when it is started."]


def _replicas(thing: dict[str, Any]) -> int:
    return int((thing.get("spec") or {}).get("replicas", 1))


def _result(ref: Ref) -> dict[str, Any]:
    return {"tenant": ref.namespace, "kind": ref.short_kind, "name": ref.name}
