"""What stands between an object and the store: rules of its kind, limits, quotas, Pod Security."""

from typing import Any

import pytest

from server.sandbox.cel import EvaluationError, NotUnderstood, evaluate

from .conftest import APPLY, Client, Object, container, deployment, job, pod, shell


def limited(cpu: str, memory: str = "32Mi") -> Object:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}


def quota(kube: Client, space: str, **hard: str) -> None:
    hard = {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}
    body = {"metadata": {"name": "plan"}, "spec": {"hard": hard}}
    kube.create(f"/api/v1/namespaces/{space}/resourcequotas", body)


def test_a_quota_on_compute_wants_every_container_to_say_what_it_takes(
    kube: Client, space: str
) -> None:
    quota(kube, space, limits_cpu="1", requests_memory="1Gi")
    refusal = kube.refused("POST", f"/api/v1/namespaces/{space}/pods", pod("p", container()))
    assert refusal["message"] == (
        'pods "p" is forbidden: failed quota: plan: must specify limits.cpu for: c; '
        "requests.memory for: c"
    )


def test_a_pod_that_ended_gives_back_what_it_took(kube: Client, space: str) -> None:
    quota(kube, space, pods="1", requests_cpu="100m")
    pods = f"/api/v1/namespaces/{space}/pods"
    once = container(command=shell("echo done"), resources=limited("100m"))
    kube.create(pods, pod("first", once, restartPolicy="Never"))
    refusal = kube.refused("POST", pods, pod("second", once, restartPolicy="Never"))
    assert "requested: pods=1,requests.cpu=100m" in refusal["message"]
    kube.until(f"{pods}/first", lambda p: p["status"]["phase"] == "Succeeded")
    kube.create(pods, pod("second", once, restartPolicy="Never"))


def test_objects_are_counted_too_and_the_status_says_so(kube: Client, space: str) -> None:
    quota(kube, space, count__configmaps="2", secrets="0")
    maps = f"/api/v1/namespaces/{space}/configmaps"
    kube.create(maps, {"metadata": {"name": "one"}})
    refusal = kube.refused("POST", maps, {"metadata": {"name": "two"}})
    assert refusal["message"].endswith(
        "requested: count/configmaps=1, used: count/configmaps=2, limited: count/configmaps=2"
    )
    kube.refused("POST", f"/api/v1/namespaces/{space}/secrets", {"metadata": {"name": "s"}})
    path = f"/api/v1/namespaces/{space}/resourcequotas/plan"
    kube.until(path, lambda q: q["status"].get("used") == {"count/configmaps": "2", "secrets": "0"})


def test_limits_are_filled_in_and_held(kube: Client, space: str) -> None:
    item = {
        "type": "Container",
        "default": {"cpu": "500m"},
        "defaultRequest": {"cpu": "100m"},
        "max": {"cpu": "1"},
        "min": {"cpu": "50m"},
    }
    ranges = f"/api/v1/namespaces/{space}/limitranges"
    kube.create(ranges, {"metadata": {"name": "l"}, "spec": {"limits": [item]}})
    pods = f"/api/v1/namespaces/{space}/pods?dryRun=All"
    filled = kube.create(pods, pod("p", container()))["spec"]["containers"][0]["resources"]
    assert filled == {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}
    large = container(resources={"limits": {"cpu": "2"}})
    refusal = kube.refused("POST", pods, pod("p", large))
    assert refusal["message"] == (
        'pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 2'
    )
    small = container(resources={"requests": {"cpu": "10m"}})
    assert (
        "minimum cpu usage per Container is 50m, but request is 10m"
        in (kube.refused("POST", pods, pod("p", small))["message"])
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"hostPID": True, "hostIPC": True}, "host namespaces (hostPID=true, hostIPC=true)"),
        (
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
            'hostPath volumes (volume "v")',
        ),
        (
            {"containers": [container(ports=[{"containerPort": 1, "hostPort": 80}])]},
            'hostPort (container "c" uses hostPort 80)',
        ),
        (
            {"containers": [container(securityContext={"capabilities": {"add": ["NET_ADMIN"]}})]},
            'non-default capabilities (container "c" must not include "NET_ADMIN" in '
            "securityContext.capabilities.add)",
        ),
    ],
)
def test_the_baseline_level_refuses(kube: Client, space: str, spec: Any, said: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    kube.patch(f"/api/v1/namespaces/{space}", {"metadata": {"labels": labels}})
    body = {"metadata": {"name": "p"}, "spec": {"containers": [container()]} | spec}
    refusal = kube.refused("POST", f"/api/v1/namespaces/{space}/pods", body)
    assert refusal["message"] == (
        f'pods "p" is forbidden: violates PodSecurity "baseline:latest": {said}'
    )


def test_the_restricted_level_wants_more_and_warns_of_workloads(kube: Client, space: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.patch(f"/api/v1/namespaces/{space}", {"metadata": {"labels": labels}})
    answer = kube.request(
        "POST", f"/apis/apps/v1/namespaces/{space}/deployments", deployment("web")
    )
    assert answer.status_code == 201
    assert 'would violate PodSecurity \\"restricted:latest\\"' in answer.headers["warning"]
    assert "allowPrivilegeEscalation != false" in answer.headers["warning"]
    safe = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    kube.create(f"/api/v1/namespaces/{space}/pods", pod("fine", container(securityContext=safe)))


@pytest.mark.parametrize(
    ("plural", "body", "field"),
    [
        ("pods", pod("p", {"name": "c"}), "spec.containers[0].image"),
        ("pods", pod("p", container("Bad_Name")), "spec.containers[0].name"),
        ("pods", pod("p"), "spec.containers"),
        ("pods", pod("p", container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
         "spec.containers[0].resources.requests"),
        ("pods", pod("p", container(volumeMounts=[{"name": "v", "mountPath": "/v"}])),
         "spec.containers[0].volumeMounts[0].name"),
        ("configmaps", {"metadata": {"name": "a", "labels": {"x": "-bad"}}}, "metadata.labels"),
        ("configmaps", {"metadata": {"name": "a"}, "data": {"a b": ""}}, "data[a b]"),
        ("services", {"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 1}]}},
         "metadata.name"),
    ],
)  # fmt: skip
def test_what_breaks_the_rules_of_its_kind_is_refused(
    kube: Client, space: str, plural: str, body: Object, field: str
) -> None:
    refusal = kube.refused("POST", f"/api/v1/namespaces/{space}/{plural}", body)
    assert refusal["reason"] == "Invalid"
    assert field in [cause["field"] for cause in refusal["details"]["causes"]]


def test_a_deployment_must_select_its_own_pods_and_keep_its_selector(
    kube: Client, space: str
) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments"
    wrong = deployment("web", selector={"matchLabels": {"app": "other"}})
    refusal = kube.refused("POST", path, wrong)
    assert "`selector` does not match template `labels`" in refusal["message"]
    kube.create(path, deployment("web", 0))
    moved = {"matchLabels": {"app": "web", "new": "1"}}
    labels = {"metadata": {"labels": {"app": "web", "new": "1"}}}
    refusal = kube.refused(
        "PATCH",
        f"{path}/web",
        {"spec": {"selector": moved, "template": labels}},
        content_type="application/merge-patch+json",
    )
    assert refusal["details"]["causes"][0]["field"] == "spec.selector"


def test_a_job_may_not_restart_always_and_its_template_stays(kube: Client, space: str) -> None:
    path = f"/apis/batch/v1/namespaces/{space}/jobs"
    refusal = kube.refused("POST", path, job("j", "true", policy="Always"))
    assert refusal["details"]["causes"][0]["field"] == "spec.template.spec.restartPolicy"
    kube.create(path, job("j", "true", suspend=True))
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "other:1"}]}}}}
    sort = "application/strategic-merge-patch+json"
    refusal = kube.refused("PATCH", f"{path}/j", image, content_type=sort)
    assert "field is immutable" in refusal["message"]


PLACING = """
(has(object.spec.nodeSelector) ? [] : [JSONPatch{
  op: "add", path: "/spec/nodeSelector", value: Object.spec.nodeSelector{}}]) +
[JSONPatch{op: "add",
  path: "/spec/nodeSelector/" + jsonpatch.escapeKey("pilothouse.dev/pool"), value: "reserved"}] +
(has(object.spec.tolerations) && object.spec.tolerations.exists(t,
  has(t.key) && t.key == "pilothouse.dev/pool") ? [] : [JSONPatch{
  op: "add", path: "/spec/tolerations/-", value: Object.spec.tolerations{
    key: "pilothouse.dev/pool", operator: "Equal", value: "reserved", effect: "NoSchedule"}}])
"""
GROUP = "/apis/admissionregistration.k8s.io/v1"


def policy(space: str, expression: str, **more: Any) -> Object:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": space}}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": space},
        "spec": {
            "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
        }
        | more,
    }


def bind(kube: Client, space: str) -> None:
    binding = {"metadata": {"name": space}, "spec": {"policyName": space}}
    kube.create(f"{GROUP}/mutatingadmissionpolicybindings", binding)


def test_a_mutating_policy_puts_pods_into_their_pool_once_it_is_bound(
    kube: Client, space: str
) -> None:
    kube.apply(f"{GROUP}/mutatingadmissionpolicies/{space}", policy(space, PLACING))
    pods = f"/api/v1/namespaces/{space}/pods"
    assert "nodeSelector" not in kube.create(pods, pod("before", container()))["spec"]
    bind(kube, space)
    kube.create(pods, pod("after", container(), nodeSelector={"kubernetes.io/os": "linux"}))
    placed = kube.until(f"{pods}/after", lambda p: p["spec"].get("nodeName"))
    assert placed["spec"]["nodeName"] == "node-3"
    assert len(placed["spec"]["nodeSelector"]) == 2
    assert len(placed["spec"]["tolerations"]) == 3


def test_a_policy_that_fails_refuses_unless_it_says_to_ignore_that(
    kube: Client, space: str
) -> None:
    path = f"{GROUP}/mutatingadmissionpolicies/{space}"
    pods = f"/api/v1/namespaces/{space}/pods"
    broken = '[JSONPatch{op: "add", path: "/a", value: object.spec.nothing}]'
    kube.apply(path, policy(space, broken))
    bind(kube, space)
    refusal = kube.refused("POST", pods, pod("p", container()))
    assert refusal["message"].endswith("denied request: no such key: nothing")
    atomic = {"expression": 'Object{spec: Object.spec{nodeSelector: {"a": "b"}}}'}
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": atomic}
    kube.apply(path, policy(space, "", mutations=[mutation]))
    refusal = kube.refused("POST", pods, pod("p", container()))
    assert refusal["message"].endswith("atomic arrays, maps or structs: .spec.nodeSelector")
    kube.apply(path, policy(space, broken, failurePolicy="Ignore"))
    kube.create(pods, pod("p", container()))


def test_expressions_are_evaluated_as_far_as_they_are_understood() -> None:
    known = {"object": {"a": [1, 2], "b": {"c/d": "e"}}}
    for expression, value in (
        ("size(object.a) == 2 && !has(object.z)", True),
        ('object.b["c/d"].startsWith("e") || false', True),
        ("object.a.all(x, x > 0) ? {'y': -1} : {}", {"y": -1}),
        ("3 in object.a", False),
        ("Object{a: Object.a{b: [true, null, 1.5]}}", {"a": {"b": [True, None, 1.5]}}),
    ):
        assert evaluate(expression, known) == value
    with pytest.raises(EvaluationError):
        evaluate("object.z.y", known)
    with pytest.raises(NotUnderstood):
        evaluate("object.a.map(x, x + 1)", known)


def test_a_pod_of_an_unknown_service_account_is_refused(kube: Client, space: str) -> None:
    refusal = kube.refused(
        "POST",
        f"/api/v1/namespaces/{space}/pods",
        pod("p", container(), serviceAccountName="ghost"),
    )
    assert refusal["message"] == (
        f'pods "p" is forbidden: error looking up service account {space}/ghost: '
        'serviceaccount "ghost" not found'
    )


def test_a_namespace_that_is_not_there_takes_nothing(kube: Client) -> None:
    path = "/api/v1/namespaces/nowhere/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    for refusal in (
        kube.refused("POST", f"{path}?dryRun=All", body),
        kube.refused("PATCH", f"{path}/a?fieldManager=t&dryRun=All", body, content_type=APPLY),
    ):
        assert refusal["message"] == 'namespaces "nowhere" not found'
