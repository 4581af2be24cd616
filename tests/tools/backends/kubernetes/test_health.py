"""How far a workload is on its way to where it should be."""

from typing import Any

import pytest

from tools.backends.kubernetes.health import failed_create, job_end, rollout


def deployment(generation: int = 2, **status: Any) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"generation": generation},
        "spec": {"replicas": 3},
        "status": {"observedGeneration": 2, **status},
    }


DONE = {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}


@pytest.mark.parametrize(
    ("live", "waiting"),
    [
        (deployment(**DONE), ""),
        (deployment(generation=3, **DONE), "its controller has not seen the change yet"),
        (deployment(**DONE | {"updatedReplicas": 1}), "1 of 3 replicas updated"),
        (deployment(**DONE | {"replicas": 4}), "1 replicas still to go"),
        (deployment(**DONE | {"readyReplicas": 2}), "2 of 3 replicas ready"),
        (deployment(**DONE | {"availableReplicas": 2}), "2 of 3 replicas available"),
        (deployment(), "0 of 3 replicas updated"),
    ],
)
def test_a_rollout_says_what_it_waits_for(live: dict[str, Any], waiting: str) -> None:
    assert rollout(live).waiting == waiting


def test_a_paused_deployment_does_not_wait_for_its_template() -> None:
    live = deployment(**DONE | {"updatedReplicas": 0})
    live["spec"]["paused"] = True
    assert rollout(live).waiting == ""


def test_a_rollout_past_its_deadline_never_gets_there_and_a_finished_one_did() -> None:
    late = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    assert rollout(deployment(conditions=[late])).never == "timed out"
    assert rollout(deployment(**DONE, conditions=[late])).never == ""


def test_a_daemonset_is_done_when_it_is_on_every_node() -> None:
    live = {
        "kind": "DaemonSet",
        "metadata": {"generation": 1},
        "status": {
            "observedGeneration": 1,
            "desiredNumberScheduled": 2,
            "currentNumberScheduled": 2,
            "updatedNumberScheduled": 2,
            "numberAvailable": 1,
        },
    }
    assert rollout(live).waiting == "1 of 2 replicas ready"
    live["status"]["numberAvailable"] = 2
    assert rollout(live).waiting == ""


def test_the_reason_that_pods_are_refused_and_the_end_of_a_job_are_read_from_conditions() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    assert failed_create({"conditions": [failure]}) == "exceeded quota"
    assert failed_create({}) == ""
    ended = {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    assert job_end(ended) == "Failed"
    assert job_end({}) == ""
