"""Every call on record, reads in batches: they come by the thousand, and a commit costs."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog

from server.journal import Journal, audit, calls
from tools.calls import Caller, Outcome
from tools.context import AuditLine

log = structlog.get_logger(__name__)

EVERY_S = 1.0
AT_ONCE = 500
MOST_HELD = 100_000
MOST_TEXT = 64
SEARCHED = ("subject", "person", "door", "tool", "tenant", "call_id", "code", "policy")


class Audit:
    """Takes a line for each call at once and writes them soon after."""

    def __init__(self, journal: Journal, clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._clock = clock
        self._lines: deque[dict[str, Any]] = deque(maxlen=MOST_HELD)
        self._last = 0
        self._soon: asyncio.TimerHandle | None = None
        self._flushing: set[asyncio.Task[None]] = set()

    def note(
        self,
        *,
        caller: Caller,
        tool: str,
        tenant: str,
        tenant_uid: str = "",
        outcome: Outcome,
        policy: str,
        duration_ms: float,
    ) -> None:
        now = self._clock()
        self._last = max(self._last + 1, int(now.timestamp() * 1e6))
        self._lines.append(
            {
                "id": f"{self._last:016x}{secrets.token_hex(2)}",
                "time": now,
                "subject": caller.subject,
                "person": caller.person,
                "door": caller.door,
                "tool": _text(tool),
                "tenant": _text(tenant),
                "tenant_uid": tenant_uid,
                "call_id": outcome.call_id or "",
                "state": outcome.state.value,
                "code": outcome.error.code.value if outcome.error else "",
                "policy": policy,
                "duration_ms": duration_ms,
            }
        )
        if len(self._lines) >= AT_ONCE:
            self._begin()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(EVERY_S, self._begin)

    async def flush(self) -> None:
        """Write what is held. What cannot be written is kept for the next time."""
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if not lines:
            return
        try:
            await self._journal.run(lambda c: c.execute(_inserted(lines)) and None)
        except Exception:
            log.exception("audit lines not written", lines=len(lines))
            self._lines.extendleft(reversed(lines))

    async def search(
        self,
        caller: Caller,
        *,
        type: str,
        states: Collection[str],
        tenant: str,
        subject: str,
        since: datetime | None,
        until: datetime | None,
        text: str,
        limit: int,
        next: str,
    ) -> tuple[Sequence[AuditLine], str]:
        """As `tools.context.AuditTrail` has it."""
        await self.flush()
        now = sa.func.coalesce(calls.c.state, audit.c.state)
        columns = [c for c in audit.c if c.name not in ("state", "tenant_uid")]
        query = sa.select(*columns, now.label("state")).select_from(
            audit.outerjoin(calls, audit.c.call_id == calls.c.id)
        )
        wanted = [_seen_by(caller), (now.in_(states) if states else sa.true())]
        if type:
            wanted.append(
                sa.literal("_")
                .concat(audit.c.tool)
                .concat("_")
                .contains(f"_{type}_", autoescape=True)
            )
        if tenant:
            wanted.append(audit.c.tenant == tenant)
        if subject:
            wanted.append(sa.or_(audit.c.subject == subject, audit.c.person == subject))
        if since:
            wanted.append(audit.c.time >= since)
        if until:
            wanted.append(audit.c.time < until)
        if text:
            searched = (getattr(audit.c, name) for name in SEARCHED)
            wanted.append(sa.or_(*(c.icontains(text, autoescape=True) for c in searched)))
        if next:
            wanted.append(audit.c.id < next)
        query = query.where(*wanted).order_by(audit.c.id.desc()).limit(limit + 1)
        rows = await self._journal.run(lambda c: c.execute(query).mappings().all())
        lines = [AuditLine.model_validate(dict(row)) for row in rows[:limit]]
        return lines, lines[-1].id if len(rows) > limit else ""

    def _begin(self) -> None:
        if self._soon:
            self._soon.cancel()
            self._soon = None
        task = asyncio.create_task(self.flush())
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)


def _seen_by(caller: Caller) -> sa.ColumnElement[bool]:
    """One's own, and what was done in one's tenants: as it is with calls."""
    if caller.operator:
        return sa.true()
    mine = [audit.c.person == caller.person]
    for tenant, grant in caller.grants.items():
        mine.append(sa.and_(audit.c.tenant == tenant, audit.c.tenant_uid == grant.uid))
    return sa.or_(*mine)


def _inserted(lines: Sequence[Mapping[str, Any]]) -> sa.Insert:
    """A column at a time: ten times less work than a row at a time, which every read would pay."""
    columns = (
        sa.func.unnest(sa.cast([line[column.name] for line in lines], sa.ARRAY(column.type)))
        for column in audit.c
    )
    return sa.insert(audit).from_select(list(audit.c), sa.select(*columns))


def _text(sent: str) -> str:
    """What was sent, so that it can be written: one line that cannot holds back all after it."""
    return sent[:MOST_TEXT].encode("ascii", "backslashreplace").decode().replace("\0", "")
