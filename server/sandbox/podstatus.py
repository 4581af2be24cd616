"""The status of a pod, written from what its containers do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from .logs import Log
from .pods import resources

Object = dict[str, Any]
PHASE_REASON = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}


@dataclass
class Running:
    """One container of a pod: what it does now, what it did before, and what it wrote."""

    spec: Object
    state: Object
    last_state: Object = field(default_factory=dict)
    restarts: int = 0
    log: Log | None = None
    previous_log: Log | None = None
    container_id: str = ""

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """How it ended, if it did."""
        code = self.state.get("terminated", {}).get("exitCode")
        return None if code is None else int(code)


@dataclass
class Box:
    """A pod as the kubelet holds it."""

    pod: Object
    ip: str
    host_ip: str
    started: str
    first: list[Running]
    containers: list[Running]
    held_back: bool = False
    stopped: bool = False
    changed: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def initialized(self) -> bool:
        """Whether the containers that run first have done so."""
        return all(container.exit_code == 0 for container in self.first)

    @property
    def phase(self) -> str:
        """Pending, Running, Succeeded or Failed."""
        policy = self.pod["spec"].get("restartPolicy")
        if policy == "Never" and any(c.exit_code for c in self.first):
            return "Failed"
        ended = all(c.exit_code is not None for c in self.containers)
        if self.stopped or (ended and policy != "Always"):
            return "Succeeded" if all(c.exit_code == 0 for c in self.containers) else "Failed"
        begun = any(c.running or c.exit_code is not None or c.restarts for c in self.containers)
        return "Running" if begun and self.initialized else "Pending"


def status_of(box: Box, now: str) -> Object:
    """The whole status."""
    phase = box.phase
    generation = box.pod["metadata"].get("generation", 1)
    status: Object = {
        "observedGeneration": generation,
        "phase": phase,
        "conditions": _conditions(box, phase, generation, now),
        "hostIP": box.host_ip,
        "hostIPs": [{"ip": box.host_ip}],
        "podIP": box.ip,
        "podIPs": [{"ip": box.ip}],
        "startTime": box.started,
    }
    if box.first:
        status["initContainerStatuses"] = [_container(c, ready=c.exit_code == 0) for c in box.first]
    status["containerStatuses"] = [
        _container(c, ready=c.running and not box.held_back) for c in box.containers
    ]
    status["qosClass"] = box.pod.get("status", {}).get("qosClass", "BestEffort")
    if taken := resources(box.pod["spec"]):
        if taken.get("requests"):
            status["allocatedResources"] = taken["requests"]
        status["resources"] = taken
    return status


def _conditions(box: Box, phase: str, generation: int, now: str) -> list[Object]:
    waiting = [c.spec["name"] for c in box.containers if not c.running or box.held_back]
    over = phase in PHASE_REASON
    unready: Object = {"status": "True"}
    if over:
        unready = {"status": "False", "reason": PHASE_REASON[phase]}
    elif waiting:
        message = f"containers with unready status: [{' '.join(waiting)}]"
        unready = {"status": "False", "reason": "ContainersNotReady", "message": message}
    initialized: Object = {"status": "True"}
    if not box.initialized:
        left = " ".join(c.spec["name"] for c in box.first if c.exit_code != 0)
        initialized = {
            "status": "False",
            "reason": "ContainersNotInitialized",
            "message": f"containers with incomplete status: [{left}]",
        }
    elif phase == "Succeeded":
        initialized |= {"reason": "PodCompleted"}
    listed = {
        "PodReadyToStartContainers": {"status": str(not over)},
        "Initialized": initialized,
        "Ready": unready,
        "ContainersReady": unready,
        "PodScheduled": {"status": "True"},
    }
    found = []
    for name, values in listed.items():
        before, since = box.changed.get(name, ("", now))
        if before != values["status"]:
            since = now
            box.changed[name] = values["status"], now
        rest = {key: value for key, value in values.items() if key != "status"}
        found.append(
            {
                "type": name,
                "observedGeneration": generation,
                "status": values["status"],
                "lastProbeTime": None,
                "lastTransitionTime": since,
            }
            | rest
        )
    return found


def _container(container: Running, ready: bool) -> Object:
    spec = container.spec
    begun = bool(container.container_id)
    status: Object = {
        "name": spec["name"],
        "state": container.state,
        "lastState": container.last_state,
        "ready": ready,
        "restartCount": container.restarts,
        "image": spec.get("image", ""),
        "imageID": f"sha256:{_digest(spec.get('image', ''))}" if begun else "",
    }
    if begun:
        status["containerID"] = container.container_id
    status["started"] = container.running
    wanted = spec.get("resources", {})
    if begun and wanted:
        if wanted.get("requests"):
            status["allocatedResources"] = wanted["requests"]
        status["resources"] = wanted
    if spec.get("volumeMounts"):
        status["volumeMounts"] = [_mount(mount) for mount in spec["volumeMounts"]]
    if begun:
        status["user"] = {"linux": {"uid": 0, "gid": 0, "supplementalGroups": [0]}}
    return status


def _mount(mount: Object) -> Object:
    shown = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        shown |= {"readOnly": True, "recursiveReadOnly": "Disabled"}
    return shown


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
