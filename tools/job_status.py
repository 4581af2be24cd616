"""What became of a Job: pure functions of the Job and its pods, and the record that outlives it."""

from collections.abc import Sequence
from typing import Any

from tools.errors import ToolError
from tools.health import pod_wrong
from tools.logs import ASKED_BYTES, NO_LOG, last_part
from tools.looking import Cluster
from tools.objects import Object, annotations, clip, meta, when
from tools.plan import Change, Create, Delete, Patch

JOB = "batch/v1/Job"
CANCELLED = "pilothouse.dev/cancelled"
KEPT_BYTES = 64 << 10
KEPT_LINES = 5000
MOST_PODS = 100
ENDED = frozenset({"succeeded", "failed", "cancelled"})

_BY_COLUMN = {
    "Complete": "succeeded",
    "SuccessCriteriaMet": "running",
    "Failed": "failed",
    "FailureTarget": "failed",
    "Terminating": "failed",
    "Suspended": "suspended",
}


def status(job: Object, pods: Sequence[Object] = ()) -> str:
    """pending, running, succeeded, failed, cancelled or suspended."""
    state = job.get("status") or {}
    true = {c["type"] for c in state.get("conditions") or [] if c.get("status") == "True"}
    if "Complete" in true:
        return "succeeded"
    if "Failed" in true:
        return "failed"
    if (job.get("spec") or {}).get("suspend"):
        return "cancelled" if CANCELLED in annotations(job) else "suspended"
    # The controller counts what is ready once a second; a pod says so itself.
    begun = state.get("ready") or any(started(pod) for pod in pods)
    return "running" if begun else "pending"


def listed(row: dict[str, Any]) -> str:
    """The same, as far as a row of the server's table tells it."""
    said = _BY_COLUMN.get(row.get("status", ""), "running")
    if said == "suspended" and CANCELLED in annotations(row):
        return "cancelled"
    if "status" not in row:  # older servers have no such column
        done, _, wanted = str(row.get("completions", "")).partition("/")
        return "succeeded" if done == wanted.partition(" ")[0] else "running"
    return said


def reason(job: Object, pods: Sequence[Object] = ()) -> str:
    """Why it failed, or why it has not begun."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Failed" and condition.get("status") == "True":
            told = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            return clip(told.strip(": "))
    if status(job) in ENDED:
        return ""
    found = [phrase for pod in pods if (phrase := pod_wrong(pod)) not in ("", "starting")]
    return found[-1] if found else ""


def exit_code(pods: Sequence[Object]) -> int | None:
    """The exit code of the newest pod that has one."""
    for pod in reversed(pods):
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            ended = (container.get("state") or {}).get("terminated")
            if ended:
                return int(ended["exitCode"])
    return None


def finished(job: Object) -> str | None:
    state = job.get("status") or {}
    failed = [c["lastTransitionTime"] for c in state.get("conditions") or []
              if c["type"] == "Failed" and c.get("status") == "True"]  # fmt: skip
    return state.get("completionTime") or next(iter(failed), None)


def summary(job: Object, pods: Sequence[Object]) -> dict[str, Any]:
    """What `job_get` tells and the journal keeps, but for the log."""
    state = job.get("status") or {}
    begun, ended = state.get("startTime"), finished(job)
    begun_at, ended_at = when(begun), when(ended)
    return {
        "name": meta(job)["name"],
        "status": status(job, pods),
        "reason": reason(job, pods),
        "exit_code": exit_code(pods),
        "started": begun,
        "finished": ended,
        "duration_s": int((ended_at - begun_at).total_seconds()) if begun_at and ended_at else None,
        "attempts": sum(state.get(k) or 0 for k in ("succeeded", "failed", "active")),
    }


def started(pod: Object) -> bool:
    """Is there, or could there be, a log of it?"""
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    return any({"running", "terminated"} & (c.get("state") or {}).keys() for c in containers)


async def pods_of(cluster: Cluster, namespace: str, job: str) -> list[dict[str, Any]]:
    """A Job's pods, oldest first."""
    pods, _ = await cluster.list(
        "v1/Pod", namespace, labels=f"job-name={job}", limit=MOST_PODS, parts="whole"
    )
    return sorted(pods, key=lambda pod: (meta(pod)["creationTimestamp"], meta(pod)["name"]))


async def log_of(cluster: Cluster, pods: Sequence[Object], lines: int) -> str:
    """The last lines of the newest pod that has begun; empty where there are none."""
    begun = [pod for pod in pods if started(pod)]
    if not begun:
        return ""
    try:
        return await cluster.logs(
            meta(begun[-1])["namespace"],
            meta(begun[-1])["name"],
            container=begun[-1]["spec"]["containers"][0]["name"],
            tail=lines,
            limit_bytes=ASKED_BYTES,
        )
    except ToolError as error:
        if error.code in NO_LOG:
            return ""
        raise


async def job_result(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    """What the journal keeps of a Job: how it ended, and the last 64 kB of its log as `log`.

    Raises `ToolError(NOT_FOUND)` when the Job is gone already.
    """
    job = await cluster.get(cluster.ref(JOB, name, namespace))
    pods = await pods_of(cluster, namespace, name)
    log = await log_of(cluster, pods, KEPT_LINES)
    return summary(job, pods) | {"log": last_part(log, KEPT_BYTES)}


def ends_log(change: Change) -> bool:
    """Does this change take a Job's pods, and with them its log? Then keep `job_result` first."""
    match change:
        case Patch(fields={"spec": {"suspend": True}}) | Delete():
            return change.ref.kind == JOB
    return False


def runs_job(change: Change) -> bool:
    """Does this change start a Job, whose result is worth keeping when it ends?"""
    return isinstance(change, Create) and change.ref.kind == JOB
