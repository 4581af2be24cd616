"""What Pilothouse itself holds, as tools see it: tenants, calls, tokens, people, advice."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from tools.calls import Caller, Outcome, Progress, Role
from tools.plan import Plan, Ref


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


class Advance(BaseModel):
    """How far a call is that is being carried out: what happens now, and how many of its changes
    have taken effect."""

    message: str
    done: float
    of: float


class CallRecord(BaseModel):
    """A call as the journal has it, and what the caller (a person) may do about it: of a list,
    only of those that wait."""

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
    progress: Advance | None = None


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

    async def frozen(self) -> str:
        """Who stopped all carrying out, and why; empty while it goes on."""
        ...

    async def freeze(self, reason: str) -> None: ...

    async def resume(self) -> None: ...

    async def retry(self, id: str) -> Outcome: ...

    async def job_result(self, tenant: str, job: str) -> dict[str, Any] | None:
        """What the journal kept of a Job that is gone: status, exit code, the last of its log."""
        ...


class TokenInfo(BaseModel):
    """A token, without the token: whose it is and what it allows (`tenants`: name to role). One
    whose `person` is `*` speaks for who is linked in Slack, and allows nothing else."""

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
        slack: bool = False,
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


class Step(BaseModel):
    """What could be done: a call that nobody has made."""

    title: str
    tool: str
    arguments: dict[str, Any]

    @property
    def call(self) -> str:
        """As it is said on the command line and in chat."""
        return " ".join([self.tool, *(f"{name}={given}" for name, given in self.arguments.items())])


class Recommendation(BaseModel):
    """A suggestion as it is shown. `monthly` is what it saves a month (negative: costs); `due` says
    when it is likely to fail if nothing is done. `blocked` is why its call would be refused as
    things are, in the words of who refuses it, and `first` the call that makes it possible."""

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
    blocked: str = ""
    first: Step | None = None


class AnalysisRun(BaseModel):
    """The last analysis of everything. `found` is how many suggestions it came to, `new` how many
    of them were not there before; `next` is when it is due again, where that is on a schedule."""

    state: str
    by: str | None = None
    started: datetime
    seconds: float | None = None
    found: int | None = None
    new: int | None = None
    warnings: list[str] = []
    next: datetime | None = None


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

    async def last(self, caller: Caller) -> AnalysisRun | None:
        """How the last analysis went; only operators are told of other people's workloads."""
        ...

    async def scores(self, caller: Caller) -> Mapping[str, dict[str, Any]]:
        """How those of each strategy did that the caller may see; `saved` and `lately` are of this
        month (in UTC)."""
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
