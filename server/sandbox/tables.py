"""Lists as the server's own tables, and as metadata only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from .clock import parse_stamp
from .kinds import Kind
from .pods import condition
from .selectors import selector_text

Object = dict[str, Any]
Cell = Callable[[Object, datetime], Any]
TABLE = "as=Table"
PARTIAL = "as=PartialObjectMetadata"


def age_of(text: str | None, now: datetime) -> str:
    """How long ago, in the short form of tables."""
    return "<unknown>" if not text else duration((now - parse_stamp(text)).total_seconds())


def duration(seconds: float) -> str:
    """A length of time in the short form of tables: fewer units the longer it is."""
    s = max(0, int(seconds))
    m, h, d = s // 60, s // 3600, s // 86400
    if s < 120:
        return f"{s}s"
    if m < 10:
        return f"{m}m{s % 60}s" if s % 60 else f"{m}m"
    if h < 3:
        return f"{m}m"
    if h < 8:
        return f"{h}h{m % 60}m" if m % 60 else f"{h}h"
    if h < 48:
        return f"{h}h"
    if d < 8:
        return f"{d}d{h % 24}h" if h % 24 else f"{d}d"
    return f"{d}d" if d < 730 else f"{d // 365}y{d % 365}d"


def partial(obj: Object) -> Object:
    """Only an object's metadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }


def table(kind: Kind, objects: list[Object], include: str, now: datetime, meta: Object) -> Object:
    """The table of a kind; `include` says how much of each object stands beside its cells."""
    columns = _columns(kind)
    beside: dict[str, Callable[[Object], Any]] = {
        "None": lambda obj: None,
        "Object": lambda obj: obj,
    }
    shown = beside.get(include, partial)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": [_definition(*column[:4]) for column in columns],
        "rows": [
            {"cells": [column[4](obj, now) for column in columns], "object": shown(obj)}
            for obj in objects
        ],
    }


def _definition(name: str, sort: str, priority: int, description: str) -> Object:
    return {
        "name": name,
        "type": sort,
        "format": "name" if name == "Name" else "",
        "description": description,
        "priority": priority,
    }


Column = tuple[str, str, int, str, Cell]


def _column(
    name: str, cell: Cell, description: str, priority: int = 0, sort: str = "string"
) -> Column:
    return name, sort, priority, description, cell


def _columns(kind: Kind) -> list[Column]:
    middle = COLUMNS.get(kind.kind, [])
    if kind.printer_columns:
        middle = [_custom(column) for column in kind.printer_columns]
        if any(column[0] == "Age" for column in middle):
            return [NAME, *middle]
    wide = [column for column in middle if column[2]]
    return [NAME, *(column for column in middle if not column[2]), AGE, *wide]


def _custom(column: Object) -> Column:
    path = column["jsonPath"].lstrip(".").split(".")

    def cell(obj: Object, now: datetime) -> Any:
        value: Any = obj
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return age_of(value, now) if column["type"] == "date" and value else value

    description = column.get("description", "")
    return _column(column["name"], cell, description, column.get("priority", 0), column["type"])


def _path(*path: str, default: Any = "<none>") -> Cell:
    def cell(obj: Object, now: datetime) -> Any:
        value: Any = obj
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return default if value in (None, "") else value

    return cell


def _ready(obj: Object, now: datetime) -> str:
    wanted = obj["spec"].get("replicas", 1)
    return f"{obj.get('status', {}).get('readyReplicas', 0)}/{wanted}"


def _template(field: str) -> Cell:
    def cell(obj: Object, now: datetime) -> str:
        containers = obj["spec"]["template"]["spec"].get("containers", ())
        return ",".join(container.get(field, "") for container in containers)

    return cell


def _selector(obj: Object, now: datetime) -> str:
    return selector_text(obj["spec"].get("selector", {})) or "<none>"


def _pod_ready(pod: Object, now: datetime) -> str:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    count = sum(1 for status in statuses if status.get("ready"))
    return f"{count}/{len(pod['spec'].get('containers', ()))}"


def pod_status(pod: Object) -> str:
    """The one word that says how a pod is."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for container in status.get("initContainerStatuses", ()):
        state = container.get("state", {})
        reason = state.get("waiting", {}).get("reason")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
    for container in status.get("containerStatuses", ()):
        state = container.get("state", {})
        if reason := state.get("waiting", {}).get("reason"):
            return str(reason)
        if ended := state.get("terminated"):
            return str(ended.get("reason") or f"ExitCode:{ended.get('exitCode')}")
    return str(status.get("reason") or status.get("phase", "Unknown"))


def _restarts(pod: Object, now: datetime) -> str:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    count = sum(status.get("restartCount", 0) for status in statuses)
    ends = [
        status["lastState"]["terminated"]["finishedAt"]
        for status in statuses
        if status.get("lastState", {}).get("terminated", {}).get("finishedAt")
    ]
    return f"{count} ({age_of(max(ends), now)} ago)" if count and ends else str(count)


def _job_status(job: Object, now: datetime) -> str:
    for name in ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if condition(job, name).get("status") == "True":
            return name
    return "Terminating" if job["metadata"].get("deletionTimestamp") else "Running"


def _completions(job: Object, now: datetime) -> str:
    wanted = job["spec"].get("completions")
    return f"{job.get('status', {}).get('succeeded', 0)}/{1 if wanted is None else wanted}"


def _job_duration(job: Object, now: datetime) -> str:
    status = job.get("status", {})
    if not status.get("startTime"):
        return ""
    failed = condition(job, "Failed").get("lastTransitionTime")
    end = status.get("completionTime") or failed
    until = parse_stamp(end) if end else now
    return duration((until - parse_stamp(status["startTime"])).total_seconds())


def _node_status(node: Object, now: datetime) -> str:
    text = "Ready" if condition(node, "Ready").get("status") == "True" else "NotReady"
    return text + ",SchedulingDisabled" * bool(node.get("spec", {}).get("unschedulable"))


def _quota_cell(*prefixes: str) -> Cell:
    def cell(quota: Object, now: datetime) -> str:
        status = quota.get("status", {})
        limits = prefixes == ("limits.",)
        return ", ".join(
            f"{name}: {status.get('used', {}).get(name, '0')}/{hard}"
            for name, hard in sorted(status.get("hard", {}).items())
            if name.startswith("limits.") is limits
        )

    return cell


def _last_seen(event: Object, now: datetime) -> str:
    return age_of(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"], now)


def _about(event: Object, now: datetime) -> str:
    involved = event.get("involvedObject", {})
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _ports(service: Object, now: datetime) -> str:
    ports = service["spec"].get("ports", ())
    return ",".join(f"{port['port']}/{port['protocol']}" for port in ports) or "<none>"


def _count(*path: str) -> Cell:
    def cell(obj: Object, now: datetime) -> int:
        value: Any = obj
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return len(value or ())

    return cell


def _number(*path: str) -> Cell:
    return _path(*path, default=0)


def _created(obj: Object, now: datetime) -> str:
    return age_of(obj["metadata"].get("creationTimestamp"), now)


NAME = _column("Name", _path("metadata", "name"), "The name of the object.")
AGE = _column("Age", _created, "How long ago the object was made.")
CONTAINERS = _column("Containers", _template("name"), "The containers of its pods.", 1)
IMAGES = _column("Images", _template("image"), "The images of its pods.", 1)
SELECTOR = _column("Selector", _selector, "The labels by which it knows its pods.", 1)
WIDE = [CONTAINERS, IMAGES, SELECTOR]

COLUMNS: dict[str, list[Column]] = {
    "Namespace": [_column("Status", _path("status", "phase"), "Active or Terminating.")],
    "Pod": [
        _column("Ready", _pod_ready, "Containers that are ready, of all."),
        _column("Status", lambda pod, now: pod_status(pod), "How its containers are."),
        _column("Restarts", _restarts, "How often its containers were started again."),
        _column("IP", _path("status", "podIP"), "Its address.", 1),
        _column("Node", _path("spec", "nodeName"), "Where it runs.", 1),
        _column("Nominated Node", _path("status", "nominatedNodeName"), "Where it may run.", 1),
        _column("Readiness Gates", lambda pod, now: "<none>", "Conditions it waits for.", 1),
    ],
    "Deployment": [
        _column("Ready", _ready, "Pods that are ready, of those wanted."),
        _column("Up-to-date", _number("status", "updatedReplicas"), "Pods of the new template."),
        _column("Available", _number("status", "availableReplicas"), "Pods ready long enough."),
        *WIDE,
    ],
    "ReplicaSet": [
        _column("Desired", _number("spec", "replicas"), "Pods wanted.", sort="integer"),
        _column("Current", _number("status", "replicas"), "Pods there are.", sort="integer"),
        _column("Ready", _number("status", "readyReplicas"), "Pods ready.", sort="integer"),
        *WIDE,
    ],
    "StatefulSet": [
        _column("Ready", _ready, "Pods that are ready, of those wanted."), CONTAINERS, IMAGES,
    ],
    "DaemonSet": [
        _column(name, _number("status", field), description, sort="integer")
        for name, field, description in (
            ("Desired", "desiredNumberScheduled", "Nodes that should run it."),
            ("Current", "currentNumberScheduled", "Nodes that run it."),
            ("Ready", "numberReady", "Nodes where it is ready."),
            ("Up-to-date", "updatedNumberScheduled", "Nodes with the new template."),
            ("Available", "numberAvailable", "Nodes where it is ready long enough."),
        )
    ] + WIDE,
    "Job": [
        _column("Status", _job_status, "Whether it runs, is done or failed."),
        _column("Completions", _completions, "Pods that succeeded, of those wanted."),
        _column("Duration", _job_duration, "How long it ran."),
        *WIDE,
    ],
    "CronJob": [
        _column("Schedule", _path("spec", "schedule"), "When it runs."),
        _column("Suspend", _path("spec", "suspend", default=False), "Held up.", sort="boolean"),
        _column("Active", _count("status", "active"), "Jobs that run now.", sort="integer"),
    ],
    "Node": [
        _column("Status", _node_status, "Whether it takes pods."),
        _column("Roles", lambda node, now: "<none>", "What it is for."),
        _column("Version", _path("status", "nodeInfo", "kubeletVersion"), "Of its kubelet."),
    ],
    "Event": [
        _column("Last Seen", _last_seen, "When it happened last."),
        _column("Type", _path("type"), "Normal or Warning."),
        _column("Reason", _path("reason"), "What happened, in a word."),
        _column("Object", _about, "What it happened to."),
        _column("Message", _path("message"), "What happened."),
    ],
    "Service": [
        _column("Type", _path("spec", "type"), "How it is reached."),
        _column("Cluster-IP", _path("spec", "clusterIP"), "Its address."),
        _column("Port(s)", _ports, "Its ports."),
    ],
    "ConfigMap": [_column("Data", _count("data"), "How many entries it has.")],
    "Secret": [
        _column("Type", _path("type"), "What sort of secret."),
        _column("Data", _count("data"), "How many entries it has."),
    ],
    "ResourceQuota": [
        _column("Request", _quota_cell(), "Used, of what may be requested."),
        _column("Limit", _quota_cell("limits."), "Used, of what may be the limit."),
    ],
    "PersistentVolumeClaim": [
        _column("Status", _path("status", "phase"), "Bound or Pending."),
        _column("Volume", _path("spec", "volumeName"), "The volume it is bound to."),
    ],
    "HorizontalPodAutoscaler": [
        _column("MinPods", _number("spec", "minReplicas"), "Fewest pods.", sort="integer"),
        _column("MaxPods", _number("spec", "maxReplicas"), "Most pods.", sort="integer"),
        _column("Replicas", _number("status", "currentReplicas"), "Pods now.", sort="integer"),
    ],
}  # fmt: skip
