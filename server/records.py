"""Calls as the journal keeps them, and the few ways in which they move from state to state."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import sqlalchemy as sa
from pydantic import BaseModel

from server.journal import Journal, calls, job_results, keys, meta
from tools.calls import Caller, Outcome, Problem, State
from tools.errors import Code, ToolError
from tools.holdings import CallRecord
from tools.plan import Plan, Preview, canonical

WAYS_ON = {
    State.PLANNING: "Nothing was done. Call it again without preview to go ahead.",
    State.AWAITING_CONFIRMATION: "{person} confirms it: `pilothouse confirm {id}`. "
    "Tell them; then call_wait.",
    State.AWAITING_APPROVAL: "Somebody other than {person} approves it: "
    "`pilothouse approve {id}`. Tell them; call_get shows where it is.",
    State.RUNNING: "call_wait waits for its end.",
    State.UNKNOWN: "It is looked at again until that is known; call_get shows it.",
    State.STALE: "Ask again: it is planned anew from what is there now.",
    State.EXPIRED: "Ask again.",
}

# What else is written in a transaction.
Along: TypeAlias = Callable[[sa.Connection], None]


class Call(BaseModel):
    """A write, from its plan to its end."""

    id: str
    created: datetime
    updated: datetime
    state: State
    tool: str
    arguments: dict[str, Any]
    caller: Caller
    tenant: str = ""
    tenant_uid: str = ""
    digest: str = ""
    plan: Plan | None = None
    previews: list[Preview] = []
    why: str = ""
    policy: str = ""
    expires: datetime | None = None
    decision: str = ""
    decided_by: str = ""
    reason: str = ""
    undoes: str = ""
    undone_by: str = ""
    result: dict[str, Any] | None = None
    error: Problem | None = None

    def outcome(self) -> Outcome:
        way_on = WAYS_ON.get(self.state, "")
        return Outcome(
            state=self.state,
            tool=self.tool,
            call_id=self.id,
            answer=self.result,
            summary=self.plan.summary if self.plan else "",
            digest=self.digest,
            changes=self.previews,
            notes=list(self.plan.notes) if self.plan else [],
            undo=self.plan.undo.value if self.plan else "",
            why=self.why if self.state.waiting else "",
            expires=self.expires if self.state.waiting else None,
            next=way_on.format(person=self.caller.person, id=self.id),
            error=self.error,
        )

    def record(self) -> CallRecord:
        return CallRecord(
            id=self.id,
            tool=self.tool,
            tenant=self.tenant,
            requester=self.caller.subject,
            person=self.caller.person,
            agent=self.caller.agent,
            door=self.caller.door,
            arguments=self.arguments,
            created=self.created,
            updated=self.updated,
            decided_by=self.decided_by,
            reason=self.reason,
            undoes=self.undoes,
            undone_by=self.undone_by,
            outcome=self.outcome(),
        )


class Records:
    """The calls table. Every move names the states it may come from, so that of two that move the
    same call at once exactly one does."""

    def __init__(self, journal: Journal, clock: Callable[[], datetime]) -> None:
        self.journal = journal
        self.clock = clock
        # Told of each call that is there from now on, and of each move.
        self.added: Callable[[Call], None] = lambda call: None
        self.moved: Callable[[str, State, Mapping[str, Any]], None] = lambda id, to, fields: None

    async def add(self, call: Call, *, along: Along | None = None) -> None:
        """`along` is written in the same transaction."""
        row = self.journal.vault.sealed(calls, _row(call))

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.insert(calls), row)
            if along:
                along(connection)

        await self.journal.run(work)
        self.added(call)

    async def move(
        self,
        id: str,
        come_from: Iterable[State],
        to: State,
        *,
        along: Along | None = None,
        **fields: Any,
    ) -> bool:
        """Move a call to a state; False when it was in none of those that it may come from.
        `along` is written in the same transaction."""
        plain = {
            k: v.model_dump(mode="json") if isinstance(v, BaseModel) else v
            for k, v in fields.items()
        }
        sealed = self.journal.vault.sealed(calls, {"id": id, **plain})
        there = sa.select(calls.c.id).where(
            calls.c.id == id, calls.c.state.in_([s.value for s in come_from])
        )
        statement = sa.update(calls).where(calls.c.id == id)
        del sealed["id"]  # to write what is indexed, DuckDB writes the whole row anew
        values = sealed | {"state": to.value, "updated": self.clock()}

        def work(connection: sa.Connection) -> bool:
            if along:
                along(connection)
            # So it does for an update that tells what it moved. The row is ours from here: nobody
            # else has the database, or it is locked.
            ours = connection.dialect.name == "duckdb"
            if not connection.execute(there if ours else there.with_for_update()).all():
                return False
            connection.execute(statement, values)
            return True

        moved = await self.journal.run(work)
        if moved:
            self.moved(id, to, fields)
        return moved

    async def find(self, id: str) -> Call | None:
        """The call of this id, or the only one whose id begins so (three letters or more)."""
        query = sa.select(calls).where(calls.c.id == id)
        rows = await self.journal.run(lambda c: c.execute(query).mappings().all())
        if not rows and len(id) >= 3 and id.isalnum():
            query = sa.select(calls).where(calls.c.id.startswith(id)).limit(2)
            rows = await self.journal.run(lambda c: c.execute(query).mappings().all())
        return self._call(rows[0]) if len(rows) == 1 else None

    async def select(
        self,
        *where: sa.ColumnElement[bool],
        limit: int = 50,
        before: tuple[datetime, str] | None = None,
    ) -> Sequence[Call]:
        """Calls, the newest first, from behind the one made at `before`."""
        query = sa.select(calls).where(*where)
        if before is not None:
            when, id = before
            query = query.where(
                sa.or_(calls.c.created < when, sa.and_(calls.c.created == when, calls.c.id < id))
            )
        query = query.order_by(calls.c.created.desc(), calls.c.id.desc()).limit(limit)
        rows = await self.journal.run(lambda c: c.execute(query).mappings().all())
        return [self._call(row) for row in rows]

    async def in_states(self, *states: State) -> Sequence[Call]:
        return await self.select(calls.c.state.in_([s.value for s in states]), limit=10_000)

    async def waiting_of(self, requester: str) -> int:
        """How many calls of somebody wait for a decision."""
        waiting = [state.value for state in State if state.waiting]
        query = sa.select(sa.func.count()).where(
            calls.c.requester == requester, calls.c.state.in_(waiting)
        )
        return await self.journal.run(lambda c: c.execute(query).scalar() or 0)

    async def claim_key(
        self, requester: str, key: str, tool: str, arguments: Any, call_id: str
    ) -> str:
        """The id of the call that this key belongs to: `call_id` itself when it is the first.

        Raises `ToolError` when the key was used for something else.
        """
        request = hashlib.sha256(canonical([tool, arguments]).encode()).hexdigest()
        now = self.clock()
        mine = sa.and_(keys.c.requester == requester, keys.c.key == key)

        def claim(connection: sa.Connection) -> tuple[str, str]:
            found = connection.execute(sa.select(keys.c.call_id, keys.c.request).where(mine)).all()
            if found:
                return found[0][0], found[0][1]
            row = {"requester": requester, "key": key, "call_id": call_id, "request": request}
            connection.execute(sa.insert(keys).values(**row, created=now))
            return call_id, request

        owner, first = await self.journal.run(claim)
        if first != request:
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"The key {key!r} was used for another call ({owner}).",
                "Take a new key for a new call; the same key repeats the same call.",
            )
        return owner

    async def drop_key(self, call_id: str) -> None:
        """Nothing came of the call: its key may be used again."""
        statement = sa.delete(keys).where(keys.c.call_id == call_id)
        await self.journal.run(lambda c: c.execute(statement) and None)

    async def drop_idle_keys(self, age: timedelta = timedelta(days=30)) -> None:
        """Forget the keys of calls that never came to be (a crash while planning), and old ones."""
        made = sa.select(calls.c.id)
        statement = sa.delete(keys).where(
            sa.or_(keys.c.call_id.not_in(made), keys.c.created < self.clock() - age)
        )
        await self.journal.run(lambda c: c.execute(statement) and None)

    async def get_meta(self, key: str) -> Any:
        query = sa.select(meta.c.value).where(meta.c.key == key)
        return await self.journal.run(lambda c: c.execute(query).scalar())

    async def set_meta(self, key: str, value: Any) -> None:
        def put(connection: sa.Connection) -> None:
            connection.execute(sa.delete(meta).where(meta.c.key == key))
            if value is not None:
                connection.execute(sa.insert(meta).values(key=key, value=value))

        await self.journal.run(put)

    async def same_clusters(self, seen: Mapping[str, str]) -> None:
        """Remember which cluster each name stands for. Raises `ToolError` when one of them now
        stands for another, whose objects the recorded calls do not mean."""
        known: dict[str, str] = await self.get_meta("clusters") or {}
        for name in seen.keys() & known.keys():
            if seen[name] != known[name]:
                raise ToolError(
                    Code.FAILED_PRECONDITION,
                    f"The state belongs to another cluster {name} than the one that answers.",
                    "Check --kubeconfig and --context, or name another --state directory.",
                )
        if seen.keys() - known.keys():
            await self.set_meta("clusters", {**known, **seen})

    async def keep_job(self, tenant: str, uid: str, job: str, result: dict[str, Any]) -> None:
        now = self.clock()
        which = _job(tenant, uid, job)
        row = {"tenant": tenant, "tenant_uid": uid, "job": job, "saved": now, "result": result}
        row = self.journal.vault.sealed(job_results, row)

        def put(connection: sa.Connection) -> None:
            connection.execute(sa.delete(job_results).where(which))
            connection.execute(sa.insert(job_results).values(**row))

        await self.journal.run(put)

    async def kept_job(self, tenant: str, uid: str, job: str) -> dict[str, Any] | None:
        query = sa.select(job_results).where(_job(tenant, uid, job))
        rows = await self.journal.run(lambda c: c.execute(query).mappings().all())
        return self.journal.vault.opened(job_results, rows[0])["result"] if rows else None

    def _call(self, row: Any) -> Call:
        opened = self.journal.vault.opened(calls, row)
        return Call.model_validate(
            {k: v for k, v in opened.items() if k not in ("requester", "person")}
        )


def _job(tenant: str, uid: str, job: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        job_results.c.tenant == tenant,
        job_results.c.tenant_uid == uid,
        job_results.c.job == job,
    )


def _row(call: Call) -> dict[str, Any]:
    row = call.model_dump(mode="json", exclude={"created", "updated", "expires"})
    return row | {
        "created": call.created,
        "updated": call.updated,
        "expires": call.expires,
        "requester": call.caller.subject,
        "person": call.caller.person,
    }
