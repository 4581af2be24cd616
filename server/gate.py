"""The gate: the one way from every door to every tool.

1 may this caller call this tool on this tenant?   policy
2 are the arguments valid?                         pydantic
3 run the tool: an answer, or a plan + its preview
4 does policy let it go ahead?                     else it waits
5 record it                                        journal
6 carry it out                                     carrier
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from server.admission import Admission, Asked
from server.advisor import APPLY, Advisor
from server.audit import Audit
from server.carrier import Carrier
from server.decisions import Decisions
from server.executor.engine import Engine
from server.keeper import Keeper
from server.masking import Pieces
from server.outcomes import BROKE_DOWN, failure, for_nobody, masked, why
from server.plain import fit_key, plain
from server.policy import Policy, Question, Verdict
from server.previews import previewed
from server.reach import Backends, Bound
from server.records import Call, Records
from server.shortening import shown
from server.streams import Streams, stopping
from server.trail import Trail
from tools.alerts import Incidents
from tools.calls import Caller, Outcome, Progress, State, ToolInfo
from tools.context import Context
from tools.errors import Code, ToolError
from tools.holdings import Chat, Directory, Health, Metrics, People, Tokens, Workspaces
from tools.plan import Plan, digest
from tools.room import name_the_step
from tools.tiers import Tiers
from tools.tool import Effect

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Limits:
    """Times in seconds, sizes in bytes."""

    wait_s: float = 25
    read_s: float = 30
    plan_s: float = 60
    stream_s: float = 3600
    answer_bytes: int = 200_000
    expiry: timedelta = timedelta(hours=24)
    sole_operator: bool = False
    waiting: int = 100  # calls of one requester


class LocalGate:
    """The `Gate` of this process. See `tools/calls.py` for what its methods promise."""

    def __init__(
        self,
        *,
        records: Records,
        engine: Engine,
        policy: Policy,
        backends: Backends,
        tenants: Directory,
        tiers: Tiers,
        audit: Audit,
        tokens: Tokens,
        people: People | None = None,
        workspaces: Workspaces | None = None,
        operators: Callable[[], int],
        still: Callable[[Caller], Caller | None],
        announce: Callable[[Call], None],
        keeper: Keeper,
        advisor: Advisor | None = None,
        measures: Metrics | None = None,
        health: Health | None = None,
        trail: Trail | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`operators` counts the people who are operators; `still` gives a caller the rights that
        they have now, or None; `announce` is told of every call that waits or has ended."""
        self.records = records
        self.policy = policy
        self.backends = backends
        self.tenants = tenants
        self.tiers = tiers
        self.audit = audit
        self.tokens = tokens
        self.people = people
        self.workspaces = workspaces
        self.operators = operators
        self.still = still
        self.announce = announce
        self.limits = limits or Limits()
        self.keeper = keeper
        self.advisor = advisor
        self.measures = measures
        self.chat: Chat | None = None
        self.health = health
        self.trail = trail
        self.alerts: Incidents | None = None  # looked into through this gate
        engine.before = keeper.before
        self.carrier = Carrier(
            records,
            engine,
            engine.ledger,
            self._reach_of,
            keeper.outcome,
            self._noted,
            self._told,
        )
        self.admission = Admission(
            policy,
            tenants,
            backends,
            stands_for={"call_undo": self._undone} | (advisor.stands_for if advisor else {}),
            operators=lambda: self.operators(),
            sole_operator=self.limits.sole_operator,
        )
        self._stopping = False
        self._streams = Streams(self.limits.stream_s)
        self._checked = False

    async def start(self) -> None:
        """Take up what a stop or a crash left unfinished."""
        await self.audit.start()
        await self.records.drop_idle_keys()
        await self.carrier.start()
        self.keeper.start()
        if self.advisor:
            self.advisor.start(self, self.refused)

    async def stop(self, grace_s: float = 20) -> None:
        """Take no more calls, let what runs end or park it."""
        self._stopping = True
        if self.advisor:
            await self.advisor.stop()
        await self.carrier.stop(grace_s)
        self._streams.end()
        await self.keeper.stop()

    async def tools(self, caller: Caller) -> list[ToolInfo]:
        return self.admission.shown(caller)

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
        began = time.perf_counter()
        asked: Asked | None = None
        known: Call | None = None
        try:
            arguments, key = plain(arguments), fit_key(key or None)
            asked = await self._admit(caller, tool, arguments)
            if asked.tool.effect is Effect.WRITE:
                outcome, known = await self._write(asked, key, preview, wait_s, progress)
            elif asked.tool.effect is Effect.STREAM:
                raise ToolError(
                    Code.INVALID_ARGUMENT,
                    f"{tool} answers piece by piece.",
                    "Ask for a stream (over REST: Accept: application/x-ndjson).",
                )
            else:
                outcome = await self._answer(asked, progress)
        except ToolError as error:
            outcome = failure(tool, asked, error)
        except asyncio.CancelledError:  # who asked has gone
            gone = Outcome(state=State.CANCELLED, tool=tool)
            self._note(caller, tool, arguments, asked, gone, began)
            raise
        except Exception:
            log.exception("tool failed", tool=tool)
            outcome = failure(tool, asked, BROKE_DOWN)
        self._note(caller, tool, arguments, asked, outcome, began, known)
        if asked and asked.tool.changes_things and not preview:
            await self.audit.flush()
        return outcome

    async def refused(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> ToolError | None:
        """What a write would be refused with: planned and tried out dry, and not put on record."""
        try:
            await self._planned(await self._admit(caller, tool, arguments), _new_id(), None)
        except ToolError as error:
            return error
        return None

    async def stream(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        began = time.perf_counter()
        asked: Asked | None = None
        outcome = Outcome(state=State.SUCCEEDED, tool=tool)
        clean = Pieces()
        try:
            arguments = plain(arguments)
            asked = await self._admit(caller, tool, arguments)
            if asked.tool.effect is not Effect.STREAM:
                raise ToolError(Code.INVALID_ARGUMENT, f"{tool} does not stream.", "Call it.")
            context = self._context(asked, await self._bind(asked), _new_id(), None)
            pieces: Any = asked.tool.handler(context, asked.arguments)

            async def may() -> Asked:
                return await self._admit(self._still(caller), tool, arguments)

            async with aclosing(self._streams.read(pieces, may)) as read:
                async for piece in read:
                    yield clean.piece(piece)
            for piece in clean.rest():
                yield piece
        except ToolError as error:
            outcome = failure(tool, asked, error)
            raise
        finally:
            self._note(caller, tool, arguments, asked, outcome, began)

    async def _admit(self, caller: Caller, tool: str, arguments: Mapping[str, Any]) -> Asked:
        if self._stopping:
            raise stopping()
        async with _within(self.limits.read_s, "Looking for the tenant"):
            return await self.admission.admit(caller, tool, arguments)

    # ---- 3: an answer

    async def _answer(self, asked: Asked, progress: Progress | None) -> Outcome:
        tool = asked.tool
        limit = self.limits.read_s + getattr(asked.arguments, "wait_s", 0)
        if tool.effect is Effect.DECIDE:
            limit += self.limits.wait_s  # for the end of what it let go ahead
        async with _within(limit, tool.name):
            context = self._context(asked, await self._bind(asked), _new_id(), progress)
            answer = await tool.handler(context, asked.arguments)  # type: ignore[misc]
        if isinstance(answer, Outcome):  # what a decision led to
            return masked(answer)
        plain = answer.model_dump(mode="json", exclude_none=True)
        return Outcome(
            state=State.SUCCEEDED,
            tool=tool.name,
            answer=shown(plain, self.limits.answer_bytes),
        )

    # ---- 3 to 6: a change

    async def _write(
        self,
        asked: Asked,
        key: str | None,
        preview: bool,
        wait_s: float | None,
        progress: Progress | None,
    ) -> tuple[Outcome, Call | None]:
        """What became of it, and the call that it became."""
        id = _new_id()
        if key and not preview:
            requester = asked.caller.subject
            owner = await self.records.claim_key(requester, key, asked.tool.name, asked.raw, id)
            if owner != id:
                return await self._again(owner, wait_s, progress), None
        try:
            planned = await self._planned(asked, id, progress)
            call = await self._judge(asked, planned)
            if preview:
                would = planned.outcome().model_copy(update={"why": call.why})
                return masked(would), None
        except BaseException:
            if key and not preview:
                await asyncio.shield(self.records.drop_key(id))
            raise
        try:
            # A caller that hangs up here must not leave a call that is recorded and never begun.
            await asyncio.shield(self._enter(call))
        except ToolError:
            if key:
                await self.records.drop_key(id)
            raise
        if call.state is State.RUNNING:
            over = await self.carrier.wait(id, self._wait(wait_s), progress)
            call = over or await self.records.find(id) or call
        return masked(call.outcome()), call

    def _wait(self, wait_s: float | None) -> float:
        return self.limits.wait_s if wait_s is None else max(0.0, min(wait_s, 600.0))

    async def _again(self, id: str, wait_s: float | None, progress: Progress | None) -> Outcome:
        """The same call sent again: what became of it."""
        end = time.monotonic() + self.limits.plan_s
        while (call := await self.records.find(id)) is None:  # it is being planned
            if time.monotonic() > end:
                raise ToolError(
                    Code.UNAVAILABLE,
                    "The first call with this key is still being planned.",
                    "Wait.",
                )
            await asyncio.sleep(0.02)
        await self.carrier.wait(id, self._wait(wait_s), progress)
        return masked((await self.records.find(id) or call).outcome())

    async def _planned(self, asked: Asked, id: str, progress: Progress | None) -> Call:
        tool, caller = asked.tool, asked.caller
        async with _within(self.limits.plan_s, f"Nothing was done: planning {tool.name}"):
            bound = await self._bind(asked)
            context = self._context(asked, bound, id, progress)
            try:
                plan: Plan = await tool.handler(context, asked.arguments)  # type: ignore[misc]
                plan, previews = await previewed(plan, bound.looks)
            except ToolError as error:
                if asked.tenant:
                    name_the_step(error, asked.tenant.name, self.tiers.tiers)
                raise
        now = self.records.clock()
        return Call(
            id=id,
            created=now,
            updated=now,
            state=State.PLANNING,
            tool=tool.name,
            arguments=asked.raw,
            caller=caller,
            tenant=asked.tenant_name or str(asked.raw.get("name", "") or ""),
            tenant_uid=asked.tenant.uid if asked.tenant else "",
            digest=digest(tool.name, asked.raw, caller.subject, plan),
            plan=plan,
            previews=previews,
            undoes=asked.raw["id"] if tool.name == "call_undo" else "",
        )

    async def _judge(self, asked: Asked, call: Call) -> Call:
        plan = call.plan
        assert plan is not None
        if not plan.changes:
            return call.model_copy(update={"state": State.SUCCEEDED, "result": plan.result})
        unattended = self.admission.ask(
            "unattended", asked.caller, asked.tool, call, asked.situation
        )
        if unattended.allowed:
            return call.model_copy(update={"state": State.RUNNING, "policy": unattended.policy})
        person = asked.caller.model_copy(update={"agent": False, "subject": asked.caller.person})
        confirmed = self.admission.ask("confirm", person, asked.tool, call, asked.situation)
        alone = confirmed.allowed and not for_nobody(asked.caller)
        return call.model_copy(
            update={
                "state": State.AWAITING_CONFIRMATION if alone else State.AWAITING_APPROVAL,
                "policy": confirmed.policy if alone else unattended.policy,
                "why": why(asked, plan, alone),
                "expires": call.created + self.limits.expiry,
            }
        )

    async def _enter(self, call: Call) -> None:
        """Record a call, and then begin it or tell those it waits for."""
        if call.state.waiting:
            await self._room_to_wait(call)
        if call.undoes:
            undone = await self._decisions(call.caller).call(call.undoes)
            call.undoes, call.tenant, call.tenant_uid = undone.id, undone.tenant, undone.tenant_uid
            if not await self.records.move(undone.id, [State.SUCCEEDED], State.UNDOING):
                raise ToolError(
                    Code.FAILED_PRECONDITION,
                    f"Call {undone.id} is being undone already.",
                    "call_list shows who asked for that.",
                )
        if call.tool == APPLY and self.advisor:
            await self.advisor.applying(call)
        if call.state is State.RUNNING:
            await self.carrier.enter(call)
            return
        await self.records.add(call)
        if call.state.waiting:
            self.announce(call)
        else:
            self._ended(call)

    async def _room_to_wait(self, call: Call) -> None:
        """Who decides is not to be buried. Raises `ToolError`."""
        subject = call.caller.subject
        if await self.records.waiting_of(subject) >= self.limits.waiting:
            raise ToolError(
                Code.RESOURCE_EXHAUSTED,
                f"{self.limits.waiting} calls of {subject} wait for a decision already.",
                "Have some of them decided, or reject them yourself; call_list shows them.",
            )

    # ---- what a call reaches, and what is asked about it later

    async def _bind(self, asked: Asked) -> Bound:
        if asked.tool.effect is Effect.WRITE:
            await self._same_clusters()
        return self.backends.bind(
            asked.caller, asked.tool, asked.tenant, asked.situation.role, asked.tenant_name
        )

    async def _same_clusters(self) -> None:
        """Before the first change: is each cluster still the one that the journal speaks of?"""
        if not self._checked:
            seen = await self.backends.identities()
            await self.records.same_clusters(seen)
            self._checked = seen.keys() == self.backends.apis.keys()

    def _context(
        self, asked: Asked, bound: Bound, call_id: str, progress: Progress | None
    ) -> Context:
        return Context(
            caller=asked.caller,
            call_id=call_id,
            tenant=asked.tenant,
            cluster=bound.cluster,
            clusters=bound.clusters,
            aws=bound.aws,
            tenants=self.tenants,
            calls=self._decisions(asked.caller, progress),
            tokens=self.tokens,
            people=self.people,
            workspaces=self.workspaces,
            recommendations=self.advisor,
            metrics=self.measures,
            audit=self.trail,
            chat=self.chat,
            health=self.health,
            alerts=self.alerts,
            tiers=self.tiers,
            now=self.records.clock(),
            progress=progress or _silent,
        )

    def _decisions(self, caller: Caller, progress: Progress | None = None) -> Decisions:
        async def may(question: Question, call: Call) -> Verdict:
            return await self.admission.may(question, caller, call)

        return Decisions(
            caller=caller,
            records=self.records,
            tenants=self.tenants,
            carrier=self.carrier,
            may=may,
            reach=self._reach_of,
            ended=self._ended,
            wait_s=self.limits.wait_s,
            progress=progress,
        )

    async def _reach_of(self, call: Call) -> Bound:
        """The backends with the requester's rights of now. Raises when they may no longer."""
        return await self._bind(await self.admission.again(self._still(call.caller), call))

    def _still(self, caller: Caller) -> Caller:
        """A caller of earlier with the rights of now. Raises `ToolError`."""
        now = caller if for_nobody(caller) else self.still(caller)
        if now is None:
            raise ToolError(
                Code.PERMISSION_DENIED,
                f"{caller.subject} has no access any more.",
                "Somebody who has must ask for it.",
            )
        return now

    async def _undone(self, caller: Caller, id: str) -> tuple[str, str]:
        """What the call of this id stands for, be it an undo or an application itself."""
        call = await self._decisions(caller).call(id)
        stands_for = self.admission.stands_for.get(call.tool)
        if stands_for is None:
            return call.tool, call.tenant
        return await stands_for(caller, call.undoes or call.arguments["id"])

    def _ended(self, call: Call) -> None:
        self._put_end(call)
        self._told(call)

    async def _noted(self, call: Call) -> None:
        self._put_end(call)
        await self.audit.flush()

    def _told(self, call: Call) -> None:
        if call.plan and any(c.ref.kind == "v1/Namespace" for c in call.plan.changes):
            self.tenants.forget(call.tenant)
        if self.advisor:
            self.advisor.ended(call)
        self.announce(call)

    def _put_end(self, call: Call) -> None:
        took = (self.records.clock() - call.created).total_seconds() * 1000
        self.audit.note_call(call.caller, call, call.outcome(), took)

    def _note(
        self,
        caller: Caller,
        tool: str,
        arguments: Mapping[str, Any],
        asked: Asked | None,
        outcome: Outcome,
        began: float,
        call: Call | None = None,
    ) -> None:
        took = (time.perf_counter() - began) * 1000
        if call:
            if not outcome.state.ended:  # else it is on record since it ended
                self.audit.note_call(caller, call, outcome, took)
            return
        tenant = asked.tenant_name if asked else arguments.get("tenant", "")
        self.audit.note(
            caller=caller,
            tool=tool,
            tenant=tenant if isinstance(tenant, str) else "",
            tenant_uid=asked.tenant.uid if asked and asked.tenant else "",
            outcome=outcome,
            policy=asked.verdict.policy if asked else "",
            duration_ms=took,
        )


@asynccontextmanager
async def _within(seconds: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ToolError(
            Code.DEADLINE_EXCEEDED,
            f"{what} took more than {seconds:g} s.",
            "See with `pilothouse doctor` what does not answer; or ask for less.",
        ) from None


async def _silent(text: str, done: float | None, of: float | None) -> None:
    pass


def _new_id() -> str:
    return secrets.token_hex(5)
