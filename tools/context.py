"""What a tool is handed: who calls, and ways to look. There is none to change anything with."""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict

from tools.calls import Caller, Outcome, Progress, Role
from tools.errors import Code, ToolError
from tools.plan import Change, Json, Plan, Preview, Ref, Seen
from tools.tiers import Tiers

if TYPE_CHECKING:
    from tools.alerts import Incidents


class Looks(Protocol):
    """How one backend is looked at on behalf of one caller. Nothing here changes anything."""

    async def observe(self, change: Change) -> Seen:
        """What is there now, in the fields that the change writes."""
        ...

    def intended(self, change: Change) -> Json:
        """`change.after` spelt as `observe` would spell it once the change has been made."""
        ...

    async def preview(self, change: Change, plan: Plan) -> Preview:
        """What the change would do; asks the backend (a dry run) where it can be asked.

        Raises `ToolError` with the backend's own words where it would refuse the change.
        """
        ...


class Table(BaseModel):
    """A list as the API server tables it: few bytes, made for reading.

    `rows` hold the cells by their column's name in lower case with underscores (`up_to_date`),
    and `namespace`, `name`. `next` continues the list; `remaining` is how many are left.
    """

    rows: list[dict[str, Any]]
    next: str = ""
    remaining: int | None = None


class Cluster(Looks, Protocol):
    """One cluster, seen with one caller's rights."""

    name: str

    def ref(self, kind: str, name: str, namespace: str = "") -> Ref:
        """A reference into this cluster; `kind` as `apps/v1/Deployment`."""
        ...

    async def get(self, ref: Ref) -> dict[str, Any]:
        """The whole object. Raises `ToolError(NOT_FOUND)`."""
        ...

    async def find(self, ref: Ref) -> dict[str, Any] | None:
        """The whole object, or None where there is none."""
        ...

    async def list(
        self,
        kind: str,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 500,
        next: str = "",
        parts: Literal["metadata", "whole"] = "metadata",
        cached: bool = False,
    ) -> tuple[Sequence[dict[str, Any]], str]:
        """Objects of a kind (one namespace, or all) and what continues the list.

        `cached` takes them from the API server's cache: all of them, maybe a moment old. Otherwise
        it first makes sure that nothing newer is stored, which takes up to 0.1 s for a quiet kind.
        """
        ...

    async def table(
        self,
        kind: str,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 500,
        next: str = "",
        metadata: bool = False,
        cached: bool = False,
    ) -> Table:
        """The server's own table of a kind; with `metadata`, each row has the object's too.
        `cached` as for `list`."""
        ...

    async def kind(self, word: str) -> str:
        """The full kind for what a person would write (`deploy`, `Ingress`, `batch/v1/Job`)."""
        ...

    async def namespaced(self, kind: str) -> bool:
        """Are objects of this kind in namespaces, or of the whole cluster?"""
        ...

    async def logs(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        tail: int | None = None,
        since_s: int | None = None,
        previous: bool = False,
        timestamps: bool = False,
        limit_bytes: int = 1 << 20,
    ) -> str: ...

    def follow(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        tail: int | None = None,
        since_s: int | None = None,
    ) -> AsyncIterator[str]:
        """The log's lines as they come, until the container ends."""
        ...

    def watch(
        self,
        kind: str,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        timeout_s: float = 60,
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """What is there (`ADDED`), then each event, until the time is up."""
        ...

    async def probe(self, kind: str, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        """Dry-run the creation of an object; what would be stored. Raises as `preview` does."""
        ...

    async def allowed(self, verb: str, kind: str, namespace: str = "", name: str = "") -> bool:
        """May this caller do that here (a SelfSubjectAccessReview)?"""
        ...


class Aws(Looks, Protocol):
    """One AWS account and region. `boundary` is the ARN of the policy that bounds every role."""

    at: str
    bucket: str
    boundary: str

    async def connected(self) -> Self:
        """This, once it is known which account the credentials are for; ask before all the rest.
        Raises `ToolError`."""
        ...

    def ref(self, kind: str, name: str) -> Ref: ...

    def arn(self, ref: Ref) -> str:
        """The ARN of a tenant's role or prefix."""
        ...

    async def instances(self, service: Literal["ec2", "rds"]) -> list[dict[str, Any]]:
        """Every instance: `id`, `service`, `name`, `state`, `type`, `zone`, `launched`, and the
        tags `tenant` and `tenant_uid` (empty where there are none)."""
        ...

    async def instance(self, service: Literal["ec2", "rds"], id: str) -> dict[str, Any]:
        """One instance, with `protected` and `loses`: what is lost with a stop or its deletion."""
        ...

    async def prefix_usage(self, prefix: Ref, most: int = 10_000) -> tuple[int, int]:
        """Objects and bytes under a prefix (counted up to `most`)."""
        ...

    def trust(self, tenant: str, cluster: str) -> dict[str, Any]:
        """The trust policy of a tenant's role: IRSA (each cluster has an issuer of its own) or Pod
        Identity, as configured."""
        ...


class TenantRef(BaseModel):
    """Where a tenant is: what the gate needs to know about it on every call."""

    model_config = ConfigDict(frozen=True)
    name: str
    uid: str
    cluster: str
    isolation: str = "namespace"
    deleting: bool = False


class Directory(Protocol):
    """The tenants as the clusters' namespaces say, remembered for a few seconds."""

    async def find(self, name: str) -> TenantRef | None: ...

    async def all(self) -> Sequence[TenantRef]: ...

    def forget(self, name: str) -> None:
        """Look again the next time: it was just changed."""
        ...


class Moment(BaseModel):
    """When what was done while a call was carried out: `begun`, or to the change `what` of it."""

    time: datetime
    did: Literal["begun", "applied", "refused", "undone", "parked", "resumed"]
    what: str = ""


class CallRecord(BaseModel):
    """A call as the journal has it, and what the caller (a person) may do about it."""

    id: str
    tool: str
    tenant: str = ""
    requester: str
    person: str
    agent: bool
    door: str
    arguments: dict[str, Any] = {}
    created: datetime
    updated: datetime
    decided_by: str = ""
    reason: str = ""
    undoes: str = ""
    undone_by: str = ""
    outcome: Outcome
    may: list[Literal["approve", "confirm", "reject", "undo", "retry"]] = []
    timeline: list[Moment] = []


class Calls(Protocol):
    """The journal, as far as this caller may see it, and the decisions that the caller may take.

    Every method raises `ToolError`: NOT_FOUND for what is not there or not theirs to see.
    """

    async def list(
        self, *, state: str = "", tenant: str = "", tool: str = "", limit: int = 50, next: str = ""
    ) -> tuple[Sequence[CallRecord], str]: ...

    async def get(self, id: str) -> CallRecord: ...

    async def wait(self, id: str, timeout_s: float, progress: Progress | None) -> CallRecord: ...

    async def undo_plan(self, id: str) -> Plan: ...

    async def approve(self, id: str, digest: str, reason: str) -> Outcome: ...

    async def confirm(self, id: str, digest: str) -> Outcome: ...

    async def reject(self, id: str, reason: str) -> Outcome: ...

    async def freeze(self, reason: str) -> None: ...

    async def resume(self) -> None: ...

    async def retry(self, id: str) -> Outcome: ...

    async def job_result(self, tenant: str, job: str) -> dict[str, Any] | None:
        """What the journal kept of a Job that is gone: status, exit code, the last of its log."""
        ...


class TokenInfo(BaseModel):
    """A token, without the token: whose it is and what it allows (`tenants`: name to role)."""

    id: str
    subject: str
    person: str
    agent: bool
    operator: bool
    tenants: dict[str, Role] = {}
    created: datetime
    created_by: str
    expires: datetime | None = None
    last_used: datetime | None = None
    revoked: datetime | None = None


class Tokens(Protocol):
    """Who may come in. Every method raises `ToolError`."""

    async def create(
        self,
        by: Caller,
        *,
        sha256: str,
        subject: str,
        tenants: Mapping[str, Role],
        operator: bool,
        agent: bool,
        person: str,
        expires_days: float | None,
    ) -> TokenInfo: ...

    async def list(self) -> Sequence[TokenInfo]: ...

    async def revoke(self, id: str) -> TokenInfo: ...


class AuditLine(BaseModel):
    """One call in the audit trail. `person` is on whose behalf; `decision` is how it was let go
    ahead, or that it was not, and `policy` which policy said so; `state` is what came of it."""

    seq: int
    time: datetime
    subject: str
    person: str
    door: str
    tool: str
    tenant: str
    tenant_uid: str = ""
    call_id: str = ""
    digest: str = ""
    decision: str = ""
    policy: str = ""
    state: str
    code: str = ""
    duration_ms: float
    hash: str = ""


class TrailState(BaseModel):
    """How the audit trail stands: its length, its last hash, and what is wrong with it."""

    records: int
    head: str
    anchors: int
    faults: list[str] = []


class AuditTrail(Protocol):
    """The audit trail. Every method raises `ToolError`."""

    async def search(
        self,
        caller: Caller,
        *,
        tools: Collection[str] | None,
        states: Collection[str],
        tenant: str,
        subject: str,
        since: datetime | None,
        until: datetime | None,
        text: str,
        limit: int,
        next: str,
    ) -> tuple[Sequence[AuditLine], str]:
        """Records that the caller may see, the newest first, and what continues the list."""
        ...

    async def verify(self) -> TrailState: ...


class UserInfo(BaseModel):
    """A user. `state` is invited, active or disabled; `workspaces` are names, with the role."""

    id: str
    subject: str
    email: str = ""
    name: str = ""
    state: str
    operator: bool = False
    issuer: str = ""
    workspaces: dict[str, Role] = {}
    created: datetime | None = None
    created_by: str = ""
    last_used: datetime | None = None


class People(Protocol):
    """Who signs in. Every method raises `ToolError`."""

    async def account(self, caller: Caller) -> UserInfo: ...

    async def list(self) -> Sequence[UserInfo]: ...

    async def get(self, id: str) -> UserInfo: ...

    async def create(
        self,
        by: Caller,
        *,
        email: str,
        name: str,
        operator: bool,
        invitation: str,
        password_hash: str,
    ) -> UserInfo: ...

    async def change(self, by: Caller, id: str, **values: Any) -> UserInfo:
        """`name`, `operator`, `disabled` and `invitation`, where they are given."""
        ...

    async def delete(self, id: str) -> UserInfo: ...


class WorkspaceInfo(BaseModel):
    """A workspace: the names of its tenants, and its members' roles in all of them."""

    id: str
    name: str
    description: str = ""
    tenants: list[str] = []
    members: dict[str, Role] = {}
    created: datetime
    created_by: str


class Workspaces(Protocol):
    """Workspaces, as far as a caller may see or change them. Every method raises `ToolError`."""

    async def list(self, caller: Caller) -> Sequence[WorkspaceInfo]: ...

    async def get(self, caller: Caller, id: str) -> WorkspaceInfo: ...

    async def create(
        self,
        by: Caller,
        *,
        name: str,
        description: str,
        tenants: Sequence[str],
        members: Mapping[str, Role],
    ) -> WorkspaceInfo: ...

    async def change(self, by: Caller, id: str, **values: Any) -> WorkspaceInfo: ...

    async def delete(self, by: Caller, id: str) -> WorkspaceInfo: ...


class Recommendation(BaseModel):
    """A suggestion as it is shown. `monthly` is what it saves a month (negative: costs); `due` says
    when it is likely to fail if nothing is done."""

    id: str
    strategy: str
    state: str
    tenant: str
    cluster: str = ""
    kind: str
    name: str
    container: str = ""
    title: str
    reason: str
    tool: str = ""
    arguments: dict[str, Any] = {}
    confidence: float | None = None
    bound: dict[str, Any] = {}
    evidence: dict[str, Any] = {}
    monthly: float = 0.0
    currency: str = ""
    due: str = ""
    risk: str = "low"
    notes: list[str] = []
    created: datetime
    updated: datetime
    expires: datetime | None = None
    decided_by: str = ""
    why: str = ""
    call_id: str = ""
    outcome: dict[str, Any] = {}


class Recommendations(Protocol):
    """Suggestions, as far as a caller may see them. Every method raises `ToolError`."""

    async def list(
        self,
        caller: Caller,
        *,
        tenant: str,
        state: str,
        strategy: str,
        sort: str,
        limit: int,
        next: str,
    ) -> tuple[Sequence[Recommendation], str, Sequence[str]]:
        """Suggestions, what continues the list, and what is to be known about the last run."""
        ...

    async def get(self, caller: Caller, id: str) -> Recommendation: ...

    async def reject(self, caller: Caller, id: str, reason: str) -> Recommendation: ...

    async def later(self, caller: Caller, id: str, days: float) -> Recommendation: ...

    async def analyze(self, caller: Caller, tenant: str, progress: Progress) -> Any: ...

    async def scores(self) -> Mapping[str, dict[str, Any]]:
        """How those of each strategy did; `saved` and `lately` are of this month (in UTC)."""
        ...

    async def picture(self, caller: Caller, id: str, format: str, dark: bool) -> bytes:
        """The past that it speaks of, and what it proposes."""
        ...


class Chat(Protocol):
    """Who is who in chat. Every method raises `ToolError` for a code that is spent or too old."""

    async def code(self, code: str) -> tuple[str, str]:
        """Whose it is: their id there, and what they are called."""
        ...

    async def link(self, code: str, caller: Caller) -> tuple[str, str]:
        """From now on they are this caller."""
        ...


class Metrics(Protocol):
    """A Prometheus, asked for a tool. Every method raises `ToolError`; spans are in seconds."""

    async def query(self, expr: str, limit: int) -> Any: ...

    async def range(self, expr: str, last_s: float, points: int, limit: int) -> Any: ...

    async def usage(self, ref: Ref, last_s: float, points: int) -> Any: ...

    async def services(
        self, tenants: Collection[str] | None, service: str, last_s: float, points: int
    ) -> Any:
        """CPU, memory and network by tenant (None: of all), of one service where it is named."""
        ...

    async def past(
        self, tenants: Collection[str] | None, service: str, last_s: float, points: int
    ) -> Any:
        """The same from what was kept of it."""
        ...


# Of each thing that Pilothouse depends on: `ok`, `ms`, and `error` where it is not.
Health = Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]]


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
