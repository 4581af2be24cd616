"""Every call on record, reads in batches: they come by the thousand, and a commit costs."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog

from server.journal import Journal, audit
from tools.calls import Caller, Outcome

log = structlog.get_logger(__name__)

EVERY_S = 1.0
AT_ONCE = 500
MOST_HELD = 100_000
MOST_TEXT = 64


class Audit:
    """Takes a line for each call at once and writes them soon after."""

    def __init__(self, journal: Journal, clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._clock = clock
        self._lines: deque[dict[str, Any]] = deque(maxlen=MOST_HELD)
        self._soon: asyncio.TimerHandle | None = None
        self._flushing: set[asyncio.Task[None]] = set()

    def note(
        self,
        *,
        caller: Caller,
        tool: str,
        tenant: str,
        outcome: Outcome,
        policy: str,
        duration_ms: float,
    ) -> None:
        self._lines.append(
            {
                "time": self._clock(),
                "subject": caller.subject,
                "person": caller.person,
                "door": caller.door,
                "tool": _text(tool),
                "tenant": _text(tenant),
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

    def _begin(self) -> None:
        if self._soon:
            self._soon.cancel()
            self._soon = None
        task = asyncio.create_task(self.flush())
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)


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
