"""Objects of any kind: listed, shown, applied; and the events about them."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from tools.calls import Role
from tools.context import Context
from tools.errors import Code, ToolError
from tools.health import event_time
from tools.inputs import InTenant, OfAnyTenant, Selector
from tools.objects import MANAGED_BY, OURS, Lean, Object, body_of, clip, labels, meta, refuse_ours
from tools.plan import Apply, Plan
from tools.tool import Effect, tool
from tools.workload_views import EventAnswer, event_answer

MOST_MANIFEST = 256 << 10
MOST_DEPTH = 64
MOST_EVENTS = 2000
PAGE = 500
HIDDEN = "•••"
# The whole of an object as somebody applied it: it would tell a Secret, and all else twice.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

# What says who may do what, or holds a tenant to its plan: the platform's to set.
GUARDED = frozenset({"Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy"})
GUARDED_GROUPS = frozenset({"rbac.authorization.k8s.io", "admissionregistration.k8s.io"})

KindWord = Annotated[str, Field(max_length=200, description="Ingress, deploy, batch/v1/Job")]


class ResourceListArguments(OfAnyTenant):
    kind: KindWord
    labels: Selector = ""
    limit: int = Field(50, ge=1, le=500)
    next: str = Field("", max_length=4000)


class ResourceList(Lean):
    """Rows as the API server tables the kind; `remaining` are left after these."""

    kind: str
    rows: list[dict[str, Any]]
    next: str = ""
    remaining: int | None = None


class ResourceGetArguments(OfAnyTenant):
    kind: KindWord
    name: str = Field(max_length=253)


class ResourceAnswer(Lean):
    object: dict[str, Any]


class ResourceApply(InTenant):
    manifest: Annotated[str, Field(max_length=MOST_MANIFEST)] | dict[str, Any] = Field(
        description="an object, or one as YAML"
    )
    force: bool = Field(False, description="take over fields of other managers")


class EventsArguments(OfAnyTenant):
    object: str = Field("", max_length=300, description="a name, or Kind/name")
    only_warnings: bool = False
    limit: int = Field(50, ge=1, le=200)


class EventsList(Lean):
    events: list[EventAnswer]
    note: str = ""


@tool("resource_list", effect=Effect.READ, group="resources", title="List objects")
async def list_resources(ctx: Context, args: ResourceListArguments) -> ResourceList:
    """Objects of any kind, as the API server tables them."""
    kind = await ctx.cluster.kind(args.kind)
    namespace = await _namespace(ctx, kind, args)
    table = await ctx.cluster.table(
        kind, namespace, labels=args.labels, limit=args.limit, next=args.next
    )
    return ResourceList(
        kind=kind,
        rows=[_compact(row, namespace) for row in table.rows],
        next=table.next,
        remaining=table.remaining,
    )


def _compact(row: dict[str, Any], namespace: str) -> dict[str, Any]:
    told = {k: v for k, v in row.items() if v not in ("", None, "<none>") and k != "selector"}
    if namespace or not told.get("namespace"):
        told.pop("namespace", None)
    return {k: clip(v) if isinstance(v, str) else v for k, v in told.items()}


async def _namespace(ctx: Context, kind: str, args: OfAnyTenant) -> str:
    """Where to look: the tenant's namespace, or nowhere for a kind of the whole cluster, which
    only operators see. Raises `ToolError`."""
    if await ctx.cluster.namespaced(kind):
        return args.tenant or ""
    _operators_only(ctx, f"{kind} belongs to the whole cluster.")
    return ""


def _operators_only(ctx: Context, why: str) -> None:
    if not ctx.caller.operator:
        raise ToolError(Code.PERMISSION_DENIED, why, "Ask an operator of the platform.")


@tool("resource_get", effect=Effect.READ, group="resources", title="Show an object")
async def get(ctx: Context, args: ResourceGetArguments) -> ResourceAnswer:
    """One object of any kind. Of a Secret, only its keys."""
    kind = await ctx.cluster.kind(args.kind)
    namespace = await _namespace(ctx, kind, args)
    if not namespace and await ctx.cluster.namespaced(kind):
        raise ToolError(Code.INVALID_ARGUMENT, f"{kind} is in a namespace.", "Name the tenant.")
    found = await ctx.cluster.get(ctx.cluster.ref(kind, args.name, namespace))
    return ResourceAnswer(object=shown(found))


def shown(thing: Object) -> dict[str, Any]:
    """An object without what nobody reads, and a Secret without what nobody may."""
    about = {k: v for k, v in meta(thing).items() if k not in ("managedFields", "selfLink")}
    notes = {k: v for k, v in (about.pop("annotations", None) or {}).items() if k != LAST_APPLIED}
    told = {**thing, "metadata": about | ({"annotations": notes} if notes else {})}
    if thing.get("kind") == "Secret":
        for part in ("data", "stringData"):
            if part in told:
                told[part] = dict.fromkeys(told[part] or {}, HIDDEN)
    return told


@tool("resource_apply", effect=Effect.WRITE, group="resources", title="Apply an object",
      role=Role.ADMIN)  # fmt: skip
async def apply(ctx: Context, args: ResourceApply) -> Plan:
    """Create an object of any kind in the tenant's namespace, or set the fields that the manifest
    names (server-side apply)."""
    wanted = parsed(args.manifest)
    kind = await ctx.cluster.kind(f"{wanted['apiVersion']}/{wanted['kind']}")
    namespaced = await ctx.cluster.namespaced(kind)
    within = meta(wanted).get("namespace") or args.tenant
    if namespaced and within != args.tenant:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"The manifest is for namespace {clip(str(within), 63)}, the tenant is {args.tenant}.",
            "Leave the namespace out.",
        )
    _guard(ctx, kind, namespaced, wanted)
    ref = ctx.cluster.ref(kind, meta(wanted)["name"], args.tenant if namespaced else "")
    refuse_ours(wanted, f"What is labelled {MANAGED_BY}={OURS}")
    live = await ctx.cluster.find(ref)
    if live:
        refuse_ours(live, ref)
    notes = ["It takes over fields from other managers."] if args.force else []
    return Plan.of(
        f"{'Update' if live else 'Create'} {ref}",
        [Apply(id="apply", ref=ref, body=body_of(wanted), force=args.force)],
        notes=notes,
        # Who sets the whole cluster's or the platform's objects can undo every other bound.
        destructive=not namespaced or _guarded(kind),
        result={"kind": kind, "name": ref.name, "namespace": ref.namespace},
    )


def _guard(ctx: Context, kind: str, namespaced: bool, wanted: Object) -> None:
    """Raises `ToolError` for what a tenant may not set about itself."""
    word = kind.rpartition("/")[2]
    if not namespaced:
        _operators_only(ctx, f"{kind} belongs to the whole cluster.")
    if _guarded(kind):
        _operators_only(ctx, f"{word} is the platform's to set.")
    if word == "Secret" and wanted.get("type") == "kubernetes.io/service-account-token":
        raise ToolError(
            Code.PERMISSION_DENIED,
            "A Secret of this type would be a ServiceAccount's lasting credential.",
            "Use a projected token in the pod that needs one.",
        )


def _guarded(kind: str) -> bool:
    return kind.rpartition("/")[2] in GUARDED or kind.partition("/")[0] in GUARDED_GROUPS


def parsed(manifest: str | dict[str, Any]) -> dict[str, Any]:
    """One object with apiVersion, kind and metadata.name. Raises `ToolError`."""
    wanted = _yaml(manifest) if isinstance(manifest, str) else manifest
    if not isinstance(wanted, dict) or not isinstance(wanted.get("metadata") or {}, dict):
        raise _unfit("The manifest is not an object.")
    try:
        text = json.dumps(wanted, default=_said, allow_nan=False)
    except (RecursionError, ValueError, TypeError):
        raise _unfit("The manifest is nested too deeply, or is not JSON.") from None
    if len(text) > MOST_MANIFEST:
        raise _unfit(f"The manifest is longer than {MOST_MANIFEST >> 10} kB.")
    wanted = json.loads(text)
    for field in ("apiVersion", "kind"):
        if not isinstance(wanted.get(field), str) or not wanted[field]:
            raise _unfit(f"The manifest has no {field}.")
    if not isinstance(meta(wanted).get("name"), str) or not meta(wanted)["name"]:
        raise _unfit("The manifest has no metadata.name (generateName is not taken).")
    if not isinstance(labels(wanted), dict):
        raise _unfit("The manifest's labels are not an object.")
    return dict(wanted)


def _said(value: Any) -> str:
    """YAML's times, which Kubernetes has as strings."""
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _unfit(message: str) -> ToolError:
    hint = "Give one object with apiVersion, kind and metadata.name."
    return ToolError(Code.INVALID_ARGUMENT, message, hint)


def _yaml(text: str) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _bounded(text, loader)
        documents = [d for d in yaml.load_all(text, loader) if d is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise _unfit(f"The manifest is not YAML: {clip(str(error), 300)}") from None
    if len(documents) != 1:
        raise _unfit(f"The manifest holds {len(documents)} objects.")
    return documents[0]


def _bounded(text: str, loader: Any) -> None:
    """Raises `ToolError` for what would be gigabytes (aliases of aliases), or minutes (nesting)."""
    import yaml

    depth = 0
    for event in yaml.parse(text, loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH or isinstance(event, yaml.AliasEvent):
            raise _unfit("The manifest is nested too deeply, or has YAML aliases.")


@tool("events_list", effect=Effect.READ, group="resources", title="List events")
async def list_events(ctx: Context, args: EventsArguments) -> EventsList:
    """What the cluster told lately, newest first, the same told once with its count."""
    kind, _, name = args.object.rpartition("/")
    told = {"type": "Warning" if args.only_warnings else "", "involvedObject.name": name}
    if kind:
        told["involvedObject.kind"] = (await ctx.cluster.kind(kind)).rpartition("/")[2]
    fields = ",".join(f"{k}={v}" for k, v in told.items() if v)
    events: list[Object] = []
    next = ""
    while True:
        part, next = await ctx.cluster.list(
            "v1/Event", args.tenant or "", fields=fields, limit=PAGE, next=next, parts="whole"
        )
        events += part
        if not next or len(events) >= MOST_EVENTS:
            break
    folded = _folded(events, ctx)
    notes = [f"Only {MOST_EVENTS} were read: name an object."] if next else []
    if len(folded) > args.limit:
        notes.append(f"{len(folded) - args.limit} older ones are left out.")
    return EventsList(events=folded[: args.limit], note=" ".join(notes))


def _folded(events: Sequence[Object], ctx: Context) -> list[EventAnswer]:
    """One for each that says the same of the same object, the newest first."""
    kept: dict[tuple[str, str, str], EventAnswer] = {}
    for event in sorted(events, key=event_time, reverse=True):
        answer = event_answer(event, ctx)
        key = (answer.object, answer.reason, answer.message)
        if first := kept.get(key):
            kept[key] = first.model_copy(update={"count": first.count + answer.count})
        else:
            kept[key] = answer
    return list(kept.values())
