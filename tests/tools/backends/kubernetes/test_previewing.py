"""What a change would do, as the API server itself says."""

from typing import Any

import pytest

from tests.tools.backends.kubernetes.bodies import (
    QUOTA,
    by,
    deployment,
    job,
    limited,
    make,
    prepared,
)
from tools.backends.kubernetes import KubeCluster
from tools.errors import Code, ToolError
from tools.plan import Apply, Create, Delete, Patch, Plan, Scale

pytestmark = pytest.mark.cluster


def paths(preview: Any) -> dict[str, Any]:
    return {d.path: (d.before, d.after) for d in preview.diff}


async def test_a_new_object_shows_the_fields_it_names_and_nothing_is_stored(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    ref = cluster.ref("v1/ConfigMap", "settings", namespace)
    plan = Plan.of("", [Apply(id="a", ref=ref, body={"data": {"a": "1"}})])
    shown = await cluster.preview(plan.changes[0], plan)
    assert (shown.verb, shown.how) == ("create", "server")
    assert paths(shown) == {"data.a": (None, "1")}
    assert await cluster.find(ref) is None


async def test_what_applying_gives_up_is_shown_as_going(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    ref = cluster.ref("v1/ConfigMap", "settings", namespace)
    await make(cluster, Apply(id="a", ref=ref, body={"data": {"a": "1", "b": "2"}}))
    plan = Plan.of("", [Apply(id="a", ref=ref, body={"data": {"a": "9"}})])
    shown = await cluster.preview(plan.changes[0], plan)
    assert paths(shown) == {"data.a": ("1", "9"), "data.b": ("2", None)}
    assert shown.verb == "update"


async def test_nothing_to_change_is_said_so(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    ref = cluster.ref("v1/ConfigMap", "settings", namespace)
    change = Apply(id="a", ref=ref, body={"data": {"a": "1"}})
    await make(cluster, change)
    shown = await cluster.preview(change, Plan.of("", [change]))
    assert shown.diff == []
    assert shown.title.startswith("Leave ConfigMap settings")


async def test_fields_of_another_manager_are_a_conflict_that_names_it(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    ref = cluster.ref("v1/ConfigMap", "settings", namespace)
    await by(cluster, ref, "argocd-controller", {"data": {"a": "1"}})
    change = Apply(id="a", ref=ref, body={"data": {"a": "2"}})
    with pytest.raises(ToolError) as refused:
        await cluster.preview(change, Plan.of("", [change]))
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert "argocd-controller" in refused.value.message
    assert ".data.a" in refused.value.message
    assert "force=true" in refused.value.hint

    forced = change.model_copy(update={"force": True})
    shown = await cluster.preview(forced, Plan.of("", [forced]))
    assert paths(shown) == {"data.a": ("1", "2")}
    assert any("Argo CD" in note and "data.a" in note for note in shown.notes)


async def test_in_a_namespace_of_the_same_plan_it_is_computed(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    fresh = f"{namespace}-b"
    plan = Plan.of(
        "",
        [
            Apply(id="ns", ref=cluster.ref("v1/Namespace", fresh), body={}),
            Apply(
                id="cm",
                ref=cluster.ref("v1/ConfigMap", "settings", fresh),
                body={"data": {"a": "1"}},
                needs=("ns",),
            ),
        ],
    )
    shown = await cluster.preview(plan.changes[1], plan)
    assert (shown.how, shown.verb) == ("computed", "create")
    assert paths(shown) == {"data.a": (None, "1")}


async def test_a_job_that_quota_forbids_is_refused_in_the_apis_words(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    await limited(cluster, namespace, QUOTA)
    ref = cluster.ref("batch/v1/Job", "big", namespace)
    change = Create(id="j", ref=ref, body=job(cpu="4"))
    with pytest.raises(ToolError) as refused:
        await cluster.preview(change, Plan.of("", [change]))
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert "exceeded quota: plan" in refused.value.message
    small = Create(id="j", ref=ref, body=job(cpu="50m"))
    assert (await cluster.preview(small, Plan.of("", [small]))).how == "probed"


async def test_a_job_that_pod_security_forbids_is_refused_in_the_apis_words(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    body = job(cpu="50m")
    body["spec"]["template"]["spec"]["hostNetwork"] = True
    change = Create(id="j", ref=cluster.ref("batch/v1/Job", "net", namespace), body=body)
    with pytest.raises(ToolError) as refused:
        await cluster.preview(change, Plan.of("", [change]))
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert "violates PodSecurity" in refused.value.message


async def test_more_replicas_than_the_quota_has_room_for_are_refused(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    await limited(cluster, namespace, QUOTA)
    ref = await prepared(cluster, namespace, deployment(replicas=1))
    change = Scale(id="s", ref=ref, replicas=40)
    with pytest.raises(ToolError) as refused:
        await cluster.preview(change, Plan.of("", [change]))
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert "exceeded quota: plan, requested: " in refused.value.message
    assert "pods=39" in refused.value.message


async def test_a_scale_shows_both_counts_and_who_else_sets_them(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    ref = await prepared(cluster, namespace, deployment(replicas=1))
    hpa = cluster.ref("autoscaling/v2/HorizontalPodAutoscaler", "web", namespace)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    await make(
        cluster,
        Apply(
            id="h",
            ref=hpa,
            body={"spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": target}},
        ),
    )
    change = Scale(id="s", ref=ref, replicas=2)
    shown = await cluster.preview(change, Plan.of("", [change]))
    assert paths(shown) == {"spec.replicas": (1, 2)}
    assert shown.how == "probed"
    assert shown.title == f"Scale Deployment web in {namespace} from 1 to 2"
    assert any("HorizontalPodAutoscaler web sets its replicas (1 to 5)" in n for n in shown.notes)
    assert any("user has set spec.replicas" in n for n in shown.notes)
    pod = {"metadata": {"annotations": {"restarted": "now"}}}
    for other in (
        Scale(id="s", ref=ref, replicas=0),
        Patch(id="p", ref=ref, fields={"spec": {"template": pod}}),
    ):
        shown = await cluster.preview(other, Plan.of("", [other]))
        assert not any("HorizontalPodAutoscaler" in n for n in shown.notes), "it is not about them"


async def test_a_patch_shows_the_field_by_its_container(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    ref = await prepared(cluster, namespace, deployment(replicas=1))
    container = {"name": "web", "resources": {"limits": {"memory": "64Mi"}}}
    fields = {"spec": {"template": {"spec": {"containers": [container]}}}}
    change = Patch(id="p", ref=ref, fields=fields)
    shown = await cluster.preview(change, Plan.of("", [change]))
    assert paths(shown) == {
        "spec.template.spec.containers[web].resources.limits.memory": ("32Mi", "64Mi")
    }
    assert shown.how == "probed"


async def test_a_field_that_the_kind_does_not_have_is_refused(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    ref = cluster.ref("v1/ConfigMap", "settings", namespace)
    change = Create(id="c", ref=ref, body={"dat": {"a": "1"}})
    with pytest.raises(ToolError) as refused:
        await cluster.preview(change, Plan.of("", [change]))
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert 'unknown field "dat"' in refused.value.message


async def test_what_is_in_a_secret_is_not_shown(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    ref = cluster.ref("v1/Secret", "key", namespace)
    await make(cluster, Apply(id="a", ref=ref, body={"data": {"a": "b2xk", "b": "b2xk"}}))
    change = Apply(id="a", ref=ref, body={"data": {"a": "bmV3"}})
    shown = await cluster.preview(change, Plan.of("", [change]))
    assert paths(shown) == {"data.a": ("•••", "•••"), "data.b": ("•••", None)}


async def test_deleting_says_what_goes_and_leaves_it_there(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    ref = cluster.ref("v1/ConfigMap", "settings", namespace)
    await make(cluster, Apply(id="a", ref=ref, body={"data": {"a": "1"}}))
    change = Delete(id="d", ref=ref)
    shown = await cluster.preview(change, Plan.of("", [change]))
    assert shown.verb == "delete"
    assert paths(shown) == {"metadata.name": ("settings", None)}
    assert await cluster.find(ref) is not None


async def test_creating_what_is_there_and_patching_what_is_not_are_refused(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    ref = cluster.ref("v1/ConfigMap", "settings", namespace)
    patch = Patch(id="p", ref=ref, fields={"data": {"a": "1"}})
    with pytest.raises(ToolError) as refused:
        await cluster.preview(patch, Plan.of("", [patch]))
    assert refused.value.code is Code.NOT_FOUND
    create = Create(id="c", ref=ref, body={"data": {"a": "1"}})
    await make(cluster, create)
    with pytest.raises(ToolError) as refused:
        await cluster.preview(create, Plan.of("", [create]))
    assert refused.value.code is Code.ALREADY_EXISTS
