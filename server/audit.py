"""Every call on record, in a chain. Reads come by the thousand, and a commit costs: they are
written in batches; whoever changed something waits until it is on record."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import sqlalchemy as sa
import structlog

from server import anchors, chain
from server.journal import Journal, audit, calls, insert
from server.records import Call
from tools.calls import Caller, Outcome, Problem, State
from tools.errors import ToolError

log = structlog.get_logger(__name__)

EVERY_S = 1.0
AT_ONCE = 500
MOST_HELD = 100_000
MOST_TEXT = 64
ANCHOR_S = 60.0
ANCHOR_RECORDS = 1000

# What the house itself puts on record. A start after no stop says that reads may be missing: those
# of the last second, which were not written yet.
OURSELVES = Caller.of("pilothouse")
START, STOP, GAP = "server_start", "server_stop", "reads_may_be_missing"
# What is done with the state as a whole, also while no server runs.
BACKUP, ROTATE = OF_THE_STATE = "state_backup", "key_rotate"


class Audit:
    """Takes a record for each call at once and writes them soon after.

    `anchored` is the file that anchors go into; none are made without.
    """

    def __init__(
        self, journal: Journal, clock: Callable[[], datetime], anchored: Path | None = None
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._file = anchored
        self._held: deque[dict[str, Any]] = deque()
        self._dropped = 0
        self._writing = asyncio.Lock()
        self._soon: asyncio.TimerHandle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._head: tuple[int, str] = (0, "")
        self._anchor: tuple[int, float] = (0, monotonic())

    async def start(self) -> None:
        """Record that we begin, and what a crash kept from being recorded."""
        ours = audit.c.tool.notin_(OF_THE_STATE)
        query = sa.select(audit.c.tool).where(ours).order_by(audit.c.seq.desc()).limit(1)
        last = await self._journal.run(lambda c: c.execute(query).scalar())
        crashed = last not in (None, STOP)
        if crashed:
            for row in await self._journal.run(_untold):
                self._hold(**_told(self._journal.vault.opened(calls, row)))
        self._ourselves(START, GAP if crashed else "")
        await self.flush()
        await self.anchor()

    async def stop(self) -> None:
        """Record that we end. It says that nothing is missing."""
        self._ourselves(STOP, GAP if self._dropped else "")
        await self.flush()
        await self.anchor()
        if self._later:
            self._later.cancel()

    def note(
        self,
        *,
        caller: Caller,
        tool: str,
        tenant: str,
        outcome: Outcome,
        policy: str,
        duration_ms: float,
        tenant_uid: str = "",
        decision: str = "",
    ) -> None:
        self._hold(
            time=self._clock(),
            subject=caller.subject,
            person=caller.person,
            door=caller.door,
            tool=_text(tool),
            tenant=_text(tenant),
            tenant_uid=tenant_uid,
            call_id=outcome.call_id or "",
            digest=outcome.digest,
            decision="denied" if outcome.state is State.DENIED else decision,
            policy=policy,
            state=outcome.state.value,
            code=outcome.error.code.value if outcome.error else "",
            duration_ms=round(float(duration_ms), 3),
        )

    def note_call(self, caller: Caller, call: Call, outcome: Outcome, took_ms: float) -> None:
        """With what was decided about a call: that it waits, or how it ended."""
        self.note(
            caller=caller,
            tool=call.tool,
            tenant=call.tenant,
            tenant_uid=call.tenant_uid,
            outcome=outcome,
            decision=call.decision or ("unattended" if call.expires is None else ""),
            policy=call.policy,
            duration_ms=took_ms,
        )

    @asynccontextmanager
    async def of_the_state(self, what: str, subject: str) -> AsyncIterator[None]:
        """Put on record that this user does this with the state as a whole, and how it ends."""
        began, outcome = monotonic(), Outcome(state=State.FAILED, tool=what)
        try:
            yield
            outcome.state = State.SUCCEEDED
        except ToolError as error:
            outcome.error = Problem.of(error)
            raise
        finally:
            self.note(
                caller=Caller.of(subject, door="local"), tool=what, tenant="", policy="",
                outcome=outcome, duration_ms=(monotonic() - began) * 1000,
            )  # fmt: skip
            await self.flush()
            await self.anchor()

    async def flush(self) -> None:
        """Come back when all that was noted is written. What cannot be written is kept for the
        next time."""
        if self._soon:
            self._soon.cancel()
            self._soon = None
        async with self._writing:
            lines = [self._held.popleft() for _ in range(len(self._held))]
            if not lines:
                return
            try:
                self._head = await self._journal.run(lambda c: _append(c, lines))
            except Exception as error:
                self._held.extendleft(reversed(lines))
                if isinstance(error, ToolError):  # the disk is full
                    log.error("audit records not written yet", records=len(lines), why=str(error))
                else:
                    log.exception("audit records not written yet", records=len(lines))
                self._flush_soon()
                return
        if self._file is None:
            return
        seq, when = self._anchor
        if self._head[0] - seq >= ANCHOR_RECORDS or monotonic() - when >= ANCHOR_S:
            await self.anchor()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(ANCHOR_S, self._begin, self.anchor)

    async def anchor(self) -> None:
        """Keep outside of the database how the trail stands. It is done again where it fails."""
        if self._later:
            self._later.cancel()
            self._later = None
        seq, hash = self._head
        if self._file is None or seq == self._anchor[0]:
            return
        self._anchor = seq, monotonic()
        try:
            mac = self._journal.vault.mac
            await asyncio.to_thread(anchors.add, self._file, seq, hash, self._clock(), mac)
        except OSError as error:
            log.error("audit trail not anchored", why=str(error))
        else:
            log.info("audit trail anchored", seq=seq, hash=hash)

    def _ourselves(self, tool: str, code: str) -> None:
        state = State.UNKNOWN if code else State.SUCCEEDED
        self.note(
            caller=OURSELVES, tool=tool, tenant="", policy="", duration_ms=0,
            outcome=Outcome(state=state, tool=tool),
        )  # fmt: skip
        self._held[-1]["code"] = code

    def _hold(self, **line: Any) -> None:
        self._held.append(line)
        while len(self._held) > MOST_HELD:
            self._held.popleft()
            self._dropped += 1
        if len(self._held) == AT_ONCE:
            self._begin(self.flush)
        else:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(EVERY_S, self._begin, self.flush)

    def _begin(self, work: Callable[[], Any]) -> None:
        task = asyncio.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _append(connection: sa.Connection, lines: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """Chain the records on, and give the new head. Who else writes (another server, on
    PostgreSQL) waits for it."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("lock table audit in share row exclusive mode"))
    records = list(chain.linked(lines, *head(connection)))
    insert(connection, audit, records)
    return records[-1]["seq"], records[-1]["hash"]


def head(connection: sa.Connection) -> tuple[int, str]:
    query = sa.select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
    found = connection.execute(query).all()
    return (found[0][0], found[0][1]) if found else (0, "")


def _untold(connection: sa.Connection) -> Sequence[sa.RowMapping]:
    """Calls whose end is in the journal and not in the trail."""
    told = sa.select(audit.c.call_id).where(
        audit.c.call_id == calls.c.id, audit.c.state == calls.c.state
    )
    since = sa.select(sa.func.max(audit.c.time)).where(audit.c.tool == START).scalar_subquery()
    query = sa.select(calls).where(calls.c.updated >= since, ~sa.exists(told))
    return connection.execute(query).mappings().all()


def _told(call: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "time": call["updated"],
        "subject": call["requester"],
        "person": call["person"],
        "door": call["caller"].get("door", ""),
        "tool": _text(call["tool"]),
        "tenant": _text(call["tenant"]),
        "tenant_uid": call["tenant_uid"],
        "call_id": call["id"],
        "digest": call["digest"],
        "decision": call["decision"],
        "policy": call["policy"],
        "state": call["state"],
        "code": (call["error"] or {}).get("code", ""),
        "duration_ms": 0.0,
    }


def _text(sent: str) -> str:
    """What was sent, so that it can be written: one line that cannot holds back all after it."""
    return sent[:MOST_TEXT].encode("ascii", "backslashreplace").decode().replace("\0", "")
