"""What a change would do, asked of the API server itself: its dry run against the live object."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tools.backends.kubernetes.api import Reply
from tools.backends.kubernetes.fields import difference, project, veiled
from tools.backends.kubernetes.managers import autoscalers, controllers, other_managers
from tools.backends.kubernetes.masks import Mask, mask_of
from tools.backends.kubernetes.observing import look, replicas
from tools.backends.kubernetes.probing import SCALED, probe
from tools.backends.kubernetes.writing import request_for, send
from tools.errors import Code, ToolError
from tools.plan import Apply, Change, Create, Delete, Difference, Patch, Plan, Preview, Ref, Scale

if TYPE_CHECKING:
    from tools.backends.kubernetes.cluster import KubeCluster

# An object's status moves its resourceVersion within milliseconds.
TRIES = 4
How = Literal["server", "computed", "probed"]
Live = Mapping[str, Any] | None


async def preview(cluster: "KubeCluster", change: Change, plan: Plan) -> Preview:
    """Raises `ToolError` where the server would refuse the change."""
    if await _nowhere_yet(cluster, change.ref, plan):
        return _told(change, None, "computed", difference({}, change.after), [])
    absent = change.seen is not None and change.seen.value is None
    live: Live = None if absent else await look(cluster, change)
    if live is None and isinstance(change, Patch | Scale):
        raise ToolError(Code.NOT_FOUND, f"{change.ref} is not there.", "Check its name.")
    if live is None and isinstance(change, Delete):
        return _told(change, None, "server", [], ["It is gone already."])
    if live is not None and isinstance(change, Create):
        raise ToolError(
            Code.ALREADY_EXISTS, f"{change.ref} already exists.", "Choose another name."
        )
    live, reply = await _dry_run(cluster, change, live)
    how, unasked = await _probed(cluster, change, live, reply.body)
    notes = await _notes(cluster, change, live)
    notes += [f"The API server warns: {warning}" for warning in reply.warnings]
    return _told(change, live, how, _moves(change, live, reply.body), notes + unasked)


async def _dry_run(cluster: "KubeCluster", change: Change, live: Live) -> tuple[Live, Reply]:
    """What would be stored, and the object that it was worked out from: what a controller wrote
    between our reading it and the dry run is not our doing."""
    for _ in range(TRIES):
        whose = live if isinstance(change, Delete) else None
        reply = await send(cluster.api, await request_for(cluster.api, change, whose), dry_run=True)
        if live is None or isinstance(change, Delete) or _version(reply.body) == _version(live):
            break
        live = await look(cluster, change) or live
    return live, reply


def _version(thing: Mapping[str, Any]) -> str:
    return str((thing.get("metadata") or {}).get("resourceVersion", ""))


async def _nowhere_yet(cluster: "KubeCluster", ref: Ref, plan: Plan) -> bool:
    """Is the object's namespace made by this very plan?"""
    namespace = cluster.ref("v1/Namespace", ref.namespace)
    for change in plan.changes:
        if change.ref == namespace and isinstance(change, Apply | Create):
            if change.seen is not None:
                return change.seen.value is None
            return await cluster.find(namespace) is None
    return False


def _moves(change: Change, live: Live, stored: Any) -> list[Difference]:
    match change:
        case Delete():
            return [Difference(path="metadata.name", before=change.ref.name)]
        case Scale():
            return difference(
                {"spec": {"replicas": replicas(live or {})}},
                {"spec": {"replicas": replicas(stored)}},
            )
        case Apply() | Create() if live is None:
            # What the server adds to a new object by itself is no news.
            return difference({}, project(stored, change.after))
    return difference(live, stored)


async def _probed(
    cluster: "KubeCluster", change: Change, live: Live, stored: Any
) -> tuple[How, list[str]]:
    if isinstance(change, Delete):
        return "server", []
    before, after = live, stored
    if isinstance(change, Scale):
        if replicas(stored) <= replicas(live or {}):
            return "server", []
        before = await cluster.get(change.ref)
        after = {**before, "spec": {**before["spec"], "replicas": replicas(stored)}}
    tried = await probe(cluster, change.ref, before, after)
    if tried is None:
        return "server", ["Whether its pods are within quota could not be tried with these rights."]
    return ("probed" if tried else "server"), []


async def _notes(cluster: "KubeCluster", change: Change, live: Live) -> list[str]:
    if live is None:
        return []
    if isinstance(change, Delete):
        return controllers(live)
    mask = written_mask(change)
    notes = []
    # A Scale does not say who manages the field that it stands for.
    managed = await cluster.find(change.ref) if isinstance(change, Scale) else live
    if managed is not None:
        notes = other_managers(managed, mask) + controllers(managed)
    # An autoscaler lets be what is at 0.
    if change.ref.kind in SCALED and _replicas_wanted(change):
        notes += await autoscalers(cluster, change.ref)
    return notes


def _replicas_wanted(change: Change) -> Any:
    if isinstance(change, Scale):
        return change.replicas
    return (change.after.get("spec") or {}).get("replicas")


def written_mask(change: Change) -> Mask:
    if isinstance(change, Scale):
        return {"f:spec": {"f:replicas": {}}}
    return mask_of(change.after)


def _told(
    change: Change, live: Live, how: How, diff: list[Difference], notes: list[str]
) -> Preview:
    verb: Literal["create", "update", "delete"] = change.verb
    if verb != "delete":
        verb = "create" if live is None else "update"
    title = f"{verb.capitalize()} {change.ref}"
    if isinstance(change, Scale):
        title = f"Scale {change.ref} from {replicas(live or {})} to {change.replicas}"
    elif verb == "update" and not diff:
        title = f"Leave {change.ref} as it is"
    return Preview(
        id=change.id,
        title=title,
        verb=verb,
        how=how,
        undo=change.undoable,
        diff=veiled(change.ref.kind, diff),
        notes=list(dict.fromkeys(notes)),
    )
