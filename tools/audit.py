"""Tools to read the audit trail: who called what, what was decided, and whether it is whole."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import Field

from tools.calls import Role, State
from tools.context import Context
from tools.errors import Code, ToolError
from tools.holdings import AuditLine, TrailState
from tools.objects import Lean
from tools.tool import Arguments, Effect, Tool, catalog, tool

When = Annotated[str, Field(max_length=40)]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


# What people call the states of a call elsewhere.
ALIASES: dict[str, tuple[State, ...]] = {
    "completed": (State.SUCCEEDED,),
    "success": (State.SUCCEEDED,),
    "error": (State.FAILED, State.STUCK),
    "pending": (State.AWAITING_CONFIRMATION, State.AWAITING_APPROVAL),
    "waiting": (State.AWAITING_CONFIRMATION, State.AWAITING_APPROVAL),
}


class AuditFilter(Arguments):
    type: str = Field(
        "", max_length=64, description="a tool, a group, what was done (scale, create), changes"
    )
    status: str = Field("", max_length=32, description="a call's state, or completed, pending")
    tenant: str = Field("", max_length=63)
    subject: str = Field("", max_length=128, description="who called, or on whose behalf")
    since: When = Field("", description="2h, 7d, or an ISO time")
    until: When = ""
    text: str = Field("", max_length=200, description="anywhere in it")
    limit: int = Field(50, ge=1, le=500)
    next: str = Field("", max_length=20)
    hashes: bool = False


class Line(AuditLine, Lean):
    """One call: `person` is on whose behalf, `policy` what decided it, `state` what came of it."""


class AuditPage(Lean):
    lines: list[Line]
    next: str = ""


@tool("audit_list", effect=Effect.READ, group="audit", title="Search the audit trail",
      scope="platform")  # fmt: skip
async def listed(ctx: Context, asked: AuditFilter) -> AuditPage:
    """Who called what, what was decided by which policy, and how it went, newest first."""
    found, more = await ctx.need_audit().search(
        ctx.caller,
        tools=_tools(asked.type),
        states=_states(asked.status),
        tenant=asked.tenant,
        subject=asked.subject,
        since=moment(asked.since, ctx.now),
        until=moment(asked.until, ctx.now),
        text=asked.text,
        limit=asked.limit,
        next=asked.next,
    )
    less = None if asked.hashes else {"hash"}
    rows = [Line.model_validate(record.model_dump(exclude=less)) for record in found]
    return AuditPage(lines=rows, next=more)


@tool("audit_verify", effect=Effect.READ, group="audit", title="Verify the audit trail",
      role=Role.OPERATOR, scope="platform")  # fmt: skip
async def verify(ctx: Context, nothing: Arguments) -> TrailState:
    """Look through the whole audit trail for records that were changed, removed or moved."""
    return await ctx.need_audit().verify()


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


def _tools(type: str) -> list[str] | None:
    """The names that are meant. What names no tool stands for itself: a sign-in, a start."""
    if not type:
        return None
    return [
        tool.name
        for tool in catalog().values()
        if type in (tool.name, tool.group, _action(tool))
        or (type == "changes" and tool.changes_things)
    ] or [type]


def _action(tool: Tool) -> str:
    """What was done to the platform: a token is Pilothouse's own, and its `token_create` none."""
    return tool.name.rpartition("_")[2] if tool.effect is Effect.WRITE else ""


def moment(text: str, now: datetime) -> datetime | None:
    """A moment as an ISO time (UTC where it has no zone), or as how long ago (`2h`). Raises
    `ToolError`."""
    if not text:
        return None
    try:
        if span := re.fullmatch(r"(\d{1,6})([smhdw])", text, re.ASCII):
            return now - timedelta(seconds=int(span[1]) * UNITS[span[2]])
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{text!r} is no moment.",
            "Such as 30m, 2h, 7d, 2026-11-21 or 2026-11-21T13:00:00Z.",
        ) from None
