"""Jobs run, retry, wait, end and are cleared away as on a real cluster."""

from typing import Any

from server.sandbox import PracticeCluster

from .conftest import Client, Object, condition, job, names


def jobs(space: str) -> str:
    return f"/apis/batch/v1/namespaces/{space}/jobs"


def pods(space: str, name: str) -> str:
    return f"/api/v1/namespaces/{space}/pods?labelSelector=job-name%3D{name}"


def ended(sort: str) -> Any:
    return lambda found: condition(found, sort).get("status") == "True"


def test_a_failing_job_is_tried_as_often_as_it_may(kube: Client, space: str) -> None:
    kube.create(jobs(space), job("j", "echo try; exit 2", backoffLimit=2))
    done = kube.until(f"{jobs(space)}/j", ended("Failed"))
    assert done["status"]["failed"] == 3
    assert condition(done, "Failed")["reason"] == "BackoffLimitExceeded"
    tried = kube.get(pods(space, "j"))["items"]
    assert [p["status"]["phase"] for p in tried] == ["Failed"] * 3


def test_a_job_of_several_pods_runs_so_many_at_once(kube: Client, space: str) -> None:
    kube.create(jobs(space), job("j", "sleep 2", completions=5, parallelism=2))
    running = kube.until(f"{jobs(space)}/j", lambda j: j["status"].get("ready") == 2)
    assert running["status"]["active"] == 2
    done = kube.until(f"{jobs(space)}/j", ended("Complete"))
    assert done["status"]["succeeded"] == 5
    table = kube.get(jobs(space), accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert table["rows"][0]["cells"][1:3] == ["Complete", "5/5"]


def test_restarts_in_place_count_against_the_limit(kube: Client, space: str) -> None:
    kube.create(jobs(space), job("j", "exit 1", policy="OnFailure", backoffLimit=1))
    done = kube.until(f"{jobs(space)}/j", ended("Failed"))
    assert condition(done, "Failed")["reason"] == "BackoffLimitExceeded"


def test_a_suspended_job_loses_its_pods_and_none_of_its_tries(kube: Client, space: str) -> None:
    path = f"{jobs(space)}/j"
    kube.create(jobs(space), job("j", "sleep 1000", backoffLimit=0))
    kube.until(path, lambda j: j["status"].get("ready") == 1)
    kube.patch(path, {"spec": {"suspend": True}})
    held = kube.until(path, ended("Suspended"))
    assert (held["status"].get("active"), held["status"].get("failed")) == (None, None)
    kube.until(pods(space, "j"), lambda listed: not listed["items"])
    kube.patch(path, {"spec": {"suspend": False}})
    again = kube.until(path, lambda j: j["status"].get("ready") == 1)
    assert condition(again, "Suspended")["reason"] == "JobResumed"


def test_a_job_that_is_created_suspended_waits_for_its_start(kube: Client, space: str) -> None:
    kube.create(jobs(space), job("j", "echo hi", suspend=True))
    held = kube.until(f"{jobs(space)}/j", ended("Suspended"))
    assert "startTime" not in held["status"]
    kube.patch(f"{jobs(space)}/j", {"spec": {"suspend": False}})
    kube.until(f"{jobs(space)}/j", ended("Complete"))


def test_a_finished_job_goes_when_its_time_is_over(
    kube: Client, cluster: PracticeCluster, space: str
) -> None:
    kube.create(jobs(space), job("j", "true", ttlSecondsAfterFinished=100))
    kube.until(f"{jobs(space)}/j", ended("Complete"))
    cluster.step(101)
    kube.gone(f"{jobs(space)}/j")
    kube.until(pods(space, "j"), lambda listed: not listed["items"])


def test_deleting_a_job_leaves_its_pods_unless_it_says_otherwise(kube: Client, space: str) -> None:
    for name in ("kept", "swept"):
        kube.create(jobs(space), job(name, "echo hi"))
        kube.until(f"{jobs(space)}/{name}", ended("Complete"))
    answer = kube.request("DELETE", f"{jobs(space)}/kept")
    assert "child pods are preserved by default" in answer.headers["warning"]
    kube.delete(f"{jobs(space)}/swept?propagationPolicy=Background")
    kube.gone(f"{jobs(space)}/kept")
    kube.until(pods(space, "swept"), lambda listed: not listed["items"])
    (left,) = kube.get(pods(space, "kept"))["items"]
    assert "ownerReferences" not in left["metadata"]


def test_a_job_over_the_quota_is_made_but_not_its_pod(kube: Client, space: str) -> None:
    quota = {"metadata": {"name": "plan"}, "spec": {"hard": {"pods": "0"}}}
    kube.create(f"/api/v1/namespaces/{space}/resourcequotas", quota)
    kube.create(jobs(space), job("j", "echo hi"))
    events = f"/api/v1/namespaces/{space}/events?fieldSelector=reason%3DFailedCreate"
    found = kube.until(events, lambda listed: listed["items"])["items"][0]
    assert found["message"].startswith('Error creating: pods "j-')
    assert "exceeded quota: plan, requested: pods=1" in found["message"]
    more = {"spec": {"hard": {"pods": "1"}}}
    kube.patch(f"/api/v1/namespaces/{space}/resourcequotas/plan", more)
    kube.until(f"{jobs(space)}/j", ended("Complete"))


def test_an_indexed_job_tells_each_pod_its_number(kube: Client, space: str) -> None:
    body = job("j", "echo $JOB_COMPLETION_INDEX", completions=3, parallelism=3)
    body["spec"]["completionMode"] = "Indexed"
    kube.create(jobs(space), body)
    kube.until(f"{jobs(space)}/j", ended("Complete"))
    found: list[Object] = kube.get(pods(space, "j"))["items"]
    logs = [kube.get(f"/api/v1/namespaces/{space}/pods/{p['metadata']['name']}/log")
            for p in found]  # fmt: skip
    assert sorted(logs) == ["0\n", "1\n", "2\n"]
    assert len(names(kube.get(pods(space, "j")))) == 3
