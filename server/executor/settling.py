"""Whether a change to a cluster has taken effect: rolled out, ended, or gone."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tools.backends.kubernetes.health import failed_create, job_end, rollout
from tools.backends.kubernetes.refusals import forbidden
from tools.errors import Code, ToolError
from tools.health import pod_wrong
from tools.plan import Apply, Change, Create, Delete, Patch

if TYPE_CHECKING:
    from server.executor.kubernetes import KubeWrites

ROLLED = frozenset({"apps/v1/Deployment", "apps/v1/StatefulSet", "apps/v1/DaemonSet"})
# What is waited for beyond its being there.
AWAITED = ROLLED | {"v1/Namespace", "batch/v1/Job"}
PODS = 50
SHOWN = 3


def at_once(change: Change) -> bool:
    """Is what was made in effect as soon as the API server has answered?"""
    if change.ref.kind == "v1/Namespace" and change.seen is not None and change.verb == "create":
        return True  # a new one is active from the start
    return isinstance(change, Apply | Create | Patch) and change.ref.kind not in AWAITED


async def settled(cluster: "KubeWrites", change: Change) -> str:
    """Empty when it has, else what is being waited for. Raises `ToolError` when it never will."""
    live = await cluster.find(change.ref)
    if isinstance(change, Delete):
        return _gone(change, live)
    if live is None:
        # A Job may be cleaned up as soon as it has ended.
        if isinstance(change, Create) and change.await_end:
            return ""
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"{change.ref} was deleted meanwhile.",
            "Find out who did (call_list, events_list), and ask again.",
        )
    if change.ref.kind in ROLLED:
        return await _rolled_out(cluster, change, live)
    if change.ref.kind == "v1/Namespace":
        phase = (live.get("status") or {}).get("phase", "Active")
        return "" if phase == "Active" else f"it is {phase}"
    if change.ref.kind == "batch/v1/Job":
        return await _job(cluster, change, live)
    return ""


def _gone(change: Delete, live: Mapping[str, Any] | None) -> str:
    metadata = (live or {}).get("metadata") or {}
    if live is None or (change.seen and change.seen.uid and metadata["uid"] != change.seen.uid):
        return ""
    left = [
        str(condition.get("message"))
        for condition in (live.get("status") or {}).get("conditions") or ()
        if condition.get("status") == "True" and condition.get("type") in REMAINING
    ]
    if left:
        return f"it is terminating: {' '.join(left)}"
    if "deletionTimestamp" not in metadata:
        return "it is still there"
    if finalizers := metadata.get("finalizers"):
        return f"it is terminating, held by {', '.join(finalizers)}"
    return "it is terminating"


# What a terminating Namespace says it still waits for.
REMAINING = frozenset(
    {
        "NamespaceContentRemaining",
        "NamespaceFinalizersRemaining",
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceDeletionContentFailure",
    }
)


async def _rolled_out(cluster: "KubeWrites", change: Change, live: Mapping[str, Any]) -> str:
    so_far = rollout(live)
    if not so_far.waiting:
        return ""
    pods = await _pods(cluster, change, live)
    wrong = _troubles(pods)
    if so_far.never:
        because = f" ({wrong})" if wrong else ""
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"{change.ref} does not get ready: {so_far.never}{because}",
            "workload_get and workload_logs say why; call_undo puts it back.",
        )
    refused = failed_create(live.get("status") or {})
    # Pods on their way out still count for a quota, and make room soon.
    if refused and not any("deletionTimestamp" in pod["metadata"] for pod in pods):
        raise forbidden(refused)
    refused = refused or (await _refused(cluster, live) if len(pods) < so_far.desired else "")
    return "; ".join(filter(None, (so_far.waiting, wrong, refused)))


async def _job(cluster: "KubeWrites", change: Change, live: Mapping[str, Any]) -> str:
    status = live.get("status") or {}
    active = status.get("active") or 0
    if (live.get("spec") or {}).get("suspend"):
        return f"{active} pods still running" if active else ""
    if not (isinstance(change, Create) and change.await_end) or job_end(live):
        return ""
    pods = await _pods(cluster, change, live)
    done = f"{status.get('succeeded') or 0} succeeded, {status.get('failed') or 0} failed"
    refused = "" if pods else await _refused(cluster, live)
    return "; ".join(filter(None, (f"{active} running, {done}", _troubles(pods), refused)))


def _troubles(pods: Iterable[dict[str, Any]]) -> str:
    """What is wrong with some pods: `web-abc: ImagePullBackOff: …; web-def: …`."""
    found = [
        f"{pod['metadata']['name']}: {wrong}"
        for pod in pods
        if (wrong := pod_wrong(pod)) not in ("", "starting")
    ]
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "; ".join([*found[:SHOWN], *more])


async def _pods(
    cluster: "KubeWrites", change: Change, live: Mapping[str, Any]
) -> list[dict[str, Any]]:
    labels = ((live.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    if not labels:
        return []
    selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    try:
        found, _ = await cluster.list(
            "v1/Pod", change.ref.namespace, labels=selector, limit=PODS, parts="whole"
        )
    except ToolError as error:
        if error.code is Code.PERMISSION_DENIED:
            return []
        raise
    return list(found)


async def _refused(cluster: "KubeWrites", live: Mapping[str, Any]) -> str:
    """Why a controller could not make its pods, from its last such event."""
    metadata = live["metadata"]
    fields = f"involvedObject.uid={metadata['uid']},reason=FailedCreate"
    try:
        events, _ = await cluster.list(
            "v1/Event", metadata["namespace"], fields=fields, limit=PODS, parts="whole"
        )
    except ToolError as error:
        if error.code is Code.PERMISSION_DENIED:
            return ""
        raise
    messages = sorted((e.get("lastTimestamp") or "", e.get("message") or "") for e in events)
    return messages[-1][1] if messages else ""
