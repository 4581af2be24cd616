"""Tools about Pilothouse itself: is what it depends on there, and who did what."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from tools.calls import State
from tools.context import AuditLine, Context
from tools.errors import Code, ToolError
from tools.inputs import Label
from tools.objects import Lean
from tools.tool import Answer, Arguments, Effect, tool

# What people call the states of a call elsewhere.
ALIASES: dict[str, tuple[State, ...]] = {
    "completed": (State.SUCCEEDED,),
    "success": (State.SUCCEEDED,),
    "error": (State.FAILED, State.STUCK),
    "pending": (State.AWAITING_CONFIRMATION, State.AWAITING_APPROVAL),
    "waiting": (State.AWAITING_CONFIRMATION, State.AWAITING_APPROVAL),
}
Word = Annotated[str, Field(max_length=64)]


class StatusAnswer(Answer):
    """`status` is healthy or degraded; each check has `ok`, `ms`, and `error` where it is not."""

    status: str
    checks: dict[str, dict[str, Any]]


class AuditFilter(Arguments):
    type: Word = Field("", description="a tool, or a word of its name: scale")
    status: Word = Field("", description="a call's state, or completed, pending")
    tenant: Label | None = None
    subject: str = Field("", max_length=200)
    since: datetime | None = None
    until: datetime | None = None
    text: str = Field("", max_length=200)
    limit: int = Field(50, ge=1, le=500)
    next: Word = ""


class AuditPage(Lean):
    lines: list[AuditLine]
    next: str = ""


@tool("platform_status", effect=Effect.READ, group="platform", title="Show the platform's health",
      scope="platform")  # fmt: skip
async def status(ctx: Context, nothing: Arguments) -> StatusAnswer:
    """Whether clusters, AWS, Prometheus and the state answer, and how fast."""
    checks = dict(await ctx.health()) if ctx.health else {}
    fine = all(check["ok"] for check in checks.values())
    return StatusAnswer(
        status="healthy" if fine else "degraded", checks={k: dict(v) for k, v in checks.items()}
    )


@tool("audit_list", effect=Effect.READ, group="calls", title="Search the audit trail",
      scope="platform")  # fmt: skip
async def audit(ctx: Context, which: AuditFilter) -> AuditPage:
    """Every call that was made, reads too, newest first: who called what when, and its state."""
    if ctx.audit is None:
        return AuditPage(lines=[])
    found, more = await ctx.audit.search(
        ctx.caller,
        type=which.type,
        states=_states(which.status),
        tenant=which.tenant or "",
        subject=which.subject,
        since=which.since,
        until=which.until,
        text=which.text,
        limit=which.limit,
        next=which.next,
    )
    return AuditPage(lines=list(found), next=more)


def _states(word: str) -> tuple[State, ...]:
    if not word or word in ALIASES:
        return ALIASES.get(word, ())
    try:
        return (State(word),)
    except ValueError:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{word!r} is no state of a call.",
            f"One of: {', '.join((*ALIASES, *State))}.",
        ) from None
