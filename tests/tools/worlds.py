"""A world with tenants in it: a cluster, an AWS account, and hands that carry plans out."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from server.executor.kubernetes import KubeWrites
from server.previews import previewed
from tests.tools.conftest import eventually
from tools.calls import Caller
from tools.context import Context
from tools.directory import TenantDirectory
from tools.plan import Change, Plan, Preview, Ref, in_order
from tools.tiers import DEFAULT_TIERS, Isolation, Tiers

OPERATOR = Caller.of("olga", operator=True)


async def _silent(text: str, done: float | None, of: float | None) -> None:
    pass


@dataclass
class World:
    """`clusters` by name, the first the default one; `aws` if there is an account."""

    clusters: Mapping[str, KubeWrites]
    aws: Any = None
    isolation: Isolation = field(default_factory=Isolation)
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tenants = TenantDirectory(self.clusters, lambda: 0.0, ttl_s=0)

    def name(self) -> str:
        """A name that nobody has; what is left of it goes when the test ends."""
        self.names.append(f"tt-{uuid.uuid4().hex[:8]}")
        return self.names[-1]

    @property
    def cluster(self) -> KubeWrites:
        return next(iter(self.clusters.values()))

    async def context(self, tenant: str = "", caller: Caller = OPERATOR) -> Context:
        where = await self.tenants.find(tenant) if tenant else None
        return Context(
            caller=caller,
            call_id="c1",
            tenant=where,
            cluster=self.clusters[where.cluster] if where else self.cluster,
            clusters=self.clusters,
            aws=self.aws,
            tenants=self.tenants,
            calls=None,  # type: ignore[arg-type]
            tiers=Tiers(tiers=DEFAULT_TIERS, isolation=self.isolation),
            now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            progress=_silent,
        )

    def writes(self, ref: Ref) -> Any:
        return self.aws if ref.backend == "aws" else self.clusters[ref.at]

    async def ask(self, tool: Callable[..., Awaitable[Any]], args: Any, **how: Any) -> Any:
        return await tool(await self.context(getattr(args, "tenant", "") or "", **how), args)

    async def plan(self, tool: Callable[..., Awaitable[Plan]], args: Any) -> Plan:
        return (await self.preview(tool, args))[0]

    async def preview(
        self, tool: Callable[..., Awaitable[Plan]], args: Any
    ) -> tuple[Plan, list[Preview]]:
        """The plan as the gate shows it: without what is as it should be already."""
        return await previewed(await self.ask(tool, args), self.writes)

    async def do(self, tool: Callable[..., Awaitable[Plan]], args: Any) -> Plan:
        return await self.carry_out(await self.plan(tool, args))

    async def undo(self, plan: Plan) -> Plan:
        plan, _ = await previewed(Plan.of("undo", plan.inverse()), self.writes)
        return await self.carry_out(plan)

    async def carry_out(self, plan: Plan) -> Plan:
        """Each change after those that it needs, and waited for."""
        for change in in_order(plan.changes):
            await self.writes(change.ref).apply(change, "c1")
            await eventually(lambda change=change: self._settled(change))
        return plan

    async def _settled(self, change: Change) -> bool:
        return not await self.writes(change.ref).settled(change)

    async def clean(self) -> None:
        for cluster in self.clusters.values():
            for name in self.names:
                paths = [f"/api/v1/namespaces/{name}"]
                for kind in ("policies", "policybindings"):
                    group = "/apis/admissionregistration.k8s.io/v1"
                    paths.append(f"{group}/mutatingadmission{kind}/pilothouse-pool-{name}")
                await asyncio.gather(
                    *(cluster.api.request("DELETE", path) for path in paths),
                    return_exceptions=True,
                )
