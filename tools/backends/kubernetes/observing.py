"""What is there in the fields that a change writes: its precondition, and what undo needs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tools.backends.kubernetes.fields import applied_mask, before_patch, project, spelled
from tools.backends.kubernetes.masks import pick
from tools.errors import Code, ToolError
from tools.plan import Apply, Change, Create, Delete, Json, Patch, Ref, Scale, Seen

if TYPE_CHECKING:
    from tools.backends.kubernetes.cluster import KubeCluster

# Their content moves while they live, or is nothing that one would keep them for: to delete one,
# it must be the same one.
BY_UID = frozenset({"v1/Pod", "v1/Namespace", "v1/PersistentVolumeClaim", "batch/v1/Job"})


async def observe(cluster: "KubeCluster", change: Change) -> Seen:
    return seen(change, await look(cluster, change))


def intended(change: Change) -> Json:
    """What `observe` shows once the change was made, as far as that can be told without asking."""
    return spelled(change.after)


async def look(cluster: "KubeCluster", change: Change) -> dict[str, Any] | None:
    """The object that a change writes to (a scale writes to its scale), or None."""
    if isinstance(change, Scale):
        return await scale_of(cluster, change.ref)
    return await cluster.find(change.ref)


async def scale_of(cluster: "KubeCluster", ref: Ref) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await cluster.api.get(await cluster.api.kinds.path(ref, "scale"))
    except ToolError as error:
        if error.code is Code.NOT_FOUND:
            return None
        raise
    return found


def seen(change: Change, live: Mapping[str, Any] | None) -> Seen:
    """What a change would find in this object."""
    if live is None:
        return Seen()
    uid = (live.get("metadata") or {}).get("uid", "")
    match change:
        case Scale():
            return Seen(uid=uid, value={"replicas": replicas(live)})
        case Apply():
            return Seen(uid=uid, value=pick(live, applied_mask(live, change.body)))
        case Patch():
            strategic = change.kind_of_patch == "strategic"
            return Seen(uid=uid, value=before_patch(live, change.fields, strategic=strategic))
        case Create():
            return Seen(uid=uid, value=project(live, change.body))
        case Delete() if "deletionTimestamp" in (live.get("metadata") or {}):
            # Still there and yet no longer as it was: what waits for its finalizers is lost.
            return Seen(uid=uid, value={"deleting": True})
        case Delete():
            return Seen(uid=uid, value=_content(change.ref, live))
    raise TypeError(f"{type(change).__name__} is no change to a cluster")


def replicas(scale: Mapping[str, Any]) -> int:
    """Of a Scale, which leaves out a zero."""
    return int((scale.get("spec") or {}).get("replicas") or 0)


def _content(ref: Ref, live: Mapping[str, Any]) -> dict[str, Any]:
    if ref.kind in BY_UID:
        return {}
    content = {
        name: value
        for name, value in live.items()
        if name not in ("apiVersion", "kind", "metadata", "status")
    }
    if isinstance(spec := content.get("spec"), dict):
        # An autoscaler moves it from minute to minute.
        content["spec"] = {name: value for name, value in spec.items() if name != "replicas"}
    return content
