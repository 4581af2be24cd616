"""What is wrong with a workload, in one phrase, and what to do next. Pure functions of what the
cluster says: the object, its pods and their events."""

from collections.abc import Iterable, Sequence
from typing import Any

from tools.objects import Object, clip, meta

# A container that waits for these is only starting.
_STARTING = frozenset({"ContainerCreating", "PodInitializing", ""})

# The admission controllers' words, and ours for who spoke. The first that is found counts.
_REFUSALS = (
    ("exceeded quota", "quota: "),
    ("failed quota", "quota: "),
    ("violates PodSecurity", "Pod Security: "),
    ("usage per", "limits: "),
)

_NEXT = (
    ("quota", "Scale something down, ask for less (workload_resize), or raise the tenant's plan "
     "tier (tenant_update)."),
    ("limits", "Keep within the tenant's LimitRange: workload_resize."),
    ("Pod Security", "Change the pod template to what the tenant's Pod Security level allows."),
    ("unschedulable", "Ask for less (workload_resize), or add nodes that it may run on."),
    ("ImagePullBackOff", "Check the image's name and tag, and the pull secret."),
    ("ErrImagePull", "Check the image's name and tag, and the pull secret."),
    ("InvalidImageName", "Correct the image's name."),
    ("CreateContainerConfigError", "Check the Secrets, ConfigMaps and user that the container "
     "names: resource_list shows those there are."),
    ("OOMKilled", "Raise the memory limit: workload_resize."),
    ("CrashLoopBackOff", "Read why it ended: workload_logs with previous=true."),
    ("Error", "Read why it ended: workload_logs."),
    ("not ready", "Look at the readiness probe and workload_logs."),
    ("rollout stuck", "Look at events_list; undo the last change, or workload_restart."),
    ("cannot make pods", "Look at events_list."),
)  # fmt: skip


def next_step(wrong: str) -> str:
    """What to do about a phrase that `what_is_wrong` gave; empty where nothing is known."""
    return next((step for start, step in _NEXT if wrong.startswith(start)), "")


def counts(thing: Object) -> tuple[int, int]:
    """How many pods are ready and how many there should be; of a pod, its containers."""
    spec, status = thing.get("spec") or {}, thing.get("status") or {}
    match thing.get("kind"):
        case "DaemonSet":
            return status.get("numberReady", 0), status.get("desiredNumberScheduled", 0)
        case "Pod":
            containers = status.get("containerStatuses") or []
            return sum(bool(c.get("ready")) for c in containers), len(spec.get("containers") or [])
        case _:
            return status.get("readyReplicas", 0), spec.get("replicas", 1)


def what_is_wrong(thing: Object, pods: Iterable[Object] = (), events: Sequence[Object] = ()) -> str:
    """One phrase, most telling first; empty when all is well. `pods` and `events` are those of
    the workload (and of its pods), in any order."""
    if thing.get("kind") == "Pod":
        return pod_wrong(thing, events)
    ready, desired = counts(thing)
    conditions = {c["type"]: c for c in (thing.get("status") or {}).get("conditions") or []}
    found = [phrase for pod in pods if (phrase := pod_wrong(pod, events))]
    told = [phrase for phrase in found if phrase != "starting"]
    if (failure := conditions.get("ReplicaFailure", {})).get("status") == "True":
        return refused(failure.get("message", ""))
    if told:
        return max(told, key=_weight)
    if ready >= desired:
        return ""
    if message := _newest(events, "FailedCreate"):
        return refused(message)
    if conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded":
        return f"rollout stuck: {ready} of {desired} ready"
    return f"{ready} of {desired} ready" + (", starting" if found else "")


def pod_wrong(pod: Object, events: Sequence[Object] = ()) -> str:
    """What is wrong with one pod; `starting` while nothing is but it is not ready yet."""
    status = pod.get("status") or {}
    if meta(pod).get("deletionTimestamp") or status.get("phase") == "Succeeded":
        return ""
    if status.get("phase") == "Failed" and status.get("reason"):
        return clip(f"{status['reason']}: {status.get('message', '')}".rstrip(": "))
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    placed = conditions.get("PodScheduled", {})
    if placed.get("status") == "False":
        return clip(f"unschedulable: {placed.get('message', placed.get('reason', ''))}")
    parts = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    if phrases := [phrase for part in parts if (phrase := _container_wrong(part))]:
        return phrases[0]
    if conditions.get("Ready", {}).get("status") == "True":
        return ""
    if status.get("phase") == "Running" and all(
        "running" in (c.get("state") or {}) for c in status.get("containerStatuses") or []
    ):
        why = _newest([e for e in events if _about(e, pod)], "Unhealthy")
        return clip(f"not ready: {why}") if why else "starting"
    return "starting"


def _container_wrong(container: Object) -> str:
    state = container.get("state") or {}
    waiting = (state.get("waiting") or {}).get("reason", "")
    ended = state.get("terminated") or {}
    last = (container.get("lastState") or {}).get("terminated") or {}
    restarts = container.get("restartCount", 0)
    if "OOMKilled" in (ended.get("reason"), last.get("reason")):
        return f"OOMKilled {max(restarts, 1)} time{'s' if restarts > 1 else ''}"
    if waiting == "CrashLoopBackOff":
        code = f", exit code {last['exitCode']}" if "exitCode" in last else ""
        return f"CrashLoopBackOff ({restarts} restart{'s' if restarts != 1 else ''}{code})"
    if waiting in ("ImagePullBackOff", "ErrImagePull"):
        # The cause is the end of a long chain that tells the image several times.
        cause = state["waiting"].get("message", "").rpartition(": ")[2]
        return clip(f"{waiting}: {container.get('image', '')}: {cause}")
    if waiting not in _STARTING:
        return clip(f"{waiting}: {state['waiting'].get('message', '')}".rstrip(": "))
    if ended.get("exitCode"):
        return f"{ended.get('reason', 'Error')}: exit code {ended['exitCode']}"
    return ""


def refused(message: str) -> str:
    """Why no pod was made, in the words of who refused it."""
    text = message.rpartition("is forbidden: ")[2]
    who = next((who for mark, who in _REFUSALS if mark in text), "cannot make pods: ")
    return clip(who + text)


def event_time(event: Object) -> str:
    """When an event was last seen; events of either API, told once or as a series."""
    series: Any = event.get("series") or {}
    return (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or meta(event).get("creationTimestamp")
        or ""
    )


def _newest(events: Iterable[Object], reason: str) -> str:
    those = [e for e in events if e.get("reason") == reason]
    return str(max(those, key=event_time).get("message", "")) if those else ""


def _about(event: Object, thing: Object) -> bool:
    return bool((event.get("involvedObject") or {}).get("name") == meta(thing).get("name"))


def _weight(phrase: str) -> int:
    """Later entries of the list of next steps say less; what is not in it says least."""
    starts = [start for start, _ in _NEXT]
    return -next((i for i, start in enumerate(starts) if phrase.startswith(start)), len(starts))
