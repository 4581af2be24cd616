"""What a tool is handed: who calls, what there is to look at, and what Pilothouse holds."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from tools.calls import Caller, Progress
from tools.errors import Code, ToolError
from tools.holdings import (
    AuditTrail,
    Calls,
    Chat,
    Directory,
    Health,
    Metrics,
    People,
    Recommendations,
    TenantRef,
    Tokens,
    Workspaces,
)
from tools.looking import Aws, Cluster
from tools.tiers import Tiers

if TYPE_CHECKING:
    from tools.alerts import Incidents


@dataclass
class Context:
    """Handed to every tool. `cluster` is the tenant's (or the default one), seen with the rights
    that the call runs with; `tenant` is the tenant the call is about, if it is about one."""

    caller: Caller
    call_id: str
    tenant: TenantRef | None
    cluster: Cluster
    clusters: Mapping[str, Cluster]
    aws: Aws | None
    tenants: Directory
    calls: Calls
    tiers: Tiers
    now: datetime
    progress: Progress
    tokens: Tokens | None = None
    people: People | None = None
    workspaces: Workspaces | None = None
    recommendations: Recommendations | None = None
    metrics: Metrics | None = None
    chat: Chat | None = None
    audit: AuditTrail | None = None
    health: Health | None = None
    alerts: "Incidents | None" = None

    async def seen_tenants(self, tenant: str | None = None) -> set[str] | None:
        """The tenants whose things this caller may see, or of them the one; None is all."""
        if self.caller.operator:
            return {tenant} if tenant else None
        found = await asyncio.gather(*(self.tenants.find(name) for name in self.caller.grants))
        grants = self.caller.grants
        mine = {t.name for t in found if t is not None and grants[t.name].uid == t.uid}
        return mine & {tenant} if tenant else mine

    def need_tenant(self) -> TenantRef:
        if self.tenant is None:
            raise ToolError(
                Code.NOT_FOUND, "There is no such tenant.", "tenant_list shows those there are."
            )
        return self.tenant

    def need_aws(self) -> Aws:
        if self.aws is None:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "No AWS account is configured.",
                "Set AWS credentials and the region, and start Pilothouse again.",
            )
        return self.aws

    def need_tokens(self) -> Tokens:
        if self.tokens is None:
            raise _keeps_no("tokens")
        return self.tokens

    def need_audit(self) -> AuditTrail:
        if self.audit is None:
            raise ToolError(
                Code.FAILED_PRECONDITION, "This server keeps no trail.", "Ask the one that does."
            )
        return self.audit

    def need_chat(self) -> Chat:
        if self.chat is None:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "This server is in no chat.",
                "docs/chatops.md says how to put it into Slack.",
            )
        return self.chat

    def need_people(self) -> People:
        if self.people is None:
            raise _keeps_no("users")
        return self.people

    def need_workspaces(self) -> Workspaces:
        if self.workspaces is None:
            raise _keeps_no("workspaces")
        return self.workspaces

    def need_recommendations(self) -> Recommendations:
        if self.recommendations is None:
            raise no_prometheus()
        return self.recommendations

    def need_metrics(self) -> Metrics:
        if self.metrics is None:
            raise no_prometheus()
        return self.metrics


def _keeps_no(what: str) -> ToolError:
    return ToolError(
        Code.FAILED_PRECONDITION, f"This server keeps no {what}.", "Ask the one that does."
    )


def no_prometheus() -> ToolError:
    return ToolError(
        Code.FAILED_PRECONDITION,
        "No Prometheus is configured.",
        "Start Pilothouse with --prometheus URL (or prometheus.url in the settings).",
    )
