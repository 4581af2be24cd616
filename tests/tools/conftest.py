"""What the tests of the tools share: a context to hand to a tool, and what its plan leads to."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import Kube
from tools.calls import Caller
from tools.context import Context
from tools.holdings import TenantRef
from tools.plan import Apply, Plan, in_order
from tools.tiers import DEFAULT_TIERS, Tiers

DEADLINE_S = 60.0


@dataclass
class Kept:
    """The journal's part that the tools of Jobs ask."""

    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def job_result(self, tenant: str, job: str) -> dict[str, Any] | None:
        return self.results.get(job)


async def _silent(text: str, done: float | None, of: float | None) -> None:
    pass


def context(cluster: Any, tenant: str, caller: Caller | None = None, kept: Any = None) -> Context:
    where = TenantRef(name=tenant, uid="u1", cluster=getattr(cluster, "name", "test"))
    return Context(
        caller=caller or Caller.of("alice"),
        call_id="c1",
        tenant=where,
        cluster=cluster,
        clusters={},
        aws=None,
        tenants=None,  # type: ignore[arg-type]
        calls=kept or Kept(),
        tiers=Tiers(tiers=DEFAULT_TIERS),
        now=datetime.now(UTC),
        progress=_silent,
    )


@dataclass
class Hands:
    """A namespace, and hands to change it with: plans are carried out as the engine does it."""

    writes: Any
    tenant: str
    kept: Kept = field(default_factory=Kept)

    def context(self, caller: Caller | None = None) -> Context:
        return context(self.writes, self.tenant, caller, self.kept)

    async def carry_out(self, plan: Plan) -> Plan:
        """Preview it, make each change, and wait until it has taken effect. The plan as seen."""
        seen = []
        for change in in_order(plan.changes):
            looked = change.model_copy(update={"seen": await self.writes.observe(change)})
            await self.writes.preview(looked, plan)
            await self.writes.apply(looked, "c1")
            await eventually(lambda change=looked: self._settled(change))
            seen.append(looked)
        return plan.model_copy(update={"changes": tuple(seen)})

    async def _settled(self, change: Any) -> bool:
        return not await self.writes.settled(change)

    async def undo(self, plan: Plan) -> None:
        await self.carry_out(Plan.of("undo", plan.inverse()))

    async def apply(self, kind: str, name: str, **body: Any) -> None:
        """Have an object there, as its owner would."""
        ref = self.writes.ref(kind, name, self.tenant)
        await self.writes.apply(Apply(id="x", ref=ref, body=body), "c0")

    async def get(self, kind: str, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self.writes.find(
            self.writes.ref(kind, name, self.tenant)
        )
        return found


@pytest.fixture
async def hands(kube: Kube, namespace: str) -> Hands:
    from server.executor.kubernetes import KubeWrites

    return Hands(KubeWrites(kube.api), namespace)


async def eventually(true: Callable[[], Awaitable[Any]], deadline_s: float = DEADLINE_S) -> Any:
    """What is asked, asked again until it is true."""
    until = time.monotonic() + deadline_s
    while not (found := await true()):
        assert time.monotonic() < until, "it never came true"
        await asyncio.sleep(0.05)
    return found


def deployment(image: str = "nginx:1.27", replicas: int = 1, **container: Any) -> dict[str, Any]:
    """The body of a Deployment of pods that run on."""
    main = {"name": "main", "image": image, "command": ["sh", "-c", "echo hello; sleep 3600"]}
    pods = {"containers": [main | container], "terminationGracePeriodSeconds": 0}
    marks = {"app": "it"}
    return {
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": marks},
            "template": {"metadata": {"labels": marks}, "spec": pods},
        }
    }


async def run_job(hands: Hands, script: str, **more: Any) -> str:
    """Have a Job run a script; its name."""
    from tools import jobs

    command = ["sh", "-c", script]
    asked = jobs.JobCreate(tenant=hands.tenant, image="busybox:1.37", command=command, **more)
    plan = await jobs.create(hands.context(), asked)
    await hands.carry_out(plan)
    return str(plan.result["name"])


async def job_log(hands: Hands, name: str, **more: Any) -> list[dict[str, Any]]:
    """All pieces of a Job's log."""
    from tools import job_logs, logs

    asked = logs.LogArguments(tenant=hands.tenant, name=name, **more)
    return [piece async for piece in job_logs.read_logs(hands.context(), asked)]
