"""Deployments, StatefulSets, DaemonSets and their pods do what they do on a real cluster."""

import json

import pytest

from .conftest import Client, Object, condition, container, deployment, names, pod, shell

POD = "/api/v1/namespaces/{}/pods"


def rolled_out(replicas: int, generation: int = 1) -> object:
    def holds(obj: Object) -> bool:
        status = obj["status"]
        return (
            status.get("observedGeneration", 0) >= generation
            and status.get("updatedReplicas", 0) == replicas
            and status.get("availableReplicas", 0) == replicas
            and status.get("replicas", 0) == replicas
        )

    return holds


def of_app(kube: Client, space: str, app: str) -> list[Object]:
    listed = kube.get(f"{POD.format(space)}?labelSelector=app%3D{app}")["items"]
    return [p for p in listed if "deletionTimestamp" not in p["metadata"]]


def test_a_new_template_replaces_the_pods_and_the_old_set_stays_empty(
    kube: Client, space: str
) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    kube.apply(path, deployment("web", 3))
    kube.until(path, rolled_out(3))
    newer = deployment("web", 3)
    newer["spec"]["template"]["spec"]["containers"][0]["image"] = "app:2"
    kube.apply(path, newer)
    done = kube.until(path, rolled_out(3, 2))
    assert condition(done, "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    sets = kube.get(f"/apis/apps/v1/namespaces/{space}/replicasets")["items"]
    assert sorted(rs["spec"]["replicas"] for rs in sets) == [0, 3]
    images = {p["spec"]["containers"][0]["image"] for p in of_app(kube, space, "web")}
    assert images == {"app:2"}
    kube.apply(path, deployment("web", 3))
    back = kube.until(path, rolled_out(3, 3))
    assert back["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


def test_a_rollout_never_has_too_few_or_too_many_pods(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    rolling = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    kube.apply(path, deployment("web", 4, strategy=rolling))
    kube.until(path, rolled_out(4))
    query = "watch=1&timeoutSeconds=2"
    start = kube.get(path)["metadata"]["resourceVersion"]
    newer = deployment("web", 4, strategy=rolling)
    newer["spec"]["template"]["spec"]["containers"][0]["image"] = "app:2"
    kube.apply(path, newer)
    kube.until(path, rolled_out(4, 2))
    with kube.http.stream("GET", f"{path}?{query}&resourceVersion={start}") as response:
        for line in response.iter_lines():
            status = json.loads(line)["object"]["status"]
            assert status["availableReplicas"] >= 4
            assert status["replicas"] <= 5


def test_recreate_stops_the_old_pods_before_it_starts_new_ones(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    body = deployment("web", 2, strategy={"type": "Recreate"})
    kube.apply(path, body)
    kube.until(path, rolled_out(2))
    before = {p["metadata"]["name"] for p in of_app(kube, space, "web")}
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "app:2"
    kube.apply(path, body)
    kube.until(path, rolled_out(2, 2))
    assert before.isdisjoint(names(kube.get(POD.format(space))))


def test_a_rollout_that_cannot_go_on_says_so_when_its_deadline_passes(
    kube: Client, space: str
) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    body = deployment("web", 2, progressDeadlineSeconds=2)
    kube.apply(path, body)
    kube.until(path, rolled_out(2))
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.invalid/none:1"
    kube.apply(path, body)
    stuck = kube.until(
        path, lambda d: condition(d, "Progressing")["reason"] == "ProgressDeadlineExceeded"
    )
    assert condition(stuck, "Progressing")["status"] == "False"
    assert stuck["status"]["availableReplicas"] == 2


def test_a_pod_that_is_deleted_comes_back_under_another_name(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    kube.apply(path, deployment("web"))
    kube.until(path, rolled_out(1))
    (old,) = names(kube.get(POD.format(space)))
    gone = kube.delete(f"{POD.format(space)}/{old}")
    assert gone["metadata"]["deletionGracePeriodSeconds"] == 30
    kube.gone(f"{POD.format(space)}/{old}")
    kube.until(path, rolled_out(1))


def test_a_paused_deployment_scales_but_does_not_roll(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    kube.apply(path, deployment("web"))
    kube.until(path, rolled_out(1))
    change = {"replicas": 2, "paused": True, "template": {"metadata": {"annotations": {"a": "b"}}}}
    kube.patch(path, {"spec": change})
    kube.until(path, lambda d: d["status"].get("readyReplicas") == 2)
    assert len(kube.get(f"/apis/apps/v1/namespaces/{space}/replicasets")["items"]) == 1


def test_a_stateful_set_makes_its_pods_in_order_with_a_claim_each(kube: Client, space: str) -> None:
    labels = {"app": "db"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container()]}}
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    body = {
        "metadata": {"name": "db"},
        "spec": {
            "replicas": 2,
            "serviceName": "db",
            "selector": {"matchLabels": labels},
            "template": template,
            "volumeClaimTemplates": [claim],
        },
    }
    path = f"/apis/apps/v1/namespaces/{space}/statefulsets"
    kube.create(path, body)
    done = kube.until(f"{path}/db", lambda s: s["status"].get("readyReplicas") == 2)
    assert done["status"]["currentRevision"] == done["status"]["updateRevision"]
    assert names(kube.get(POD.format(space))) == ["db-0", "db-1"]
    claims = f"/api/v1/namespaces/{space}/persistentvolumeclaims"
    assert names(kube.get(claims)) == ["data-db-0", "data-db-1"]
    kube.until(f"{claims}/data-db-0", lambda c: c["status"]["phase"] == "Bound")
    kube.patch(f"{path}/db/scale", {"spec": {"replicas": 1}})
    kube.gone(f"{POD.format(space)}/db-1")
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "app:2"}]
    kube.patch(f"{path}/db", image, "json")
    kube.until(
        f"{POD.format(space)}/db-0",
        lambda p: p.get("spec", {}).get("containers", [{}])[0].get("image") == "app:2",
    )


def test_a_daemon_set_runs_on_every_node_that_it_tolerates(kube: Client, space: str) -> None:
    labels = {"app": "agent"}
    template: Object = {"metadata": {"labels": labels}, "spec": {"containers": [container()]}}
    body = {"metadata": {"name": "agent"}, "spec": {
        "selector": {"matchLabels": labels}, "template": template}}  # fmt: skip
    path = f"/apis/apps/v1/namespaces/{space}/daemonsets"
    kube.create(path, body)
    done = kube.until(f"{path}/agent", lambda d: d["status"].get("numberReady") == 2)
    assert done["status"]["desiredNumberScheduled"] == 2
    everywhere = {"spec": {"template": {"spec": {"tolerations": [{"operator": "Exists"}]}}}}
    kube.patch(f"{path}/agent", everywhere)
    kube.until(f"{path}/agent", lambda d: d["status"].get("updatedNumberScheduled") == 3)


def test_a_pod_without_a_node_waits_and_says_why(kube: Client, space: str) -> None:
    path = POD.format(space)
    kube.create(path, pod("lost", container(), nodeSelector={"pilothouse.dev/pool": "reserved"}))
    waiting = kube.until(f"{path}/lost", lambda p: condition(p, "PodScheduled"))
    assert condition(waiting, "PodScheduled")["message"].startswith(
        "0/3 nodes are available: 2 node(s) didn't match Pod's node affinity/selector, "
        "1 node(s) had untolerated taint {pilothouse.dev/pool: reserved}."
    )
    assert waiting["status"]["phase"] == "Pending"
    refusal = kube.refused("GET", f"{path}/lost/log")
    assert refusal["message"] == "pod lost does not have a host assigned"
    events = f"/api/v1/namespaces/{space}/events?fieldSelector=reason%3DFailedScheduling"
    kube.until(events, lambda listed: listed["items"])


def test_a_cordoned_node_takes_no_more_pods_until_it_is_free_again(
    kube: Client, space: str
) -> None:
    path = POD.format(space)
    for name in ("node-1", "node-2"):
        kube.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
    kube.create(path, pod("p", container()))
    kube.until(f"{path}/p", lambda p: condition(p, "PodScheduled").get("status") == "False")
    for name in ("node-1", "node-2"):
        kube.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}})
    kube.until(f"{path}/p", lambda p: p["status"]["phase"] == "Running")


@pytest.mark.parametrize("image", ["app:nope", "does-not-exist/app", "missing:1"])
def test_an_image_that_is_not_there_is_tried_again_later_each_time(
    kube: Client, space: str, image: str
) -> None:
    path = POD.format(space)
    kube.create(path, pod("p", container(image=image)))

    def waiting(p: Object) -> Object:
        statuses = p["status"].get("containerStatuses", [{}])
        found: Object = statuses[0].get("state", {}).get("waiting", {})
        return found

    backed_off = kube.until(f"{path}/p", lambda p: waiting(p).get("reason") == "ImagePullBackOff")
    assert f'Back-off pulling image "{image}"' in waiting(backed_off)["message"]
    refusal = kube.refused("GET", f"{path}/p/log")
    assert refusal["message"] == (
        'container "c" in pod "p" is waiting to start: trying and failing to pull image'
    )
    repaired = [{"op": "replace", "path": "/spec/containers/0/image", "value": "app:1"}]
    kube.patch(f"{path}/p", repaired, "json")
    kube.until(f"{path}/p", lambda p: p["status"]["phase"] == "Running")


def test_a_missing_secret_holds_a_container_up_until_it_is_there(kube: Client, space: str) -> None:
    path = POD.format(space)
    source = {"secretKeyRef": {"name": "keys", "key": "token"}}
    env = [{"name": "TOKEN", "valueFrom": source}, {"name": "POD", "valueFrom": {
        "fieldRef": {"fieldPath": "metadata.name"}}}]  # fmt: skip
    script = container(command=shell("echo $POD has $TOKEN"), env=env)
    kube.create(path, pod("p", script, restartPolicy="Never"))
    held = kube.until(f"{path}/p", lambda p: p["status"].get("containerStatuses"))
    assert held["status"]["containerStatuses"][0]["state"]["waiting"] == {
        "reason": "CreateContainerConfigError",
        "message": 'secret "keys" not found',
    }
    body = {"metadata": {"name": "keys"}, "stringData": {"token": "t0k"}}
    made = kube.create(f"/api/v1/namespaces/{space}/secrets", body)
    assert made["data"] == {"token": "dDBr"}
    kube.until(f"{path}/p", lambda p: p["status"]["phase"] == "Succeeded")
    assert kube.get(f"{path}/p/log") == "p has t0k\n"


def test_a_crashing_container_is_started_again_and_its_last_words_are_kept(
    kube: Client, space: str
) -> None:
    path = POD.format(space)
    kube.create(path, pod("p", container(command=shell("echo dying; exit 7"))))

    def crashed(p: Object) -> bool:
        status = p["status"].get("containerStatuses", [{}])[0]
        waiting = status.get("state", {}).get("waiting", {})
        return status.get("restartCount", 0) >= 2 and waiting.get("reason") == "CrashLoopBackOff"

    found = kube.until(f"{path}/p", crashed)["status"]["containerStatuses"][0]
    assert found["lastState"]["terminated"]["exitCode"] == 7
    assert kube.get(f"{path}/p/log?previous=true") == "dying\n"
    listed = kube.get(path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert listed["rows"][0]["cells"][2] in ("CrashLoopBackOff", "Error")


def test_containers_that_run_first_end_before_the_others_begin(kube: Client, space: str) -> None:
    path = POD.format(space)
    first = [container("first", command=shell("echo one"))]
    last = container("last", command=shell("echo two"))
    kube.create(path, pod("p", last, initContainers=first, restartPolicy="Never"))
    done = kube.until(f"{path}/p", lambda p: p["status"]["phase"] == "Succeeded")
    ended = done["status"]["initContainerStatuses"][0]["state"]["terminated"]
    assert ended["reason"] == "Completed"
    assert kube.get(f"{path}/p/log?container=first") == "one\n"
    broken = [container("first", command=shell("exit 1"))]
    kube.create(path, pod("q", last, initContainers=broken, restartPolicy="Never"))
    kube.until(f"{path}/q", lambda p: p["status"]["phase"] == "Failed")


def test_a_log_is_cut_as_it_is_asked_for(kube: Client, space: str) -> None:
    path = POD.format(space)
    script = "for i in $(seq 1 5); do echo line $i; done"
    kube.create(path, pod("p", container(command=shell(script)), restartPolicy="Never"))
    kube.until(f"{path}/p", lambda p: p["status"]["phase"] == "Succeeded")
    assert kube.get(f"{path}/p/log?tailLines=2") == "line 4\nline 5\n"
    assert kube.get(f"{path}/p/log?tailLines=0") == ""
    assert kube.get(f"{path}/p/log?limitBytes=8") == "line 1\nl"
    assert kube.get(f"{path}/p/log?sinceTime=2999-01-01T00:00:00Z") == ""
    assert kube.get(f"{path}/p/log?timestamps=true&tailLines=1").split(" ", 1)[1] == "line 5\n"
    assert kube.refused("GET", f"{path}/p/log?tailLines=-1")["code"] == 400
    assert (
        "previous terminated container"
        in (kube.refused("GET", f"{path}/p/log?previous=true")["message"])
    )


def test_a_followed_log_comes_piece_by_piece_and_ends_with_the_container(
    kube: Client, space: str
) -> None:
    path = POD.format(space)
    script = "for i in 1 2 3; do echo tick $i; sleep 1; done; echo end"
    kube.create(path, pod("p", container(command=shell(script)), restartPolicy="Never"))
    kube.until(f"{path}/p", lambda p: p["status"]["phase"] == "Running")
    with kube.http.stream("GET", f"{path}/p/log?follow=true") as response:
        assert list(response.iter_lines()) == ["tick 1", "tick 2", "tick 3", "end"]


def test_a_server_goes_on_writing_and_can_be_followed(kube: Client, space: str) -> None:
    path = POD.format(space)
    kube.create(path, pod("p", container()))
    kube.until(f"{path}/p", lambda p: p["status"]["phase"] == "Running")
    with kube.http.stream("GET", f"{path}/p/log?follow=true") as response:
        lines = response.iter_lines()
        assert next(lines).startswith("started")
        assert all('HTTP/1.1"' in next(lines) for _ in range(5))


def test_a_pod_of_two_containers_wants_to_know_whose_log(kube: Client, space: str) -> None:
    path = POD.format(space)
    kube.create(path, pod("p", container("a"), container("b")))
    refusal = kube.refused("GET", f"{path}/p/log")
    assert refusal["message"] == (
        "a container name must be specified for pod p, choose one of: [a b]"
    )


def test_a_disruption_budget_holds_evictions_up(kube: Client, space: str) -> None:
    for name in ("one", "two"):
        body = pod(name, container())
        body["metadata"]["labels"] = {"app": "web"}
        kube.create(POD.format(space), body)
    budget = {
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    budgets = f"/apis/policy/v1/namespaces/{space}/poddisruptionbudgets"
    kube.create(budgets, budget)
    kube.until(f"{budgets}/web", lambda b: b["status"]["disruptionsAllowed"] == 1)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction"}
    kube.create(f"{POD.format(space)}/one/eviction", eviction)
    refusal = kube.refused("POST", f"{POD.format(space)}/two/eviction", eviction)
    assert (refusal["code"], refusal["reason"]) == (429, "TooManyRequests")


def test_usage_is_what_an_annotation_says_or_a_share_of_the_request(
    kube: Client, space: str
) -> None:
    path = POD.format(space)
    said = pod("said", container())
    said["metadata"]["annotations"] = {"practice.pilothouse.dev/cpu": "123m"}
    kube.create(path, said)
    share = container(resources={"requests": {"cpu": "1", "memory": "1Gi"}})
    kube.create(path, pod("share", share))
    group = f"/apis/metrics.k8s.io/v1beta1/namespaces/{space}/pods"
    found = kube.until(group, lambda listed: len(listed["items"]) == 2)["items"]
    usage = {item["metadata"]["name"]: item["containers"][0]["usage"] for item in found}
    assert usage["said"]["cpu"] == "123m"
    assert usage["share"]["cpu"].endswith("m")
    assert len(kube.get("/apis/metrics.k8s.io/v1beta1/nodes")["items"]) == 3


def test_an_autoscaler_puts_replicas_back_between_its_bounds(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    kube.apply(path, deployment("web", 2))
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    body = {
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": ref, "minReplicas": 2, "maxReplicas": 3},
    }
    autoscalers = f"/apis/autoscaling/v2/namespaces/{space}/horizontalpodautoscalers"
    kube.create(autoscalers, body)
    kube.patch(f"{path}/scale", {"spec": {"replicas": 9}})
    kube.until(path, lambda d: d["spec"]["replicas"] == 3)
    kube.until(f"{autoscalers}/web", lambda a: a["status"].get("currentReplicas") == 3)
    kube.patch(f"{path}/scale", {"spec": {"replicas": 0}})
    kube.until(path, lambda d: d["status"].get("replicas", 0) == 0)


def test_a_running_pod_is_resized_in_place(kube: Client, space: str) -> None:
    path = POD.format(space)
    kube.create(path, pod("p", container(resources={"requests": {"cpu": "100m"}})))
    kube.until(f"{path}/p", lambda p: p["status"]["phase"] == "Running")
    larger = {"name": "c", "image": "other:1", "resources": {"requests": {"cpu": "200m"}}}
    kube.patch(f"{path}/p/resize", {"spec": {"containers": [larger]}}, "strategic-merge")
    done = kube.until(
        f"{path}/p", lambda p: p["status"].get("allocatedResources") == {"cpu": "200m"}
    )
    assert done["spec"]["containers"][0]["image"] == "app:1"
    assert done["status"]["containerStatuses"][0]["restartCount"] == 0
