"""What is told of one workload, its pods and its events."""

from collections.abc import Sequence

from tools.context import Context
from tools.health import counts, event_time, pod_wrong
from tools.objects import Lean, Object, age, clip, meta


class ContainerAnswer(Lean):
    name: str
    image: str
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class PodAnswer(Lean):
    name: str
    ready: str
    phase: str = ""
    restarts: int = 0
    node: str = ""
    age: str = ""
    wrong: str = ""


class ConditionAnswer(Lean):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class EventAnswer(Lean):
    reason: str
    object: str
    message: str
    type: str = ""
    count: int = 1
    last_seen: str = ""


class AutoscalerAnswer(Lean):
    name: str
    min: int
    max: int
    current: int = 0


class WorkloadAnswer(Lean):
    """A workload. `wrong` is what is wrong with it and `next_step` what to do about that;
    `stopped_replicas` what workload_start would bring back; `owner` what would put it back."""

    kind: str
    name: str
    namespace: str
    ready: int
    desired: int
    wrong: str = ""
    next_step: str = ""
    created: str = ""
    labels: dict[str, str] = {}
    strategy: str = ""
    owner: str = ""
    stopped_replicas: int | None = None
    containers: list[ContainerAnswer] = []
    conditions: list[ConditionAnswer] = []
    pods: list[PodAnswer] = []
    events: list[EventAnswer] = []
    autoscaler: AutoscalerAnswer | None = None


def container_answer(container: Object) -> ContainerAnswer:
    resources = container.get("resources") or {}
    return ContainerAnswer(
        name=container["name"],
        image=container.get("image", ""),
        requests=resources.get("requests") or {},
        limits=resources.get("limits") or {},
    )


def condition_answer(condition: Object) -> ConditionAnswer:
    return ConditionAnswer(
        type=condition["type"],
        status=condition["status"],
        reason=condition.get("reason") or "",
        message=clip(condition.get("message") or "", 300),
    )


def pod_answer(pod: Object, ctx: Context, events: Sequence[Object]) -> PodAnswer:
    ready, containers = counts({**pod, "kind": "Pod"})
    status = pod.get("status") or {}
    ending = meta(pod).get("deletionTimestamp")
    return PodAnswer(
        name=meta(pod)["name"],
        ready=f"{ready}/{containers}",
        phase="Terminating" if ending else status.get("phase", ""),
        restarts=sum(c.get("restartCount", 0) for c in status.get("containerStatuses") or []),
        node=(pod.get("spec") or {}).get("nodeName", ""),
        age=age(meta(pod).get("creationTimestamp"), ctx.now),
        wrong=pod_wrong(pod, events),
    )


def event_answer(event: Object, ctx: Context) -> EventAnswer:
    """An event as it is told; `last_seen` is how long ago."""
    of = event.get("involvedObject") or {}
    return EventAnswer(
        reason=event.get("reason") or "",
        object=f"{of.get('kind', '')}/{of.get('name', '')}",
        message=clip(event.get("message") or "", 300),
        type=event.get("type") or "",
        count=(event.get("series") or {}).get("count") or event.get("count") or 1,
        last_seen=age(event_time(event), ctx.now),
    )
