"""What one caller may see of the journal, and what they may decide there."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from server.carrier import Carrier, Reach
from server.journal import calls
from server.policy import Question, Verdict
from server.records import Call, Records
from server.undoing import undo_plan
from tools.calls import Caller, Outcome, Progress, State
from tools.errors import Code, ToolError
from tools.holdings import Advance, CallRecord, Directory, Moment
from tools.plan import Plan

MOST_MOMENTS = 200
MAY_S = 3.0
WAITING = (State.AWAITING_CONFIRMATION, State.AWAITING_APPROVAL)


@dataclass
class Decisions:
    """The `Calls` protocol of `tools/context.py` for one caller.

    `may` asks the policy about a call on behalf of this caller; `reach` gives the backends as the
    call reaches them; `ended` is told of what ends by being decided.
    """

    caller: Caller
    records: Records
    tenants: Directory
    carrier: Carrier
    may: Callable[[Question, Call], Awaitable[Verdict]]
    reach: Callable[[Call], Awaitable[Reach]]
    ended: Callable[[Call], None]
    wait_s: float
    progress: Progress | None = None

    async def list(
        self, *, state: str = "", tenant: str = "", tool: str = "", limit: int = 50, next: str = ""
    ) -> tuple[Sequence[CallRecord], str]:
        where = [self._visible()]
        if state == "waiting":
            where.append(calls.c.state.in_([s.value for s in WAITING]))
        elif state == "decided":
            where.append(calls.c.state.not_in([s.value for s in WAITING]))
        elif state:
            where.append(calls.c.state == _known_state(state).value)
        if tenant:
            where.append(calls.c.tenant == tenant)
        if tool:
            where.append(calls.c.tool == tool)
        found = await self.records.select(*where, limit=limit + 1, before=_before(next))
        more = _after(found[limit - 1]) if len(found) > limit else ""
        listed = found[:limit]
        may = await self._may_each([call for call in listed if call.state.waiting])
        return [c.record().model_copy(update={"may": may.get(c.id, [])}) for c in listed], more

    async def get(self, id: str) -> CallRecord:
        call = await self.call(id)
        more: dict[str, Any] = {
            "may": (await self._may_each([call])).get(call.id, []),
            "timeline": await self._timeline(call),
        }
        if line := self.carrier.lines.get(call.id):
            message, done, of = line
            more["progress"] = Advance(message=message, done=done, of=of)
        return call.record().model_copy(update=more)

    async def wait(self, id: str, timeout_s: float, progress: Progress | None) -> CallRecord:
        call = await self.call(id)
        await self.carrier.wait(call.id, timeout_s, progress)
        return await self.get(call.id)

    async def approve(self, id: str, digest: str, reason: str) -> Outcome:
        call = await self._to_decide(id, digest)
        if call.caller.person == self.caller.person and call.state is State.AWAITING_CONFIRMATION:
            return await self.confirm(id, digest)
        verdict = await self.may("approve", call)
        if not verdict.allowed:
            own = call.caller.person == self.caller.person
            raise ToolError(
                Code.PERMISSION_DENIED,
                f"You may not approve call {call.id}"
                + (": you asked for it yourself." if own else f" ({verdict.policy})."),
                "Another operator, or where the policy says so an admin of the tenant, may.",
            )
        return await self._go_ahead(call, "approved", reason, verdict)

    async def confirm(self, id: str, digest: str) -> Outcome:
        call = await self._to_decide(id, digest)
        verdict = await self.may("confirm", call)
        if not verdict.allowed or call.state is not State.AWAITING_CONFIRMATION:
            raise ToolError(
                Code.PERMISSION_DENIED,
                f"Call {call.id} cannot be confirmed by {self.caller.person} alone"
                f" ({verdict.policy}).",
                "Somebody else has to approve it.",
            )
        return await self._go_ahead(call, "confirmed", "", verdict)

    async def reject(self, id: str, reason: str) -> Outcome:
        call = await self._to_decide(id, "")
        own = call.caller.person == self.caller.person
        if not own and not (await self.may("approve", call)).allowed:
            raise ToolError(
                Code.PERMISSION_DENIED,
                f"You may not reject call {call.id}.",
                "Who asked for it may, and who may approve it.",
            )
        to = State.CANCELLED if own else State.REJECTED
        decided: dict[str, Any] = {
            "decision": to.value,
            "decided_by": self.caller.subject,
            "reason": reason,
        }
        if await self.records.move(call.id, WAITING, to, **decided):
            await self._give_back(call)
            self.ended(call.model_copy(update={"state": to, **decided}))
        return (await self.call(call.id)).outcome()

    async def retry(self, id: str) -> Outcome:
        """Let a stuck call go on."""
        call = await self.call(id)
        if await self.records.move(call.id, [State.STUCK], State.RUNNING, error=None):
            self.carrier.begin(await self.call(call.id))
        return await self._ended_or_running(call.id)

    async def undo_plan(self, id: str) -> Plan:
        call = await self.call(id)
        steps = await self.carrier.ledger.steps(call.id)
        return await undo_plan(call, steps, await self.reach(call))

    async def frozen(self) -> str:
        said = await self.records.get_meta("frozen")
        return f"{said['by']}: {said['reason']}" if said else ""

    async def freeze(self, reason: str) -> None:
        await self.records.set_meta("frozen", {"by": self.caller.subject, "reason": reason})
        self.carrier.engine.running.clear()

    async def resume(self) -> None:
        await self.records.set_meta("frozen", None)
        self.carrier.engine.running.set()

    async def job_result(self, tenant: str, job: str) -> dict[str, Any] | None:
        found = await self.tenants.find(tenant)
        return await self.records.kept_job(tenant, found.uid if found else "", job)

    async def call(self, id: str) -> Call:
        found = await self.records.find(id)
        if found is None or not self.caller.sees(
            found.tenant, found.tenant_uid, found.caller.person
        ):
            raise ToolError(
                Code.NOT_FOUND, f"There is no call {id!r}.", "call_list shows those you may see."
            )
        return found

    async def _timeline(self, call: Call) -> Sequence[Moment]:
        if call.plan is None or call.state.waiting:
            return []
        names = {c.id: c.title for c in call.previews} | {"": ""}
        times = await self.carrier.ledger.times(call.id)
        begun = [Moment(time=times[0][0], did="begun")] if times else []
        done = [
            Moment(time=time, did=did, what=names.get(id, id))
            for time, id, did in times
            if did != "sent"
        ]
        return begun + done[:MOST_MOMENTS]

    async def _may(self, call: Call) -> Sequence[str]:
        if self.caller.agent or self.caller.read_only or call.plan is None:
            return []
        if call.state.waiting:
            own = call.caller.person == self.caller.person
            approves = (await self.may("approve", call)).allowed
            alone = call.state is State.AWAITING_CONFIRMATION
            if own and alone and (await self.may("confirm", call)).allowed:
                return ["confirm", "reject"]
            return ["approve", "reject"] if approves else ["reject"] if own else []
        way = {State.SUCCEEDED: "undo", State.STUCK: "retry"}.get(call.state)
        if way is None or (way == "undo" and not call.plan.changes):
            return []
        if way == "retry" and not self.caller.operator:
            return []
        return [way] if (await self.may("call", call)).allowed else []

    async def _may_each(self, calls: Sequence[Call]) -> dict[str, Sequence[str]]:
        """By the call's id. While the cluster does not say whose a tenant is, nobody may anything;
        what is on record is shown all the same."""
        found: dict[str, Sequence[str]] = {}
        with suppress(ToolError, TimeoutError):
            async with asyncio.timeout(MAY_S):
                for call in calls:
                    found[call.id] = await self._may(call)
        return found

    def _visible(self) -> sa.ColumnElement[bool]:
        if self.caller.operator:
            return sa.true()
        mine = [calls.c.person == self.caller.person]
        for tenant, grant in self.caller.grants.items():
            mine.append(sa.and_(calls.c.tenant == tenant, calls.c.tenant_uid == grant.uid))
        return sa.or_(*mine)

    async def _to_decide(self, id: str, digest: str) -> Call:
        call = await self.call(id)
        if not call.state.waiting:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"Call {call.id} waits for nobody: it is {call.state.value}"
                + (f" (by {call.decided_by})." if call.decided_by else "."),
                "call_get shows what became of it.",
            )
        if digest and digest != call.digest:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"The digest is not that of call {call.id}.",
                "Read the call again: what is decided must be what was shown.",
            )
        if call.expires is not None and call.expires <= self.records.clock():
            await self.carrier.sweep()
            raise ToolError(Code.FAILED_PRECONDITION, f"Call {call.id} expired.", "Ask again.")
        return call

    async def _go_ahead(self, call: Call, how: str, reason: str, by: Verdict) -> Outcome:
        decided: dict[str, Any] = {
            "decision": how,
            "decided_by": self.caller.subject,
            "reason": reason,
        }
        if await self.records.move(call.id, [call.state], State.RUNNING, **decided):
            self.carrier.begin(await self.call(call.id))
        return await self._ended_or_running(call.id)

    async def _ended_or_running(self, id: str) -> Outcome:
        await self.carrier.wait(id, self.wait_s, self.progress)
        return (await self.call(id)).outcome()

    async def _give_back(self, call: Call) -> None:
        if call.undoes:
            await self.records.move(call.undoes, [State.UNDOING], State.SUCCEEDED)


def _known_state(word: str) -> State:
    try:
        return State(word)
    except ValueError:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{word!r} is no state of a call.",
            f"One of: waiting, decided, {', '.join(State)}.",
        ) from None


def _after(call: Call) -> str:
    where = json.dumps([call.created.isoformat(), call.id])
    return base64.urlsafe_b64encode(where.encode()).decode()


def _before(cursor: str) -> tuple[datetime, str] | None:
    if not cursor:
        return None
    try:
        when, id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return datetime.fromisoformat(when), str(id)
    except (ValueError, TypeError):
        raise ToolError(
            Code.INVALID_ARGUMENT, "That is no `next` of this list.", "Leave it out to start over."
        ) from None
