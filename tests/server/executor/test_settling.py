"""When a change has taken effect, and what is said until then."""

from typing import Any

import pytest

from server.executor.kubernetes import KubeWrites
from tests.tools.backends.kubernetes.bodies import deployment, job, limited, prepared, until
from tools.errors import Code, ToolError
from tools.plan import Apply, Change, Create, Delete, Patch, Scale, Seen

pytestmark = pytest.mark.cluster


async def lines_until_settled(cluster: KubeWrites, change: Change) -> list[str]:
    lines: list[str] = []

    async def settled() -> bool:
        line = await cluster.settled(change)
        lines.append(line)
        return not line

    await until(settled)
    return list(dict.fromkeys(lines))


async def waits_for(cluster: KubeWrites, change: Change, words: str) -> None:
    async def said() -> bool:
        return words in await cluster.settled(change)

    await until(said)


async def test_a_scale_has_taken_effect_when_every_replica_is_ready(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    ref = await prepared(cluster, namespace, deployment(replicas=1))
    change = Scale(id="s", ref=ref, replicas=3)
    await cluster.apply(change, "call-1")
    await lines_until_settled(cluster, change)
    assert (await cluster.get(ref))["status"]["readyReplicas"] == 3
    down = Scale(id="s", ref=ref, replicas=0)
    await cluster.apply(down, "call-2")
    await lines_until_settled(cluster, down)
    assert not (await cluster.get(ref))["status"].get("replicas")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
async def test_every_kind_of_workload_is_awaited_until_it_is_rolled_out(
    kube: Any, namespace: str, kind: str
) -> None:
    cluster = KubeWrites(kube.api)
    body = deployment(replicas=2)
    if kind == "DaemonSet":
        del body["spec"]["replicas"]
    if kind == "StatefulSet":
        body["spec"]["serviceName"] = "web"
    change = Apply(id="a", ref=cluster.ref(f"apps/v1/{kind}", "web", namespace), body=body)
    await cluster.apply(change, "call-1")
    assert await lines_until_settled(cluster, change) != [""]
    containers = [{"name": "web", "image": "busybox:1.36"}]
    fields = {"spec": {"template": {"spec": {"containers": containers}}}}
    update = Patch(id="p", ref=change.ref, fields=fields)
    await cluster.apply(update, "call-2")
    assert await lines_until_settled(cluster, update) != [""]
    pods, _ = await cluster.list("po", namespace, labels="app=web", parts="whole")
    left = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
    assert {p["spec"]["containers"][0]["image"] for p in left} == {"busybox:1.36"}


async def test_a_pod_that_cannot_be_pulled_is_named_while_waiting(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    ref = await prepared(cluster, namespace, deployment(replicas=1))
    image = {"name": "web", "image": "registry.invalid/none:1"}
    fields = {"spec": {"template": {"spec": {"containers": [image]}}}}
    change = Patch(id="p", ref=ref, fields=fields)
    await cluster.apply(change, "call-1")

    async def named() -> bool:
        line = await cluster.settled(change)
        return "web-" in line and ("ImagePullBackOff" in line or "ErrImagePull" in line)

    await until(named)


async def test_replicas_that_the_quota_refuses_fail_with_its_words(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    await limited(cluster, namespace, {"pods": "1"})
    ref = await prepared(cluster, namespace, deployment(replicas=1))
    change = Scale(id="s", ref=ref, replicas=3)
    await cluster.apply(change, "call-1")
    with pytest.raises(ToolError) as refused:
        await lines_until_settled(cluster, change)
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert "exceeded quota: plan" in refused.value.message
    assert not refused.value.passing


async def test_a_rollout_past_its_deadline_fails_with_the_reason(kube: Any, namespace: str) -> None:
    cluster = KubeWrites(kube.api)
    body = deployment(replicas=1)
    body["spec"]["progressDeadlineSeconds"] = 2
    body["spec"]["minReadySeconds"] = 1
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.invalid/none:1"
    ref = cluster.ref("apps/v1/Deployment", "web", namespace)
    change = Apply(id="a", ref=ref, body=body)
    await cluster.apply(change, "call-1")
    with pytest.raises(ToolError) as refused:
        await lines_until_settled(cluster, change)
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert "progress" in refused.value.message


async def test_a_job_is_awaited_to_its_end_only_where_that_is_wanted(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    quick = Create(id="c", ref=cluster.ref("batch/v1/Job", "quick", namespace), body=job())
    await cluster.apply(quick, "call-1")
    assert await cluster.settled(quick) == ""
    awaited = quick.model_copy(update={"await_end": True})
    await lines_until_settled(cluster, awaited)
    failing = Create(
        id="c",
        ref=cluster.ref("batch/v1/Job", "bad", namespace),
        body=job(command="exit 3"),
        await_end=True,
    )
    await cluster.apply(failing, "call-2")
    await lines_until_settled(cluster, failing)


async def test_a_suspended_job_has_stopped_when_its_pods_have(kube: Any, namespace: str) -> None:
    cluster = KubeWrites(kube.api)
    ref = cluster.ref("batch/v1/Job", "long", namespace)
    await cluster.apply(Create(id="c", ref=ref, body=job(command="sleep 600")), "call-1")

    async def runs() -> bool:
        return ((await cluster.get(ref)).get("status") or {}).get("active") == 1

    await until(runs)
    stop = Patch(id="p", ref=ref, fields={"spec": {"suspend": True}})
    await cluster.apply(stop, "call-2")
    await lines_until_settled(cluster, stop)


async def test_a_namespace_is_made_when_active_and_deleted_when_gone(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    ref = cluster.ref("v1/Namespace", f"{namespace}-b")
    made = Apply(id="n", ref=ref, body={"metadata": {"labels": {"a": "b"}}})
    left = await cluster.apply(made, "call-1")
    assert await cluster.settled(made) == ""
    assert not cluster.took_effect(made, left)  # it may have been there, and be going
    assert cluster.took_effect(made.model_copy(update={"seen": Seen()}), left)
    held = cluster.ref("v1/ConfigMap", "held", ref.name)
    body = {"metadata": {"finalizers": ["pilothouse.dev/test"]}, "data": {"a": "1"}}
    await cluster.apply(Apply(id="c", ref=held, body=body), "call-1")

    deletion = Delete(id="d", ref=ref)
    deletion = deletion.model_copy(update={"seen": await cluster.observe(deletion)})
    await cluster.apply(deletion, "call-2")
    await waits_for(cluster, deletion, "it is terminating")
    await cluster.apply(
        Patch(id="p", ref=held, fields={"metadata": {"finalizers": None}}), "call-3"
    )
    await lines_until_settled(cluster, deletion)
    assert await cluster.find(ref) is None


async def test_what_nothing_is_waited_for_is_in_effect_once_it_is_made(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    settings = cluster.ref("v1/ConfigMap", "settings", namespace)
    made = Apply(id="c", ref=settings, body={"data": {"a": "1"}})
    assert cluster.took_effect(made, await cluster.apply(made, "call-1"))
    for kind in ("apps/v1/Deployment", "batch/v1/Job"):
        awaited = Apply(id="w", ref=cluster.ref(kind, "web", namespace), body={})
        assert not cluster.took_effect(awaited, Seen())
    assert not cluster.took_effect(Delete(id="d", ref=settings), Seen())


async def test_what_was_deleted_meanwhile_will_never_be_ready(kube: Any, namespace: str) -> None:
    cluster = KubeWrites(kube.api)
    ref = cluster.ref("apps/v1/Deployment", "none", namespace)
    with pytest.raises(ToolError) as refused:
        await cluster.settled(Scale(id="s", ref=ref, replicas=1))
    assert refused.value.code is Code.FAILED_PRECONDITION
