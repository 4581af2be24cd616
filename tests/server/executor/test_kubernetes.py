"""Changes to a cluster, sent twice, in parallel, and behind somebody's back."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.executor.kubernetes import KubeWrites
from tests.tools.backends.kubernetes.bodies import by, deployment, job, prepared, until
from tools.backends.kubernetes import Api
from tools.errors import Code, ToolError
from tools.objects import anew
from tools.plan import Apply, Change, Create, Delete, Patch, Scale

pytestmark = pytest.mark.cluster


async def planned(cluster: KubeWrites, change: Any) -> Any:
    """The change as it is once planned: with what it finds there."""
    return change.model_copy(update={"seen": await cluster.observe(change)})


def settings(cluster: KubeWrites, namespace: str, **data: str) -> Apply:
    ref = cluster.ref("v1/ConfigMap", "settings", namespace)
    return Apply(id="a", ref=ref, body={"data": data})


async def test_applying_is_done_once_however_often_it_is_sent(kube: Any, namespace: str) -> None:
    cluster = KubeWrites(kube.api)
    change = await planned(cluster, settings(cluster, namespace, a="1"))
    first = await cluster.apply(change, "call-1")
    version = (await cluster.get(change.ref))["metadata"]["resourceVersion"]
    assert await cluster.apply(change, "call-1") == first
    live = await cluster.get(change.ref)
    assert live["metadata"]["resourceVersion"] == version
    assert first.value == cluster.intended(change) == {"data": {"a": "1"}}
    assert first.uid == live["metadata"]["uid"]


async def test_a_field_that_we_write_and_somebody_moved_refuses_the_change(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    await cluster.apply(settings(cluster, namespace, a="1"), "call-1")
    change = await planned(cluster, settings(cluster, namespace, a="2"))
    await by(cluster, change.ref, "user", {"data": {"a": "7"}})
    with pytest.raises(ToolError) as refused:
        await cluster.apply(change, "call-2")
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert "changed since it was planned: data.a is 7, was 1" in refused.value.message
    assert (await cluster.get(change.ref))["data"] == {"a": "7"}


async def test_a_field_that_we_do_not_write_may_move(kube: Any, namespace: str) -> None:
    cluster = KubeWrites(kube.api)
    await cluster.apply(settings(cluster, namespace, a="1"), "call-1")
    change = await planned(cluster, settings(cluster, namespace, a="2"))
    await by(cluster, change.ref, "user", {"data": {"theirs": "7"}})
    await cluster.apply(change, "call-2")
    assert (await cluster.get(change.ref))["data"] == {"a": "2", "theirs": "7"}


async def test_what_we_applied_is_put_back_and_what_was_not_there_goes(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    await by(cluster, settings(cluster, namespace).ref, "user", {"data": {"theirs": "7"}})
    await cluster.apply(settings(cluster, namespace, a="1", b="2"), "call-1")
    change = await planned(cluster, settings(cluster, namespace, a="9", c="3"))
    assert change.seen.value == {"data": {"a": "1", "b": "2"}}
    await cluster.apply(change, "call-2")
    await cluster.apply(change.inverse(), "call-3")
    assert (await cluster.get(change.ref))["data"] == {"a": "1", "b": "2", "theirs": "7"}


async def test_an_object_made_anew_under_the_same_name_is_another_one(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    await cluster.apply(settings(cluster, namespace, a="1"), "call-1")
    change = await planned(cluster, settings(cluster, namespace, a="2"))
    deletion = await planned(cluster, Delete(id="d", ref=change.ref))
    await cluster.apply(deletion, "call-2")
    await cluster.apply(settings(cluster, namespace, a="1"), "call-3")
    for stale in (change, deletion):
        with pytest.raises(ToolError) as refused:
            await cluster.apply(stale, "call-4")
        assert refused.value.code is Code.FAILED_PRECONDITION
        assert "another one" in refused.value.message


async def test_a_create_sent_twice_creates_once_and_anothers_is_not_taken_for_ours(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    ref = cluster.ref("batch/v1/Job", "once", namespace)
    change = await planned(cluster, Create(id="c", ref=ref, body=job()))
    first = await cluster.apply(change, "call-1")
    assert await cluster.apply(change, "call-1") == first
    with pytest.raises(ToolError) as refused:
        await cluster.apply(change, "call-2")
    assert refused.value.code is Code.ALREADY_EXISTS


async def test_deleting_what_is_gone_is_done(kube: Any, namespace: str) -> None:
    cluster = KubeWrites(kube.api)
    await cluster.apply(settings(cluster, namespace, a="1"), "call-1")
    change = await planned(cluster, Delete(id="d", ref=settings(cluster, namespace).ref))
    assert (await cluster.apply(change, "call-2")).value is None
    assert (await cluster.apply(change, "call-2")).value is None
    assert await cluster.settled(change) == ""


async def test_scaling_is_compare_and_swap_over_the_replicas_alone(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    ref = await prepared(cluster, namespace, deployment(replicas=1))
    change = await planned(cluster, Scale(id="s", ref=ref, replicas=2))
    assert change.seen.value == {"replicas": 1}
    image = {"name": "web", "image": "busybox:1.36"}
    other = {"spec": {"template": {"spec": {"containers": [image]}}}}
    await cluster.apply(Patch(id="p", ref=ref, fields=other), "call-0")
    assert (await cluster.apply(change, "call-1")).value == {"replicas": 2}
    assert (await cluster.apply(change, "call-1")).value == {"replicas": 2}

    stale = await planned(cluster, Scale(id="s", ref=ref, replicas=0))
    await cluster.apply(Scale(id="s", ref=ref, replicas=3), "call-2")
    with pytest.raises(ToolError) as refused:
        await cluster.apply(stale, "call-3")
    assert "replicas is 3, was 2" in refused.value.message
    away = await planned(cluster, Scale(id="s", ref=ref, replicas=0))
    assert (await cluster.apply(away, "call-4")).value == {"replicas": 0}
    assert (await cluster.observe(away)).value == {"replicas": 0}


async def test_a_patch_is_taken_back_to_the_field(kube: Any, namespace: str) -> None:
    cluster = KubeWrites(kube.api)
    ref = await prepared(cluster, namespace, deployment(replicas=1))
    before = await cluster.get(ref)
    fields = {
        "metadata": {"annotations": {"pilothouse.dev/stopped": "1"}},
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "resources": {"limits": {"memory": "64Mi"}},
                            "env": [{"name": "A", "value": "1"}],
                        }
                    ]
                }
            }
        },
    }
    change = await planned(cluster, Patch(id="p", ref=ref, fields=fields))
    done = await cluster.apply(change, "call-1")
    assert done.value == cluster.intended(change)
    web = (await cluster.get(ref))["spec"]["template"]["spec"]["containers"][0]
    assert web["resources"]["limits"] == {"cpu": "50m", "memory": "64Mi"}
    assert web["image"] == "busybox:1.37"
    await cluster.apply(await planned(cluster, change.inverse()), "call-2")
    after = await cluster.get(ref)
    assert after["spec"] == before["spec"]
    assert "pilothouse.dev/stopped" not in after["metadata"].get("annotations", {})


async def test_many_writers_of_different_fields_all_get_through(kube: Any, namespace: str) -> None:
    cluster = KubeWrites(kube.api)
    ref = settings(cluster, namespace).ref
    await by(cluster, ref, "user", {"data": {"theirs": "7"}})
    changes = [
        await planned(cluster, Patch(id=f"p{i}", ref=ref, fields={"data": {f"k{i}": "x"}}))
        for i in range(4)
    ]
    await asyncio.gather(*(cluster.apply(change, f"call-{change.id}") for change in changes))
    live = await cluster.get(ref)
    assert live["data"] == {"theirs": "7"} | {f"k{i}": "x" for i in range(4)}


async def test_a_job_deleted_is_made_anew_by_its_undo(kube: Any, namespace: str) -> None:
    cluster = KubeWrites(kube.api)
    ref = cluster.ref("batch/v1/Job", "again", namespace)
    await cluster.apply(Create(id="c", ref=ref, body=job()), "call-1")
    deletion = Delete(id="d", ref=ref, whole=anew(await cluster.get(ref)))
    deletion = await planned(cluster, deletion)
    await cluster.apply(deletion, "call-2")

    async def gone() -> bool:
        return await cluster.settled(deletion) == ""

    await until(gone)
    again = deletion.inverse()
    assert again is not None
    await cluster.apply(again, "call-3")
    assert (await cluster.get(ref))["spec"]["template"]["spec"]["containers"][0]["name"] == "job"


async def test_undoing_what_is_there_no_more_is_not_found(kube: Any, namespace: str) -> None:
    cluster = KubeWrites(kube.api)
    gone: list[Change] = [
        Scale(id="s", ref=cluster.ref("apps/v1/Deployment", "none", namespace), replicas=1),
        Patch(id="p", ref=cluster.ref("v1/ConfigMap", "none", namespace), fields={"data": {}}),
    ]
    for change in gone:
        with pytest.raises(ToolError) as refused:
            await cluster.apply(change, "call-1")
        assert refused.value.code is Code.NOT_FOUND


@pytest.fixture
async def practised(practice: Any, tmp_path: Path) -> AsyncIterator[KubeWrites]:
    """The practice cluster, whose faults can be told."""
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    api = Api("test", str(tmp_path / "kubeconfig"))
    yield KubeWrites(api)
    practice.faults.clear()
    await api.close()


async def test_a_lost_answer_is_said_and_sending_again_does_nothing_twice(
    practice: Any, practised: KubeWrites
) -> None:
    name = f"lost-{uuid.uuid4().hex[:8]}"
    config = practised.ref("v1/ConfigMap", name, "default")
    running = practised.ref("batch/v1/Job", name, "default")
    for change in (
        await planned(practised, Apply(id="a", ref=config, body={"data": {"a": "1"}})),
        await planned(practised, Create(id="c", ref=running, body=job())),
        Delete(id="d", ref=config),
        Delete(id="d", ref=running),
    ):
        method = {"apply": "PATCH", "create": "POST", "delete": "DELETE"}[change.op]
        # A deletion that is lost is sent again by the client itself: it is of one uid.
        practice.faults.lose_answer(method=method, path=name if method != "POST" else "/jobs")
        if method == "DELETE":
            await practised.apply(change, "call-1")
        else:
            with pytest.raises(ToolError) as lost:
                await practised.apply(change, "call-1")
            assert lost.value.lost
            assert await practised.find(change.ref) is not None
        again = await practised.apply(change, "call-1")
        assert (again.value is None) is isinstance(change, Delete)


async def test_an_object_that_moves_all_the_time_is_still_written(
    practice: Any, practised: KubeWrites
) -> None:
    ref = practised.ref("v1/ConfigMap", f"busy-{uuid.uuid4().hex[:8]}", "default")
    await practised.apply(Apply(id="a", ref=ref, body={"data": {"a": "1"}}), "call-1")
    change = await planned(practised, Apply(id="a", ref=ref, body={"data": {"a": "2"}}))
    said = f'Operation cannot be fulfilled on configmaps "{ref.name}": the object has been modified'
    practice.faults.answer(409, method="PATCH", path=ref.name, times=3, message=said)
    assert (await practised.apply(change, "call-2")).value == {"data": {"a": "2"}}
    await practised.apply(Delete(id="d", ref=ref), "call-3")


async def test_in_a_namespace_that_the_call_just_made_nobody_looks_first(kube: Any) -> None:
    cluster = KubeWrites(kube.api)
    name = f"t-{uuid.uuid4().hex[:8]}"
    ref = cluster.ref("v1/Namespace", name)
    made = await planned(cluster, Apply(id="n", ref=ref, body={"metadata": {"labels": {"a": "b"}}}))
    asked: list[str] = []
    send = kube.api.request

    async def noted(method: str, path: str, *rest: Any, **options: Any) -> Any:
        asked.append(f"{method} {path.rpartition('/')[2]}")
        return await send(method, path, *rest, **options)

    try:
        await cluster.apply(made, "call-1")
        one = await planned(cluster, settings(cluster, name, a="1"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cluster.api, "request", noted)
            await cluster.apply(one, "call-1")
            assert asked == ["PATCH settings"]
            # Another call has no such knowledge, and neither has one that goes on after a crash.
            await cluster.apply(one, "call-2")
            assert asked[1] == "GET settings"
    finally:
        await cluster.apply(await planned(cluster, Delete(id="n", ref=ref)), "call-1")


async def test_what_somebody_else_put_there_first_is_not_applied_over(kube: Any) -> None:
    cluster = KubeWrites(kube.api)
    name = f"t-{uuid.uuid4().hex[:8]}"
    ref = cluster.ref("v1/Namespace", name)
    try:
        await cluster.apply(await planned(cluster, Apply(id="n", ref=ref, body={})), "call-1")
        change = await planned(cluster, settings(cluster, name, a="1"))
        await by(cluster, change.ref, "user", {"data": {"a": "7"}})
        with pytest.raises(ToolError) as refused:
            await cluster.apply(change, "call-1")
        assert refused.value.code is Code.FAILED_PRECONDITION
        assert (await cluster.get(change.ref))["data"] == {"a": "7"}
    finally:
        await cluster.apply(await planned(cluster, Delete(id="n", ref=ref)), "call-1")


async def test_what_we_made_is_told_from_what_another_made_of_the_same_name(
    kube: Any, namespace: str
) -> None:
    cluster = KubeWrites(kube.api)
    applied = settings(cluster, namespace, a="1")
    created = Create(id="c", ref=cluster.ref("batch/v1/Job", "once", namespace), body=job())
    for change in (applied, created):
        assert not await cluster.is_ours(change, "call-1"), "it is not there"
        await by(cluster, change.ref, "user", change.body)
        assert not await cluster.is_ours(change, "call-1")
        gone = await planned(cluster, Delete(id="d", ref=change.ref))
        await cluster.apply(gone, "call-1")
        await until(lambda c=change: _gone(cluster, c))
        await cluster.apply(await planned(cluster, change), "call-1")
        assert await cluster.is_ours(change, "call-1")
    assert not await cluster.is_ours(created, "call-2")


async def _gone(cluster: KubeWrites, change: Change) -> bool:
    return await cluster.find(change.ref) is None
