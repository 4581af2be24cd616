"""Tools about calls themselves: what was asked for, what waits, and deciding about it."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from tools.calls import Outcome, Role
from tools.context import Context
from tools.holdings import CallRecord
from tools.plan import Plan
from tools.tool import Answer, Arguments, Effect, tool

CallId = Annotated[str, Field(min_length=3, max_length=32)]
Reason = Annotated[str, Field(max_length=500)]
# Whoever asked is to know why not.
Why = Annotated[str, Field(min_length=1, max_length=500)]


class CallName(Arguments):
    id: CallId


class CallFilter(Arguments):
    state: str = Field("", max_length=32, description="one state, waiting or decided")
    tenant: str = Field("", max_length=63)
    tool: str = Field("", max_length=64)
    limit: int = Field(20, ge=1, le=200)
    next: str = Field("", max_length=300)


class CallWait(Arguments):
    id: CallId
    wait_s: float = Field(25, ge=0, le=600)


class Decision(Arguments):
    id: CallId
    digest: str = Field("", max_length=64, description="what was shown; checked when given")
    reason: Reason = ""


class Rejection(Arguments):
    id: CallId
    reason: Why


class Freeze(Arguments):
    reason: Reason = ""


class CallRow(BaseModel):
    id: str
    tool: str
    tenant: str
    state: str
    summary: str
    requester: str
    created: str
    may: list[str] | None = None


class CallList(Answer):
    """`may` is what this person may do about a call that waits; `frozen`, who stopped all carrying
    out, and why."""

    calls: list[CallRow]
    next: str = ""
    frozen: str | None = None


class CallAnswer(Answer):
    """A call, whole."""

    call: dict[str, Any]


class Frozen(Answer):
    frozen: bool


@tool("call_list", effect=Effect.READ, group="calls", title="List calls", scope="platform")
async def call_list(ctx: Context, which: CallFilter) -> CallList:
    """Calls that changed things or wait for a decision, newest first."""
    found, more = await ctx.calls.list(
        state=which.state,
        tenant=which.tenant,
        tool=which.tool,
        limit=which.limit,
        next=which.next,
    )
    frozen = await ctx.calls.frozen()
    return CallList(calls=[_row(record) for record in found], next=more, frozen=frozen or None)


@tool("call_get", effect=Effect.READ, group="calls", title="Show a call", scope="platform")
async def call_get(ctx: Context, which: CallName) -> CallAnswer:
    """One call: who asked, its diff, why it waits and until when, what became of it."""
    return _whole(await ctx.calls.get(which.id))


@tool("call_wait", effect=Effect.READ, group="calls", title="Wait for a call", scope="platform")
async def call_wait(ctx: Context, which: CallWait) -> CallAnswer:
    """Wait until a running call has ended, at most wait_s seconds, and show it."""
    return _whole(await ctx.calls.wait(which.id, which.wait_s, ctx.progress))


@tool(
    "call_undo",
    effect=Effect.WRITE,
    group="calls",
    title="Undo a call",
    scope="platform",
    idempotent=False,
)
async def call_undo(ctx: Context, which: CallName) -> Plan:
    """Plan and carry out the reverse of a call that succeeded; its preview says what stays lost."""
    return await ctx.calls.undo_plan(which.id)


@tool(
    "call_approve",
    effect=Effect.DECIDE,
    group="calls",
    title="Approve a call",
    scope="platform",
    people_only=True,
)
async def call_approve(ctx: Context, decision: Decision) -> Outcome:
    """Let a waiting call go ahead."""
    return await ctx.calls.approve(decision.id, decision.digest, decision.reason)


@tool(
    "call_confirm",
    effect=Effect.DECIDE,
    group="calls",
    title="Confirm a call",
    scope="platform",
    people_only=True,
)
async def call_confirm(ctx: Context, decision: Decision) -> Outcome:
    """Let what was asked for in one's own name go ahead."""
    return await ctx.calls.confirm(decision.id, decision.digest)


@tool(
    "call_reject",
    effect=Effect.DECIDE,
    group="calls",
    title="Reject a call",
    scope="platform",
    people_only=True,
)
async def call_reject(ctx: Context, rejection: Rejection) -> Outcome:
    """End a waiting call without carrying it out."""
    return await ctx.calls.reject(rejection.id, rejection.reason)


@tool(
    "call_retry",
    effect=Effect.DECIDE,
    group="calls",
    title="Retry a stuck call",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
)
async def call_retry(ctx: Context, which: CallName) -> Outcome:
    """Let a call go on that could neither be finished nor taken back."""
    return await ctx.calls.retry(which.id)


@tool(
    "calls_freeze",
    effect=Effect.DECIDE,
    group="calls",
    title="Freeze",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
)
async def calls_freeze(ctx: Context, freeze: Freeze) -> Frozen:
    """Stop carrying out anything, at once, until calls_resume."""
    await ctx.calls.freeze(freeze.reason)
    return Frozen(frozen=True)


@tool(
    "calls_resume",
    effect=Effect.DECIDE,
    group="calls",
    title="Resume",
    role=Role.OPERATOR,
    scope="platform",
    people_only=True,
)
async def calls_resume(ctx: Context, nothing: Arguments) -> Frozen:
    """Let carrying out go on after calls_freeze."""
    await ctx.calls.resume()
    return Frozen(frozen=False)


def _row(record: CallRecord) -> CallRow:
    return CallRow(
        id=record.id,
        tool=record.tool,
        tenant=record.tenant,
        state=record.outcome.state.value,
        summary=record.outcome.summary,
        requester=record.requester,
        created=record.created.isoformat(timespec="seconds"),
        may=list(record.may) or None,
    )


def _whole(record: CallRecord) -> CallAnswer:
    return CallAnswer(call=record.model_dump(mode="json", exclude_defaults=True))
