"""What is wrong with a workload, in one phrase."""

from typing import Any

import pytest

from tools.health import next_step, what_is_wrong

QUOTA = (
    'pods "web-59d9-f5zdj" is forbidden: exceeded quota: plan, requested: pods=1, used: pods=6, '
    "limited: pods=6"
)
SECURITY = 'pods "a-x" is forbidden: violates PodSecurity "baseline:latest": privileged (container)'
LIMITS = 'pods "a-x" is forbidden: maximum cpu usage per Container is 1, but limit is 2'
PULL = (
    'Back-off pulling image "r.invalid/x:1": ErrImagePull: failed to pull and unpack image '
    '"r.invalid/x:1": dial tcp: lookup r.invalid on 10.0.0.1:53: no such host'
)


def deployment(ready: int = 0, desired: int = 3, *conditions: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": desired},
        "status": {"readyReplicas": ready, "conditions": list(conditions)},
    }


def condition(type: str, status: str = "True", **more: str) -> dict[str, Any]:
    return {"type": type, "status": status, **more}


def pod(container: dict[str, Any] | None = None, phase: str = "Running", **status: Any) -> Any:
    containers = [{"name": "c", "image": "r.invalid/x:1", "state": {}, **(container or {})}]
    return {
        "kind": "Pod",
        "metadata": {"name": "web-1"},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": phase, "containerStatuses": containers, **status},
    }


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}, **more}


def event(reason: str, message: str, name: str = "web-1") -> dict[str, Any]:
    return {
        "reason": reason,
        "message": message,
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "involvedObject": {"name": name},
    }


OOM = {"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "restartCount": 3}
CRASH = {"lastState": {"terminated": {"reason": "Error", "exitCode": 4}}, "restartCount": 5}
UNPLACED = condition("PodScheduled", "False", message="0/1 nodes are available: Insufficient cpu.")
NOT_READY = {"state": {"running": {}}, "ready": False}

CASES = [
    ("all is well", deployment(3), [pod()], [], ""),
    ("stopped", deployment(0, 0), [], [], ""),
    ("quota", deployment(3, 6, condition("ReplicaFailure", message=QUOTA)), [], [],
     "quota: exceeded quota: plan, requested: pods=1, used: pods=6, limited: pods=6"),
    ("pod security, told in an event", deployment(), [], [event("FailedCreate", SECURITY, "web")],
     'Pod Security: violates PodSecurity "baseline:latest": privileged (container)'),
    ("limits", deployment(), [], [event("FailedCreate", LIMITS, "web")],
     "limits: maximum cpu usage per Container is 1, but limit is 2"),
    ("no service account", deployment(), [], [event("FailedCreate", "no such account", "web")],
     "cannot make pods: no such account"),
    ("no such image", deployment(), [pod(waiting("ImagePullBackOff", PULL), "Pending")], [],
     "ImagePullBackOff: r.invalid/x:1: no such host"),
    ("crash loop", deployment(), [pod(waiting("CrashLoopBackOff", **CRASH))], [],
     "CrashLoopBackOff (5 restarts, exit code 4)"),
    ("out of memory, in a crash loop", deployment(), [pod(waiting("CrashLoopBackOff", **OOM))], [],
     "OOMKilled 3 times"),
    ("out of memory, running again", deployment(3), [pod({"state": {"running": {}}, **OOM})], [],
     "OOMKilled 3 times"),
    ("no such Secret", deployment(), [pod(waiting("CreateContainerConfigError", "no secret"))], [],
     "CreateContainerConfigError: no secret"),
    ("unschedulable", deployment(), [pod(phase="Pending", conditions=[UNPLACED])], [],
     "unschedulable: 0/1 nodes are available: Insufficient cpu."),
    ("evicted", deployment(), [pod(phase="Failed", reason="Evicted", message="low on disk")], [],
     "Evicted: low on disk"),
    ("not ready", deployment(), [pod(NOT_READY)], [event("Unhealthy", "Readiness probe failed")],
     "not ready: Readiness probe failed"),
    ("starting", deployment(1), [pod(waiting("ContainerCreating"))], [],
     "1 of 3 ready, starting"),
    ("an init container fails", deployment(),
     [pod(initContainerStatuses=[waiting("CrashLoopBackOff", **CRASH)])], [],
     "CrashLoopBackOff (5 restarts, exit code 4)"),
    ("rollout stuck", deployment(1, 3, condition(
        "Progressing", "False", reason="ProgressDeadlineExceeded")), [], [],
     "rollout stuck: 1 of 3 ready"),
    ("the reason counts more than the symptom", deployment(1, 3, condition(
        "Progressing", "False", reason="ProgressDeadlineExceeded")),
     [pod(NOT_READY), pod(waiting("CrashLoopBackOff", **CRASH))],
     [event("Unhealthy", "Readiness probe failed")],
     "CrashLoopBackOff (5 restarts, exit code 4)"),
    ("a pod that ends well", pod({"state": {"terminated": {"exitCode": 0}}}, "Succeeded"), [], [],
     ""),
    ("a pod that failed", pod({"state": {"terminated": {"exitCode": 3, "reason": "Error"}}},
     "Failed"), [], [], "Error: exit code 3"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("thing", "pods", "events", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_one_phrase_says_what_is_wrong(thing: Any, pods: Any, events: Any, said: str) -> None:
    assert what_is_wrong(thing, pods, events) == said


def test_a_daemon_set_counts_the_nodes_it_should_run_on() -> None:
    agent = {"kind": "DaemonSet", "status": {"desiredNumberScheduled": 3, "numberReady": 2}}
    assert what_is_wrong(agent) == "2 of 3 ready"


def test_a_pod_that_is_going_is_not_what_is_wrong() -> None:
    going = pod(waiting("CrashLoopBackOff", **CRASH))
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert what_is_wrong(deployment(3), [going]) == ""


@pytest.mark.parametrize("wrong", [c[4] for c in CASES if c[4] and "of 3 ready" not in c[4]])
def test_a_next_step_is_known_for_what_is_wrong(wrong: str) -> None:
    assert next_step(wrong) or wrong.startswith("Evicted")


def test_nothing_wrong_needs_no_next_step() -> None:
    assert next_step("") == ""
