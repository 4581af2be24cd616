"""Jobs: pods that run to their end, counted, tried again, held up and cleared away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ..clock import parse_stamp
from ..errors import ApiError
from ..pods import active, condition, finished, ready
from ..schema import clone
from ..world import World
from .podmaking import make_pod, pod_from

Object = dict[str, Any]
TRACKING = "batch.kubernetes.io/job-tracking"
COMPONENT = "job-controller"
REACHED = ("CompletionsReached", "Reached expected number of succeeded pods")
TOO_MANY = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
TOO_LONG = ("DeadlineExceeded", "Job was active longer than specified deadline")


def sync(world: World, job: Object) -> float | None:
    """Count the pods that ended, and then make, remove, end or clear away."""
    pods = world.owned("Pod", job)
    if ended(job):
        for pod in pods:
            release(world, pod)
        return _clear_away(world, job)
    if job["metadata"].get("deletionTimestamp"):
        for pod in pods:
            release(world, pod)
        return None
    status = clone(job.get("status") or {})
    status.setdefault("uncountedTerminatedPods", {})
    status.setdefault("terminating", 0)
    status.setdefault("ready", 0)
    _count(status, pods)
    again = _decide(world, job, status, pods)
    written = world.set_status("Job", job, _tidy(status))
    for pod in filter(_over, pods):
        release(world, pod)
    if written and ended(written):
        name = next(c for c in ("Complete", "Failed") if condition(written, c))
        _tell_end(world, written, condition(written, name))
        return _clear_away(world, written)
    return again


def ended(job: Object) -> bool:
    """Whether it completed or failed."""
    return any(condition(job, name).get("status") == "True" for name in ("Complete", "Failed"))


def _dying(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _tracked(pod: Object) -> bool:
    return TRACKING in pod["metadata"].get("finalizers", ())


def _over(pod: Object) -> bool:
    """Whether nothing more is expected of a pod: one that is deleted has failed."""
    return finished(pod) or _dying(pod)


def _count(status: Object, pods: list[Object]) -> None:
    """Each pod is counted once, as long as it carries the finalizer."""
    for pod in pods:
        if not _tracked(pod):
            continue
        if pod.get("status", {}).get("phase") == "Succeeded":
            status["succeeded"] = status.get("succeeded", 0) + 1
        elif _over(pod):
            status["failed"] = status.get("failed", 0) + 1


def _decide(world: World, job: Object, status: Object, pods: list[Object]) -> float | None:
    spec = job["spec"]
    alive = [pod for pod in pods if active(pod)]
    status["ready"] = sum(1 for pod in alive if ready(pod))
    status["terminating"] = sum(1 for pod in pods if _dying(pod) and not finished(pod))
    status["active"] = len(alive)
    target = condition(job, "FailureTarget")
    if target:
        return _end(world, job, status, pods, target["reason"], target["message"])
    if spec.get("suspend"):
        _suspend(world, job, status, alive)
        return None
    _resume(world, job, status)
    left = _time_left(world, job, status)
    if left is not None and left <= 0:
        return _end(world, job, status, pods, *TOO_LONG)
    if _too_often(spec, status, pods):
        return _end(world, job, status, pods, *TOO_MANY)
    if _complete(job, status, alive):
        now = world.now()
        status["completionTime"] = now
        for name in ("SuccessCriteriaMet", "Complete"):
            _add_condition(status, name, now, *REACHED)
        return None
    return _more_pods(world, job, status, pods, alive, left)


def _too_often(spec: Object, status: Object, pods: list[Object]) -> bool:
    limit = spec.get("backoffLimit", 6)
    if status.get("failed", 0) > limit:
        return True
    if spec["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    # Where containers restart in place, their restarts are the tries.
    return bool(sum(map(_restarts, pods)) >= max(1, limit))


def _complete(job: Object, status: Object, alive: list[Object]) -> bool:
    wanted = job["spec"].get("completions")
    done = status.get("succeeded", 0)
    if wanted is None:
        # Without a number, the first success ends it once the others have ended too.
        return bool(done and not alive)
    return bool(done >= wanted and not alive)


def _more_pods(
    world: World,
    job: Object,
    status: Object,
    pods: list[Object],
    alive: list[Object],
    left: float | None,
) -> float | None:
    spec = job["spec"]
    together = spec.get("parallelism", 1)
    if spec.get("completions") is not None:
        together = min(together, spec["completions"] - status.get("succeeded", 0))
    elif status.get("succeeded"):
        together = len(alive)
    for pod in alive[together:]:
        release(world, pod)
        world.delete("Pod", pod)
    wait = _backoff(world, status, pods)
    if wait > 0:
        return wait if left is None else min(wait, left)
    for _ in range(together - len(alive)):
        pod = pod_from("Job", job, spec["template"])
        pod["metadata"]["finalizers"] = [TRACKING]
        _index(job, pods, pod)
        try:
            made = make_pod(world, "Job", job, pod)
        except ApiError:
            return world.timings.retry
        pods.append(made)
        status["active"] += 1
    return left


def _index(job: Object, pods: list[Object], pod: Object) -> None:
    if job["spec"].get("completionMode") != "Indexed":
        return
    key = "batch.kubernetes.io/job-completion-index"
    taken = {
        p["metadata"].get("labels", {}).get(key)
        for p in pods
        if p.get("status", {}).get("phase") != "Failed"
    }
    free = next(str(i) for i in range(len(taken) + 1) if str(i) not in taken)
    pod["metadata"].setdefault("labels", {})[key] = free
    pod["metadata"].setdefault("annotations", {})[key] = free
    for container in pod["spec"]["containers"]:
        variable = {"name": "JOB_COMPLETION_INDEX", "value": free}
        container["env"] = [*container.get("env", ()), variable]


def _backoff(world: World, status: Object, pods: list[Object]) -> float:
    """How long to wait before the next try: longer with every failure."""
    failed = status.get("failed", 0)
    if not failed or not world.timings.job_backoff:
        return 0.0
    ends = [
        parse_stamp(state["finishedAt"])
        for pod in pods
        for container in pod.get("status", {}).get("containerStatuses", ())
        if (state := container.get("state", {}).get("terminated")) and state.get("exitCode")
    ]
    if not ends:
        return 0.0
    wait = timedelta(seconds=world.timings.job_backoff * 2 ** (min(failed, 6) - 1))
    return max(0.0, (max(ends) + wait - world.clock.now()).total_seconds())


def _restarts(pod: Object) -> int:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return sum(status.get("restartCount", 0) for status in statuses)


def _time_left(world: World, job: Object, status: Object) -> float | None:
    allowed = job["spec"].get("activeDeadlineSeconds")
    if allowed is None:
        return None
    until = parse_stamp(status["startTime"]) + timedelta(seconds=allowed)
    return (until - world.clock.now()).total_seconds()


def _end(
    world: World, job: Object, status: Object, pods: list[Object], reason: str, message: str
) -> float | None:
    """A Job that failed first stops its pods, and is Failed when they have ended."""
    alive = [pod for pod in pods if active(pod)]
    for pod in alive:
        world.delete("Pod", pod)
    now = world.now()
    if not condition(job, "FailureTarget"):
        _add_condition(status, "FailureTarget", now, reason, message)
    running = [p for p in world.owned("Pod", job) if not finished(p)]
    status["active"] = status["ready"] = 0
    status["terminating"] = len(running)
    if not running:
        _add_condition(status, "Failed", now, reason, message)
    return None


def _suspend(world: World, job: Object, status: Object, alive: list[Object]) -> None:
    for pod in alive:
        # Let go before they are deleted, so that they do not count as failures.
        release(world, pod)
        world.delete("Pod", pod)
        status["terminating"] += 1
    status["active"] = status["ready"] = 0
    if condition(job, "Suspended").get("status") != "True":
        _add_condition(status, "Suspended", world.now(), "JobSuspended", "Job suspended")
        world.event("Job", job, "Normal", "Suspended", "Job suspended", COMPONENT)


def _resume(world: World, job: Object, status: Object) -> None:
    status.setdefault("startTime", world.now())
    if condition(job, "Suspended").get("status") == "True":
        status["startTime"] = world.now()
        _add_condition(status, "Suspended", world.now(), "JobResumed", "Job resumed", "False")
        world.event("Job", job, "Normal", "Resumed", "Job resumed", COMPONENT)


def _add_condition(
    status: Object, name: str, now: str, reason: str, message: str, holds: str = "True"
) -> None:
    others = [c for c in status.get("conditions", ()) if c["type"] != name]
    status["conditions"] = [
        *others,
        {
            "type": name,
            "status": holds,
            "lastProbeTime": now,
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        },
    ]


def _tidy(status: Object) -> Object:
    """Counts that are nothing are left out, those that are always there are not."""
    return {
        key: value
        for key, value in status.items()
        if value or key in ("terminating", "ready", "uncountedTerminatedPods")
    }


def release(world: World, pod: Object) -> None:
    """What is counted, or has no Job any more, needs its finalizer no longer."""
    if _tracked(pod):
        world.change(
            "Pod",
            pod,
            lambda copy: copy["metadata"].update(
                finalizers=[name for name in copy["metadata"]["finalizers"] if name != TRACKING]
            ),
        )


def _tell_end(world: World, job: Object, how: Object) -> None:
    if how["type"] == "Complete":
        world.event("Job", job, "Normal", "Completed", "Job completed", COMPONENT)
    else:
        world.event("Job", job, "Warning", how["reason"], how["message"], COMPONENT)


def _clear_away(world: World, job: Object) -> float | None:
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None or job["metadata"].get("deletionTimestamp"):
        return None
    end = next(condition(job, name) for name in ("Complete", "Failed") if condition(job, name))
    until = parse_stamp(end["lastTransitionTime"]) + timedelta(seconds=ttl)
    left = (until - world.clock.now()).total_seconds()
    if left > 0:
        return left
    world.delete("Job", job, "Foreground")
    return None
