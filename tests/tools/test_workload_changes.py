"""Workloads as they should be: what each change plans, and what becomes of it on a cluster."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.tools.conftest import Hands, deployment, eventually
from tools import workload_changes as changes
from tools.errors import Code, ToolError
from tools.plan import Delete, Patch, Scale
from tools.workload import OfWorkload
from tools.workload_changes import (
    AutoscalerUpdate,
    WorkloadResize,
    WorkloadScale,
    WorkloadStart,
)

DEPLOYMENT = "apps/v1/Deployment"


@pytest.mark.parametrize("replicas", [-1, 10**9, "many", 1.5, None])
def test_replicas_that_cannot_be_are_refused(replicas: Any) -> None:
    with pytest.raises(ValidationError):
        WorkloadScale.model_validate({"tenant": "acme", "name": "web", "replicas": replicas})


@pytest.mark.parametrize("name", ["a/b", "../x", "A", "x" * 254])
def test_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        OfWorkload(tenant="acme", name=name)


@pytest.mark.cluster
class TestOnACluster:
    def of(self, hands: Hands, name: str = "web") -> OfWorkload:
        return OfWorkload(tenant=hands.tenant, name=name)

    async def replicas(self, hands: Hands) -> int:
        web = await hands.get(DEPLOYMENT, "web")
        assert web is not None
        return int(web["spec"]["replicas"])

    async def stopped(self, hands: Hands) -> str | None:
        web = await hands.get(DEPLOYMENT, "web")
        assert web is not None
        kept = web["metadata"].get("annotations", {}).get("pilothouse.dev/stopped-replicas")
        return str(kept) if kept is not None else None

    async def autoscaled(self, hands: Hands) -> None:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        bounds = {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": target}
        await hands.apply("autoscaling/v2/HorizontalPodAutoscaler", "web-hpa", spec=bounds)

    async def test_a_scale_is_one_change_and_its_undo_brings_the_count_back(
        self, hands: Hands
    ) -> None:
        await hands.apply(DEPLOYMENT, "web", **deployment(replicas=2))
        asked = WorkloadScale(tenant=hands.tenant, name="web", replicas=3)
        plan = await changes.scale(hands.context(), asked)
        ref = hands.writes.ref(DEPLOYMENT, "web", hands.tenant)
        assert plan.changes == (Scale(id="scale", ref=ref, replicas=3),)
        assert "from 2 to 3 replicas" in plan.summary
        assert plan.notes == ()
        done = await hands.carry_out(plan)
        assert await self.replicas(hands) == 3
        await hands.undo(done)
        assert await self.replicas(hands) == 2

    async def test_a_stop_remembers_the_count_and_a_start_brings_it_back(
        self, hands: Hands
    ) -> None:
        await hands.apply(DEPLOYMENT, "web", **deployment(replicas=2))
        plan = await changes.stop(hands.context(), self.of(hands))
        assert [type(c) for c in plan.changes] == [Patch, Scale]
        await hands.carry_out(plan)
        assert (await self.replicas(hands), await self.stopped(hands)) == (0, "2")
        again = await changes.stop(hands.context(), self.of(hands))
        assert again.changes == ()
        start = await changes.start(hands.context(), WorkloadStart(tenant=hands.tenant, name="web"))
        assert start.result["replicas"] == 2
        await hands.carry_out(start)
        assert (await self.replicas(hands), await self.stopped(hands)) == (2, None)
        again = await changes.start(hands.context(), WorkloadStart(tenant=hands.tenant, name="web"))
        assert again.changes == ()

    async def test_undoing_a_stop_starts_it_and_forgets(self, hands: Hands) -> None:
        await hands.apply(DEPLOYMENT, "web", **deployment(replicas=2))
        done = await hands.carry_out(await changes.stop(hands.context(), self.of(hands)))
        await hands.undo(done)
        assert (await self.replicas(hands), await self.stopped(hands)) == (2, None)

    async def test_what_was_never_stopped_starts_with_one_or_as_asked(self, hands: Hands) -> None:
        await hands.apply(DEPLOYMENT, "web", **deployment(replicas=0))
        asked = WorkloadStart(tenant=hands.tenant, name="web")
        plan = await changes.start(hands.context(), asked)
        assert plan.result["replicas"] == 1
        assert "not known" in plan.notes[0]
        asked = WorkloadStart(tenant=hands.tenant, name="web", replicas=4)
        assert (await changes.start(hands.context(), asked)).result["replicas"] == 4

    async def test_an_autoscaler_is_noticed_and_its_bounds_move(self, hands: Hands) -> None:
        await hands.apply(DEPLOYMENT, "web", **deployment(replicas=1))
        await self.autoscaled(hands)
        stop = await changes.stop(hands.context(), self.of(hands))
        assert "lets it be while it is at 0" in stop.notes[0]

        update = AutoscalerUpdate(tenant=hands.tenant, name="web", max_replicas=9)
        done = await hands.carry_out(await changes.update_autoscaler(hands.context(), update))
        kind = "autoscaling/v2/HorizontalPodAutoscaler"
        scaler = await hands.get(kind, "web-hpa")
        assert scaler is not None
        assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (1, 9)
        by_its_own_name = AutoscalerUpdate(tenant=hands.tenant, name="web-hpa", max_replicas=9)
        assert not (await changes.update_autoscaler(hands.context(), by_its_own_name)).changes
        await hands.undo(done)
        scaler = await hands.get(kind, "web-hpa")
        assert scaler is not None
        assert scaler["spec"]["maxReplicas"] == 5
        for bad in ({}, {"min_replicas": 7}):
            with pytest.raises(ToolError) as refused:
                await changes.update_autoscaler(
                    hands.context(), AutoscalerUpdate(tenant=hands.tenant, name="web", **bad)
                )
            assert refused.value.code is Code.INVALID_ARGUMENT

    async def test_bounds_need_an_autoscaler(self, hands: Hands) -> None:
        asked = AutoscalerUpdate(tenant=hands.tenant, name="web", max_replicas=9)
        with pytest.raises(ToolError) as refused:
            await changes.update_autoscaler(hands.context(), asked)
        assert refused.value.code is Code.NOT_FOUND
        assert "resource_apply" in refused.value.hint

    async def test_a_restart_fixes_its_time_when_planned_and_rolls_the_pods(
        self, hands: Hands
    ) -> None:
        await hands.apply(DEPLOYMENT, "web", **deployment())
        context = hands.context()
        plan = await changes.restart(context, self.of(hands))
        (change,) = plan.changes
        at = context.now.isoformat(timespec="milliseconds")
        notes = {"annotations": {"pilothouse.dev/restartedAt": at}}
        assert isinstance(change, Patch)
        assert change.fields == {"spec": {"template": {"metadata": notes}}}
        await hands.carry_out(plan)
        web = await hands.get(DEPLOYMENT, "web")
        assert web is not None
        assert web["spec"]["template"]["metadata"]["annotations"] == notes["annotations"]
        assert web["metadata"]["generation"] == 2

    async def test_a_resize_touches_one_container_and_what_was_named(self, hands: Hands) -> None:
        body = deployment(resources={"requests": {"cpu": "10m", "memory": "16Mi"}})
        side = {"name": "side", "image": "busybox:1.37", "command": ["sleep", "3600"]}
        body["spec"]["template"]["spec"]["containers"].append(side)
        await hands.apply(DEPLOYMENT, "web", **body)
        where: dict[str, Any] = {"tenant": hands.tenant, "name": "web"}
        with pytest.raises(ToolError, match="several containers"):
            await changes.resize(hands.context(), WorkloadResize(**where, cpu_limit="1"))
        with pytest.raises(ToolError, match="nothing to set"):
            await changes.resize(hands.context(), WorkloadResize(**where, container="main"))
        with pytest.raises(ToolError, match="above its limit"):
            await changes.resize(
                hands.context(), WorkloadResize(**where, container="main", cpu_limit="5m")
            )
        asked = WorkloadResize(**where, container="main", cpu_limit="20m", memory_request="8Mi")
        done = await hands.carry_out(await changes.resize(hands.context(), asked))

        async def resources() -> list[Any]:
            web = await hands.get(DEPLOYMENT, "web")
            assert web is not None
            return [c.get("resources") or {} for c in web["spec"]["template"]["spec"]["containers"]]

        assert await resources() == [
            {"requests": {"cpu": "10m", "memory": "8Mi"}, "limits": {"cpu": "20m"}},
            {},
        ]
        await hands.undo(done)
        assert await resources() == [{"requests": {"cpu": "10m", "memory": "16Mi"}}, {}]

    async def test_a_deleted_workload_is_made_anew_by_its_undo(self, hands: Hands) -> None:
        await hands.apply(DEPLOYMENT, "web", metadata={"labels": {"team": "a"}}, **deployment())
        before = await hands.get(DEPLOYMENT, "web")
        plan = await changes.delete(hands.context(), self.of(hands))
        assert [type(c) for c in plan.changes] == [Delete]
        assert plan.undo == "recreates"
        done = await hands.carry_out(plan)
        assert await hands.get(DEPLOYMENT, "web") is None
        await hands.undo(done)
        after = await hands.get(DEPLOYMENT, "web")
        assert before is not None
        assert after is not None
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert after["metadata"]["labels"] == {"team": "a"}
        assert after["spec"] == before["spec"]

    async def test_a_deleted_pod_is_made_anew_by_its_undo(self, hands: Hands) -> None:
        main = {"name": "main", "image": "nginx:1.27", "command": ["sleep", "3600"]}
        await hands.apply(
            "v1/Pod", "web", spec={"containers": [main], "terminationGracePeriodSeconds": 0}
        )

        async def placed() -> bool:
            pod = await hands.get("v1/Pod", "web")
            return bool(pod and pod["spec"].get("nodeName"))

        await eventually(placed)
        done = await hands.carry_out(await changes.delete(hands.context(), self.of(hands)))
        await hands.undo(done)
        assert await hands.get("v1/Pod", "web")

    async def test_what_a_kind_cannot_do_is_refused_with_what_can_be_done(
        self, hands: Hands
    ) -> None:
        agent = deployment()
        del agent["spec"]["replicas"]
        await hands.apply("apps/v1/DaemonSet", "agent", **agent)
        main = {"name": "main", "image": "nginx:1.27"}
        await hands.apply("v1/Pod", "bare", spec={"containers": [main]})
        here: dict[str, Any] = {"tenant": hands.tenant}
        context = hands.context()
        for asking in (
            changes.scale(context, WorkloadScale(**here, name="agent", replicas=2)),
            changes.stop(context, self.of(hands, "agent")),
            changes.start(context, WorkloadStart(**here, name="agent")),
            changes.scale(context, WorkloadScale(**here, name="bare", replicas=2)),
            changes.restart(context, self.of(hands, "bare")),
            changes.resize(context, WorkloadResize(**here, name="bare", cpu_limit="1")),
        ):
            with pytest.raises(ToolError) as refused:
                await asking
            assert refused.value.code is Code.FAILED_PRECONDITION
            assert refused.value.hint
