"""The words that all doors speak: who calls, what comes back, and the gate that it goes through."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from tools.errors import Code, ToolError
from tools.plan import Preview


class Role(StrEnum):
    """A role in a tenant, or over the platform (`operator`); each can do what those before can."""

    VIEWER = "viewer"
    USER = "user"
    ADMIN = "admin"
    OPERATOR = "operator"

    def covers(self, other: "Role") -> bool:
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


class Grant(BaseModel):
    """A role in one tenant. The uid keeps it from passing to a later tenant of the same name."""

    model_config = ConfigDict(frozen=True)
    role: Role
    uid: str


# What comes through these doors is an agent, whoever's token it has.
AGENT_DOORS = ("mcp", "chat")


class Caller(BaseModel):
    """Who calls, as their credential and the door say: never as the caller says."""

    model_config = ConfigDict(frozen=True)
    subject: str
    operator: bool = False
    agent: bool = False
    person: str = Field(description="the person it acts for; themselves, unless an agent")
    grants: Mapping[str, Grant] = {}
    door: str = "internal"
    read_only: bool = False
    toolsets: frozenset[str] | None = None

    def sees(self, tenant: str, tenant_uid: str, person: str = "") -> bool:
        """May they see what is of this tenant, and of this person?"""
        grant = self.grants.get(tenant)
        return (
            self.operator
            or (bool(person) and person == self.person)
            or (grant is not None and grant.uid == tenant_uid)
        )

    @classmethod
    def of(cls, subject: str, **fields: Any) -> "Caller":
        return cls(subject=subject, person=fields.pop("person", subject), **fields)


class State(StrEnum):
    PLANNING = "planning"
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    AWAITING_APPROVAL = "awaiting_approval"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DENIED = "denied"
    REJECTED = "rejected"
    EXPIRED = "expired"
    STALE = "stale"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    UNDOING = "undoing"
    UNDONE = "undone"
    STUCK = "stuck"

    @property
    def waiting(self) -> bool:
        return self in (State.AWAITING_CONFIRMATION, State.AWAITING_APPROVAL)

    @property
    def ended(self) -> bool:
        return not self.waiting and self not in (State.PLANNING, State.RUNNING, State.UNDOING)


class Problem(BaseModel):
    """An error as it leaves the process."""

    code: Code
    message: str
    hint: str = ""
    retry_after: float | None = None

    @classmethod
    def of(cls, error: ToolError) -> "Problem":
        return cls(
            code=error.code, message=error.message, hint=error.hint, retry_after=error.retry_after
        )


class Outcome(BaseModel):
    """What became of a call, the same through every door.

    A read has `answer`. A write has `call_id`, `digest`, what it would do or did (`summary`,
    `changes`), and while it waits: `why`, `expires` and `next`, how a person goes on. A preview
    has `why` where it would wait.
    """

    model_config = ConfigDict(defer_build=True)
    state: State
    tool: str
    call_id: str | None = None
    answer: dict[str, Any] | None = None
    summary: str = ""
    digest: str = ""
    changes: list[Preview] = []
    notes: list[str] = []
    undo: Literal["exact", "recreates", "none", ""] = ""
    why: str = ""
    expires: datetime | None = None
    next: str = ""
    error: Problem | None = None

    @property
    def failed(self) -> bool:
        return self.error is not None


# Progress of a long call: a line for people, and how much of how much is done where known.
Progress = Callable[[str, float | None, float | None], Awaitable[None]]


class ToolInfo(BaseModel):
    """A tool as a door shows it."""

    name: str
    title: str
    description: str
    group: str
    effect: Literal["read", "stream", "write", "decide"]
    destructive: bool
    idempotent: bool
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


class Gate(Protocol):
    """The one way to the tools. `server/gate.py` is it; a client of a running server is another."""

    async def tools(self, caller: Caller) -> list[ToolInfo]:
        """What this caller may be shown. A convenience: `call` checks again."""
        ...

    async def call(
        self,
        caller: Caller,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        key: str | None = None,
        preview: bool = False,
        wait_s: float | None = None,
        progress: Progress | None = None,
    ) -> Outcome:
        """Call a tool. Never raises for what the caller or a backend did: see `Outcome.error`.

        `key` makes a write happen once however often it is sent. `preview` stops after the plan.
        `wait_s` is how long to wait for a write to end before answering `running`.
        """
        ...

    def stream(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """Call a tool of effect STREAM, piece by piece. Raises `ToolError`."""
        ...
