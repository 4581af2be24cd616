"""What became of a Job."""

from typing import Any

import pytest

from tools.job_status import ends_log, exit_code, listed, reason, status, summary
from tools.plan import Create, Delete, Patch, Ref, Scale

JOB = Ref(at="c", kind="batch/v1/Job", name="j", namespace="acme")
POD = Ref(at="c", kind="v1/Pod", name="p", namespace="acme")


def job(*conditions: str, cancelled: bool = False, suspend: bool = False, **state: Any) -> Any:
    notes = {"pilothouse.dev/cancelled": "2026-01-01T00:00:00+00:00"} if cancelled else {}
    listed = [
        {"type": c, "status": "True", "reason": f"{c}Reason", "message": "so it is",
         "lastTransitionTime": "2026-01-01T00:00:09Z"}
        for c in conditions
    ]  # fmt: skip
    return {
        "metadata": {"name": "j", "annotations": notes},
        "spec": {"suspend": suspend or cancelled},
        "status": {"conditions": listed, "startTime": "2026-01-01T00:00:05Z", **state},
    }


def pod(phase: str = "Running", **state: Any) -> Any:
    containers = [{"name": "job", "state": state}]
    return {
        "metadata": {"name": "j-1"},
        "status": {"phase": phase, "containerStatuses": containers},
    }


@pytest.mark.parametrize(
    ("thing", "pods", "said"),
    [
        (job(), [], "pending"),
        (job(active=1), [pod("Pending", waiting={"reason": "ContainerCreating"})], "pending"),
        (job(active=1), [pod(running={})], "running"),
        (job(active=1, ready=1), [], "running"),
        (job("SuccessCriteriaMet", ready=1), [], "running"),
        (job("SuccessCriteriaMet", "Complete"), [], "succeeded"),
        (job("FailureTarget", "Failed"), [], "failed"),
        (job(suspend=True), [], "suspended"),
        (job(cancelled=True), [], "cancelled"),
        (job("Complete", cancelled=True), [], "succeeded"),
    ],
)
def test_a_jobs_status_is_one_word(thing: Any, pods: list[Any], said: str) -> None:
    assert status(thing, pods) == said


def test_a_row_of_the_table_tells_the_status_on_old_servers_too() -> None:
    assert listed({"status": "Complete"}) == "succeeded"
    assert listed({"status": "Suspended"}) == "suspended"
    cancelled = {"annotations": {"pilothouse.dev/cancelled": "x"}}
    assert listed({"status": "Suspended", "metadata": cancelled}) == "cancelled"
    assert listed({"completions": "1/1"}) == "succeeded"
    assert listed({"completions": "0/1 of 3"}) == "running"


def test_the_reason_is_why_it_failed_or_has_not_begun() -> None:
    assert reason(job("Failed")) == "FailedReason: so it is"
    stuck = pod("Pending", waiting={"reason": "InvalidImageName", "message": "no image"})
    assert reason(job(active=1), [stuck]) == "InvalidImageName: no image"
    assert reason(job("Complete"), [stuck]) == ""


def test_the_exit_code_is_that_of_the_newest_pod_that_has_one() -> None:
    ended = [pod("Failed", terminated={"exitCode": n}) for n in (3, 4)]
    assert exit_code([*ended, pod(running={})]) == 4
    assert exit_code([pod(running={})]) is None


def test_a_summary_tells_times_and_attempts() -> None:
    told = summary(job("Failed", failed=2, active=0), [pod("Failed", terminated={"exitCode": 3})])
    assert told["duration_s"] == 4
    assert (told["status"], told["exit_code"], told["attempts"]) == ("failed", 3, 2)
    assert summary(job(), [])["duration_s"] is None


def test_a_log_is_kept_before_what_would_take_it() -> None:
    assert ends_log(Patch(id="x", ref=JOB, fields={"spec": {"suspend": True}, "metadata": {}}))
    assert ends_log(Delete(id="x", ref=JOB))
    assert not ends_log(Patch(id="x", ref=JOB, fields={"spec": {"suspend": False}}))
    assert not ends_log(Delete(id="x", ref=POD))
    assert not ends_log(Create(id="x", ref=JOB, body={}))
    assert not ends_log(Scale(id="x", ref=JOB, replicas=0))
