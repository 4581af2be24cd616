"""Alerts that came in, each with what was found about it and what could be done."""

from collections.abc import Sequence, Set
from typing import Any, Literal, Protocol

from pydantic import Field

from tools.context import Context
from tools.holdings import Step
from tools.inputs import Label
from tools.objects import Lean
from tools.tool import Arguments, Effect, tool


class Alert(Lean):
    """One alert of Alertmanager's. Labels and texts are whatever its rule says."""

    name: str
    status: str
    labels: dict[str, str] = {}
    summary: str = ""
    starts: str = ""
    ends: str = ""


class Finding(Lean):
    """What a tool answered when it was asked about an alert, or why it did not."""

    tool: str
    arguments: dict[str, Any]
    answer: dict[str, Any] = {}
    error: str = ""


class Incident(Lean):
    """Alerts that came together about one tenant; `tenant` is empty where they are about none."""

    id: str
    title: str
    status: Literal["firing", "resolved"]
    tenant: str = ""
    tenant_uid: str = ""
    workload: str = ""
    opened: str
    updated: str
    told: int = Field(1, description="how often Alertmanager told of it")
    alerts: list[Alert]
    found: list[Finding] = []
    steps: list[Step] = []


class AlertFilter(Arguments):
    tenant: Label | None = None
    status: Literal["firing", "resolved"] | None = None
    limit: int = Field(20, ge=1, le=100)


class AlertList(Lean):
    incidents: list[Incident]


class Incidents(Protocol):
    """What is kept of alerts."""

    async def list(
        self, tenants: Set[tuple[str, str]] | None, status: str, limit: int
    ) -> Sequence[Incident]:
        """Those of these tenants (name and uid; None is all), the latest first."""
        ...


@tool("alert_list", effect=Effect.READ, group="alerts", title="List alerts", scope="platform")
async def list_(ctx: Context, which: AlertFilter) -> AlertList:
    """What Alertmanager told of: what fired, what was found about it, and what could be done."""
    if ctx.alerts is None:
        return AlertList(incidents=[])
    tenants = None
    names = await ctx.seen_tenants(which.tenant)
    if names is not None:
        found = [await ctx.tenants.find(name) for name in sorted(names)]
        tenants = {(t.name, t.uid) for t in found if t is not None}
    kept = await ctx.alerts.list(tenants, which.status or "", which.limit)
    return AlertList(incidents=list(kept))
