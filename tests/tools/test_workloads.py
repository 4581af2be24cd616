"""Workloads as they are, on a cluster."""

import asyncio
import json
from typing import Any

import pytest

from tests.tools.conftest import Hands, deployment, eventually
from tools import workloads
from tools.errors import Code, ToolError
from tools.workload import OfWorkload
from tools.workloads import WorkloadListArguments, WorkloadLogs, WorkloadRow, _row

PAUSE = {"name": "main", "image": "nginx:1.27", "command": ["sh", "-c", "sleep 3600"]}


def labelled(body: dict[str, Any], app: str) -> dict[str, Any]:
    """The same workload with pods of its own."""
    body["spec"]["selector"]["matchLabels"]["app"] = app
    body["spec"]["template"]["metadata"]["labels"]["app"] = app
    return body


async def listed(hands: Hands, **asked: Any) -> dict[str, WorkloadRow]:
    answer = await workloads.list_workloads(
        hands.context(), WorkloadListArguments(tenant=hands.tenant, **asked)
    )
    return {row.name: row for row in answer.workloads}


@pytest.mark.parametrize(
    ("kind", "cells", "ready", "wrong"),
    [
        ("Deployment", {"ready": "2/2"}, "2/2", ""),
        ("Deployment", {"ready": "1/2"}, "1/2", "1 of 2 ready"),
        ("DaemonSet", {"ready": 1, "desired": 3}, "1/3", "1 of 3 ready"),
        ("Pod", {"ready": "1/1", "status": "Running", "restarts": "0"}, "1/1", ""),
        ("Pod", {"ready": "0/1", "status": "Completed", "restarts": "0"}, "0/1", ""),
        ("Pod", {"ready": "0/1", "status": "Running", "restarts": "0"}, "0/1", "not ready"),
        (
            "Pod",
            {"ready": "0/1", "status": "CrashLoopBackOff", "restarts": "5 (3m ago)"},
            "0/1",
            "CrashLoopBackOff (5 restarts)",
        ),
    ],
)
def test_a_row_of_a_table_tells_at_a_glance(
    kind: str, cells: dict[str, Any], ready: str, wrong: str
) -> None:
    row = _row(kind, {"name": "x"} | cells)
    assert (row.ready, row.wrong) == (ready, wrong)


@pytest.mark.cluster
class TestOnACluster:
    async def test_every_kind_is_listed_once_and_the_unhealthy_first(self, hands: Hands) -> None:
        well, ill = deployment(replicas=2), labelled(deployment("registry.invalid/none:2"), "ill")
        agent = labelled(deployment(), "agent")
        del agent["spec"]["replicas"]
        await hands.apply("apps/v1/Deployment", "well", **well)
        await hands.apply("apps/v1/Deployment", "ill", **ill)
        await hands.apply("apps/v1/DaemonSet", "agent", **agent)
        stateful = labelled(deployment(), "db")
        stateful["spec"]["serviceName"] = "db"
        await hands.apply("apps/v1/StatefulSet", "db", **stateful)
        await hands.apply("v1/Pod", "bare", spec={"containers": [PAUSE]})

        async def settled() -> dict[str, WorkloadRow] | None:
            rows = await listed(hands)
            wrong = {name for name, row in rows.items() if row.wrong}
            return rows if wrong == {"ill"} and "no such host" in rows["ill"].wrong else None

        rows = await eventually(settled)
        assert list(rows) == ["ill", "agent", "bare", "db", "well"]
        assert rows["ill"].wrong.startswith(
            ("ImagePullBackOff: registry", "ErrImagePull: registry")
        )
        assert (rows["well"].ready, rows["well"].image) == ("2/2", "nginx:1.27")
        kinds = {name: row.kind for name, row in rows.items()}
        assert (kinds["bare"], kinds["db"]) == ("Pod", "StatefulSet")
        assert list(await listed(hands, only_unhealthy=True)) == ["ill"]
        assert list(await listed(hands, text="NONE:2")) == ["ill"]
        assert list(await listed(hands, kind="DaemonSet")) == ["agent"]

    async def test_a_quota_that_stops_a_workload_is_told_in_its_words(self, hands: Hands) -> None:
        await hands.apply("v1/ResourceQuota", "plan", spec={"hard": {"pods": "1"}})

        async def enforced() -> bool:
            quota = await hands.get("v1/ResourceQuota", "plan")
            return bool((quota or {}).get("status", {}).get("hard"))

        await eventually(enforced)
        await hands.apply("apps/v1/Deployment", "many", **deployment(replicas=3))

        async def told() -> bool:
            wrong = (await listed(hands))["many"].wrong
            return wrong.startswith("quota: exceeded quota: plan, requested: pods=1")

        await eventually(told)
        answer = await workloads.get(hands.context(), OfWorkload(tenant=hands.tenant, name="many"))
        assert "tenant_update" in answer.next_step

    async def test_pages_follow_each_other_and_a_wrong_cursor_is_refused(
        self, hands: Hands
    ) -> None:
        for name in ("a", "b", "c"):
            body = labelled(deployment(replicas=0), name)
            await hands.apply("apps/v1/Deployment", name, **body)
        names: list[str] = []
        next = ""
        for _ in range(3):
            asked = WorkloadListArguments(tenant=hands.tenant, limit=1, next=next)
            answer = await workloads.list_workloads(hands.context(), asked)
            names += [row.name for row in answer.workloads]
            next = answer.next
            assert answer.total == 3
        assert (names, next) == (["a", "b", "c"], "")
        with pytest.raises(ToolError, match="not from an earlier answer"):
            await listed(hands, next="nonsense")

    async def test_a_first_page_of_five_hundred_pods_is_at_most_ten_kilobytes(
        self, hands: Hands
    ) -> None:
        # Pods that no scheduler looks at: they cost the cluster nothing.
        spec = {"containers": [PAUSE], "schedulerName": "nobody"}
        names = [f"pod-with-a-name-of-usual-length-{n:03}" for n in range(500)]
        for some in (names[n : n + 20] for n in range(0, 500, 20)):
            await asyncio.gather(*(hands.apply("v1/Pod", name, spec=spec) for name in some))
        asked = WorkloadListArguments(tenant=hands.tenant)

        async def all_of_them() -> workloads.WorkloadList | None:
            # A list comes from the API server's cache, which is a moment behind.
            answer = await workloads.list_workloads(hands.context(), asked)
            return answer if answer.total == 500 else None

        answer = await eventually(all_of_them)
        assert len(json.dumps(answer.model_dump(mode="json"), separators=(",", ":"))) <= 10_000

    async def test_one_workload_is_told_with_all_that_belongs_to_it(self, hands: Hands) -> None:
        body = deployment(
            replicas=2, resources={"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}}
        )
        await hands.apply("apps/v1/Deployment", "web", **body)
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        bounds = {"minReplicas": 2, "maxReplicas": 5, "scaleTargetRef": target}
        await hands.apply("autoscaling/v2/HorizontalPodAutoscaler", "web-hpa", spec=bounds)
        me = OfWorkload(tenant=hands.tenant, name="web")

        async def ready() -> workloads.WorkloadAnswer | None:
            told = await workloads.get(hands.context(), me)
            return told if told.ready == 2 and told.events else None

        told = await eventually(ready)
        assert (told.kind, told.desired, told.wrong, told.next_step) == ("Deployment", 2, "", "")
        assert told.containers[0].requests["cpu"] == "10m"
        assert told.containers[0].limits == {"memory": "64Mi"}
        assert [p.ready for p in told.pods] == ["1/1", "1/1"]
        assert (told.autoscaler.name, told.autoscaler.min, told.autoscaler.max) == ("web-hpa", 2, 5)
        assert all(e.object.partition("/")[2].startswith("web") for e in told.events)

    async def test_a_name_that_several_kinds_have_needs_the_kind(self, hands: Hands) -> None:
        await hands.apply("apps/v1/Deployment", "twin", **deployment(replicas=0))
        await hands.apply("v1/Pod", "twin", spec={"containers": [PAUSE]})
        with pytest.raises(ToolError) as refused:
            await workloads.get(hands.context(), OfWorkload(tenant=hands.tenant, name="twin"))
        assert refused.value.code is Code.INVALID_ARGUMENT
        assert "a Deployment and a Pod" in refused.value.message
        asked = OfWorkload(tenant=hands.tenant, name="twin", kind="Pod")
        assert (await workloads.get(hands.context(), asked)).kind == "Pod"

    async def test_a_workload_that_is_not_there_is_not_found(self, hands: Hands) -> None:
        with pytest.raises(ToolError) as refused:
            await workloads.get(hands.context(), OfWorkload(tenant=hands.tenant, name="none"))
        assert refused.value.code is Code.NOT_FOUND
        assert "workload_list" in refused.value.hint

    async def logs(self, hands: Hands, name: str, **more: Any) -> list[dict[str, Any]]:
        asked = WorkloadLogs(tenant=hands.tenant, name=name, **more)
        return [piece async for piece in workloads.read_logs(hands.context(), asked)]

    async def test_logs_of_several_pods_are_told_apart(self, hands: Hands) -> None:
        await hands.apply("apps/v1/Deployment", "web", **deployment(replicas=2))

        async def both() -> list[dict[str, Any]] | None:
            pieces = await self.logs(hands, "web")
            return pieces if pieces[0].get("text", "").count("] hello\n") == 2 else None

        pieces = await eventually(both)
        assert pieces[0]["text"].startswith("[web-")
        assert pieces[-1] == {"done": True, "pods": 2}

    async def test_the_log_before_a_restart_is_told(self, hands: Hands) -> None:
        crash = deployment(command=["sh", "-c", "echo why; exit 4"])
        await hands.apply("apps/v1/Deployment", "crash", **crash)

        async def before() -> bool:
            return {"text": "why\n"} in await self.logs(hands, "crash", previous=True)

        await eventually(before)

        async def told() -> bool:
            wrong = (await listed(hands))["crash"].wrong
            return wrong.startswith("CrashLoopBackOff") and "exit code 4" in wrong

        await eventually(told)

    async def test_a_followed_log_comes_as_it_is_written(self, hands: Hands) -> None:
        script = "echo one; sleep 0.3; echo two"
        once = {"name": "main", "image": "busybox:1.37", "command": ["sh", "-c", script]}
        await hands.apply("v1/Pod", "once", spec={"containers": [once], "restartPolicy": "Never"})

        async def begun() -> bool:
            return bool((await self.logs(hands, "once"))[0].get("text"))

        await eventually(begun)
        pieces = await self.logs(hands, "once", follow=True)
        assert pieces == [{"line": "one"}, {"line": "two"}, {"done": True, "pods": 1}]

    async def test_a_workload_without_pods_says_so(self, hands: Hands) -> None:
        await hands.apply("apps/v1/Deployment", "idle", **deployment(replicas=0))
        pieces = await self.logs(hands, "idle")
        assert pieces == [{"note": "idle has no pods."}, {"done": True, "pods": 0}]

    async def test_what_cannot_be_is_refused(self, hands: Hands) -> None:
        await hands.apply("v1/Pod", "bare", spec={"containers": [PAUSE]})
        with pytest.raises(ToolError, match="has no container none"):
            await self.logs(hands, "bare", container="none")
        with pytest.raises(ToolError, match="previous run has ended"):
            await self.logs(hands, "bare", follow=True, previous=True)
