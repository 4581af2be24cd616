"""Calls being carried out in the background: begun, waited for, taken up again after a restart."""

import asyncio
from collections.abc import Awaitable, Callable, Set
from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol

import structlog

from server.executor.engine import Engine, Parked
from server.executor.ledger import Ledger
from server.executor.writes import Writes
from server.journal import calls
from server.records import Call, Records
from tools.calls import Problem, Progress, State
from tools.errors import Code, ToolError
from tools.looking import Looks
from tools.plan import Change, Plan, Ref, Seen, canonical

log = structlog.get_logger(__name__)

SWEEP_S = 15
# A request that is under way when all is to stop may take so long.
PARK_S = 4.0
BROKE_DOWN = ToolError(
    Code.INTERNAL, "Carrying it out broke down.", "The server's log says why; then call_retry."
)


class Reach(Protocol):
    """The backends as one call reaches them, with the rights that the call runs with."""

    def looks(self, ref: Ref) -> Looks: ...

    def writes(self, ref: Ref) -> Writes: ...


# A line for people, how much is done, of how much.
Line = tuple[str, float, float]


class Carrier:
    """Carries calls out, one task each.

    `reach` says with which rights, and raises `ToolError` when the requester may no longer do it.
    `outcome` adds to a call's answer what is known only at its end. Of each call that came to its
    end, `noted` puts on record how, and `ended` is told. `lines` has how far each is.
    """

    def __init__(
        self,
        records: Records,
        engine: Engine,
        ledger: Ledger,
        reach: Callable[[Call], Awaitable[Reach]],
        outcome: Callable[[Plan], Awaitable[dict[str, Any]]],
        noted: Callable[[Call], Awaitable[None]],
        ended: Callable[[Call], None],
    ) -> None:
        self.records = records
        self.engine = engine
        self.ledger = ledger
        self._reach = reach
        self._outcome = outcome
        self._noted = noted
        self._ended = ended
        self._tasks: dict[str, asyncio.Task[Call | None]] = {}
        self.lines: dict[str, Line] = {}
        self._listeners: dict[str, set[asyncio.Queue[Line]]] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what was running, and look regularly after what expires or was left unknown."""
        if await self.records.get_meta("frozen") is not None:
            self.engine.running.clear()
        for call in await self.records.in_states(State.RUNNING):
            self.begin(call)
        await self.sweep()
        self._sweeper = asyncio.create_task(self._sweep_regularly())

    async def stop(self, grace_s: float) -> None:
        """Let what runs come to its end, for a while; then park it where it is."""
        if self._sweeper:
            self._sweeper.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=grace_s)
        self.engine.stop()
        if self._tasks:
            _, still = await asyncio.wait(self._tasks.values(), timeout=PARK_S)
            for task in still:
                task.cancel()
            await asyncio.gather(*still, return_exceptions=True)

    async def enter(self, call: Call) -> None:
        """Record a new call that may go ahead, in one with what is sent first, and begin it."""
        assert call.plan is not None
        sent = self.engine.first(call.plan)
        await self.records.add(call, along=self.ledger.sending(call.id, sent))
        self.begin(call, sent)

    def begin(self, call: Call, sent: Set[str] | None = None) -> None:
        """Carry out a call whose state is already `running`. Of a new one is known what is on
        record as sent; what was done of another, the journal says."""
        if call.id not in self._tasks:
            task = asyncio.create_task(self._carry(call, sent), name=f"call {call.id}")
            self._tasks[call.id] = task
            task.add_done_callback(lambda _: self._tasks.pop(call.id, None))

    async def wait(self, call_id: str, timeout_s: float, progress: Progress | None) -> Call | None:
        """Wait until a call that is carried out here has ended, or the time is up. The call as it
        ended; None where only the journal can say how it is."""
        task = self._tasks.get(call_id)
        if task is None:
            return None
        lines: asyncio.Queue[Line] = asyncio.Queue(100)
        self._listeners.setdefault(call_id, set()).add(lines)
        if call_id in self.lines:
            lines.put_nowait(self.lines[call_id])
        relay = asyncio.create_task(_relay(lines, progress)) if progress else None
        try:
            await asyncio.wait([task], timeout=timeout_s)
        finally:
            self._listeners[call_id].discard(lines)
            if not self._listeners[call_id]:
                del self._listeners[call_id]
            if relay:
                relay.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await relay
        over = task.done() and not task.cancelled() and not task.exception()
        return task.result() if over else None

    def _tell(self, call_id: str, line: Line) -> None:
        self.lines[call_id] = line
        for listener in self._listeners.get(call_id, ()):
            with suppress(asyncio.QueueFull):  # a slow reader misses a line, and delays nobody
                listener.put_nowait(line)

    async def _carry(self, call: Call, sent: Set[str] | None) -> Call | None:
        plan = call.plan
        assert plan is not None
        steps = await self.ledger.steps(call.id) if sent is None else {}
        begun = bool(steps)
        try:
            reach = await self._reach(call)
            if call.decision and not begun and (moved := await stale(plan, reach.looks)):
                return await self._end(call, State.STALE, _moved(moved))
            ended = await self.engine.carry_out(
                call.id,
                plan,
                reach.writes,
                lambda text, done, of: self._tell(call.id, (text, done, of)),
                steps,
                sent or frozenset(),
            )
        except Parked:
            log.info("parked", call=call.id)
            return None
        except ToolError as error:
            return await self._end(call, _unreached(error) if begun else State.FAILED, error)
        except Exception:
            log.exception("carrying out failed", call=call.id)
            return await self._end(call, State.STUCK, BROKE_DOWN)
        finally:
            self.lines.pop(call.id, None)
        return await self._end(call, State(ended.state), ended.error)

    async def _end(self, call: Call, state: State, error: ToolError | None) -> Call | None:
        problem = Problem.of(error) if error else None
        result = None
        if call.plan and state is State.SUCCEEDED:
            result = call.plan.result | await self._outcome(call.plan)
        over = call.model_copy(update={"state": state, "error": problem, "result": result})
        told = state == call.state == State.UNKNOWN  # before
        ends = self.records.move(
            call.id,
            [State.RUNNING],
            state,
            along=self.ledger.pending(),
            error=problem,
            result=result,
        )
        # Side by side, which makes them one transaction.
        moved, _ = await asyncio.gather(ends, _nothing() if told else self._noted(over))
        if call.undoes:
            if state is State.SUCCEEDED:
                await self.records.move(
                    call.undoes, [State.UNDOING], State.UNDONE, undone_by=call.id
                )
            elif state is not State.UNKNOWN and state is not State.STUCK:
                await self.records.move(call.undoes, [State.UNDOING], State.SUCCEEDED)
        if not told:
            self._ended(over)
        return over if moved else None

    async def _sweep_regularly(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
            except Exception:
                log.exception("sweep failed")

    async def sweep(self) -> None:
        """Expire what waited too long, and find out about what was left unknown."""
        now: datetime = self.records.clock()
        waiting = [State.AWAITING_CONFIRMATION, State.AWAITING_APPROVAL]
        late = await self.records.select(
            calls.c.state.in_([s.value for s in waiting]), calls.c.expires <= now, limit=1000
        )
        for call in late:
            if await self.records.move(call.id, waiting, State.EXPIRED):
                over = call.model_copy(update={"state": State.EXPIRED})
                await self._noted(over)
                self._ended(over)
        for call in await self.records.in_states(State.UNKNOWN):
            if await self.records.move(call.id, [State.UNKNOWN], State.RUNNING, error=None):
                self.begin(call)


async def stale(plan: Plan, looks: Callable[[Ref], Looks]) -> list[tuple[Change, Seen]]:
    """The changes whose object is no longer as it was when planned, and how it is now."""
    now = await asyncio.gather(*(looks(c.ref).observe(c) for c in plan.changes))
    return [
        (change, seen)
        for change, seen in zip(plan.changes, now, strict=True)
        if change.seen is not None
        and (seen.uid, canonical(seen.value)) != (change.seen.uid, canonical(change.seen.value))
    ]


def _unreached(error: ToolError) -> State:
    """What becomes of a call that was begun and cannot be gone on with: what a cluster that is away
    keeps from being known is known once it is back; whatever was done by a call that is no longer
    allowed needs a person to look at it."""
    return State.UNKNOWN if error.passing else State.STUCK


def _moved(moved: list[tuple[Change, Seen]]) -> ToolError:
    def say(change: Change, now: Seen) -> str:
        if change.seen is None or now.value is None or change.seen.value is None:
            there = "is gone" if now.value is None else "is there now"
            return f"{change.ref} {there}"
        if now.uid != change.seen.uid:
            return f"{change.ref} was replaced by another of its name"
        was, is_ = canonical(change.seen.value), canonical(now.value)
        return f"{change.ref} was {was[:300]} and is {is_[:300]}"

    return ToolError(
        Code.FAILED_PRECONDITION,
        "It is no longer as it was when this was planned: "
        + "; ".join(say(c, s) for c, s in moved[:5]),
        "Ask again: it is planned anew from what is there now.",
    )


async def _nothing() -> None:
    pass


async def _relay(lines: "asyncio.Queue[Line]", progress: Progress) -> None:
    while True:
        text, done, of = await lines.get()
        await progress(text, done, of)
