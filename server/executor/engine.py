"""Carrying out a plan so that it ends wholly done or wholly undone, whatever happens in between.

Changes that do not need each other go side by side. Each is journalled before it is sent and when
it is acknowledged, then tried until it has taken effect. When one fails, or the process died in the
middle, the rule is the same: if everything done so far can be taken back it is (`back`), and if
something cannot, the rest is carried through (`forward`). Where all was made and only its end is
missing, that is waited for. What was sent without an answer is never sent again blindly: the object
is read first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Set
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple, TypeVar

import structlog

from server.executor.ledger import Ledger, Step
from server.executor.writes import Writes
from tools.errors import Code, ToolError
from tools.plan import Change, Plan, Ref, Seen, Undo, canonical, in_order

T = TypeVar("T")
log = structlog.get_logger(__name__)

SIDE_BY_SIDE = 16
INTERRUPTED = ToolError(
    Code.UNAVAILABLE, "It was interrupted before all of it was done.", "Ask again."
)


@dataclass
class Patience:
    """How long the engine tries, in seconds."""

    apply_s: float = 60
    first_pause_s: float = 0.02
    longest_pause_s: float = 2
    # Forward means that there is no way back, so it is worth trying for longer.
    forward_s: float = 300


class Ended(NamedTuple):
    """How carrying out ended. `unknown`: it was not possible to find out, so ask again later."""

    state: Literal["succeeded", "failed", "stuck", "unknown"]
    error: ToolError | None = None


class Parked(Exception):
    """The process is stopping: the call goes on when it is started again."""


class Unknown(Exception):
    """An answer was lost, and what is there now could not be read either."""

    def __init__(self, error: ToolError) -> None:
        self.error = error


# Told of each change before it is sent.
Before = Callable[[Change], Awaitable[None]]

# What is being done, how many changes are, and of how many.
Tell = Callable[[str, float, float], None]


@dataclass
class Engine:
    """Carries out plans. `running` is cleared while everything is frozen."""

    ledger: Ledger
    patience: Patience = field(default_factory=Patience)
    running: asyncio.Event = field(default_factory=asyncio.Event)
    halted: asyncio.Event = field(default_factory=asyncio.Event)
    before: Before | None = None

    def __post_init__(self) -> None:
        self.running.set()

    def first(self, plan: Plan) -> Set[str]:
        """The changes that are put on record as sent with the plan itself: those that are sent as
        soon as it is begun, were it begun now, and what is to be made inside of what it makes, of
        which a look tells later whether it was sent."""
        if self.stopping or not self.running.is_set():
            return frozenset()
        changes = in_order(plan.changes)
        first = set(islice((c.id for c in changes if not c.needs), SIDE_BY_SIDE))
        new: set[str] = set()
        for change in changes:
            if change.seen is not None and change.verb == "create" and new.issuperset(change.needs):
                new.add(change.id)
        return first | {change.id for change in changes if change.needs and change.id in new}

    @property
    def stopping(self) -> bool:
        return self.halted.is_set()

    def stop(self) -> None:
        """Park what runs, at once where it only waits."""
        self.halted.set()
        self.running.set()

    async def rest(self, seconds: float) -> None:
        """Sleep, but not on while everything stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.halted.wait()

    async def carry_out(
        self,
        call_id: str,
        plan: Plan,
        writes: Callable[[Ref], Writes],
        tell: Tell,
        steps: dict[str, Step] | None = None,
        sent: Set[str] = frozenset(),
    ) -> Ended:
        """Bring about all of a plan's changes, or take back those that were, and say which.

        Goes on from what was done: `steps`, or what the journal says; `sent` are on record as sent,
        and are not yet. Raises `Parked` when told to stop.
        """
        if steps is None:
            steps = await self.ledger.steps(call_id)
        try:
            return await _Run(self, call_id, plan, writes, tell, sent).to_the_end(steps)
        except Unknown as unknown:
            return Ended("unknown", unknown.error)
        except Parked:
            await self.ledger.record(call_id, "", "parked")
            raise


class _Run:
    """One plan being carried out."""

    def __init__(
        self,
        engine: Engine,
        call_id: str,
        plan: Plan,
        writes: Callable[[Ref], Writes],
        tell: Tell,
        sent: Set[str],
    ) -> None:
        self.engine = engine
        self.patience = engine.patience
        self.ledger = engine.ledger
        self.call_id = call_id
        self.plan = plan
        self.writes = writes
        self.tell = tell
        self.on_record = set(sent)
        self.done = 0

    async def to_the_end(self, steps: dict[str, Step]) -> Ended:
        parked = "" in steps and steps[""].did == "parked"
        turned_back = any(step.did == "undone" for step in steps.values())
        if turned_back or (steps and not parked):
            log.info("resuming", call=self.call_id, changes=len(self.plan.changes))
            if turned_back or not await self._all_was_made():
                return await self._after(INTERRUPTED)
            steps = await self.ledger.steps(self.call_id)
        if parked:
            await self.ledger.record(self.call_id, "", "resumed")
        try:
            await self._bring_about_all(steps)
        except ToolError as error:
            return await self._after(error)
        return Ended("succeeded")

    async def _all_was_made(self) -> bool:
        """Then only its end is missing. To take it back would give back nothing of what, say, a
        Job did meanwhile, and whoever asked again would have it run twice."""
        await self._what_was_done()
        steps = await self.ledger.steps(self.call_id)
        return all(c.id in steps and steps[c.id].did == "applied" for c in self.plan.changes)

    async def _after(self, error: ToolError) -> Ended:
        """Back or forward, once it is known what was done."""
        done = await self._what_was_done()
        if any(c.undoable is Undo.NONE for c in self.plan.changes if c.id in done):
            return await self._forward(error)
        return await self._back(error, done)

    async def _forward(self, error: ToolError) -> Ended:
        try:
            async with asyncio.timeout(self.patience.forward_s):
                while True:
                    try:
                        await self._bring_about_all(await self.ledger.steps(self.call_id))
                        return Ended("succeeded")
                    except ToolError as again:
                        error = again
                    if not error.passing:
                        break
                    await self.engine.rest(error.retry_after or self.patience.longest_pause_s)
        except TimeoutError:
            pass
        return _stuck(
            error, f"Part of it is done and cannot be taken back; the rest fails: {error.message}"
        )

    async def _back(self, error: ToolError, done: dict[str, Step]) -> Ended:
        some = self.plan.only({i for i, step in done.items() if step.did != "undone"})
        originals = {c.id: c for c in some.changes}
        self.tell("taking back what was done", 0, len(originals))

        async def take_back(inverse: Change) -> None:
            await self._take_back(originals[inverse.id], inverse, done[inverse.id].seen)

        try:
            await self._side_by_side(some.inverse(), take_back)
        except ToolError as second:
            return _stuck(
                second, f"{error.message} Taking back what was done failed too: {second.message}"
            )
        return Ended("failed", error)

    async def _take_back(self, change: Change, inverse: Change, left: Seen | None) -> None:
        writes = self.writes(change.ref)
        there = await self._patiently(lambda: writes.observe(inverse))
        if canonical(there.value) != canonical(writes.intended(inverse)):
            now = await self._patiently(lambda: writes.observe(change))
            theirs = left is not None and now.value is not None and not same(now, left)
            if theirs and inverse.after is not None:
                raise ToolError(
                    Code.FAILED_PRECONDITION,
                    f"{change.ref} was changed by somebody else meanwhile.",
                    "Decide by hand whether their change or the earlier state is to stay.",
                )
            restored = await self._apply(inverse.model_copy(update={"seen": there}))
            await self._settle(inverse, restored)
        await self.ledger.record(self.call_id, change.id, "undone")

    async def _what_was_done(self) -> dict[str, Step]:
        """Each change that was made, after reading again those that were sent without an answer."""
        steps = await self.ledger.steps(self.call_id)
        by_id = {c.id: c for c in self.plan.changes}

        async def made(id: str) -> Step | None:
            change, step = by_id[id], steps[id]
            if step.did != "sent":
                return None if step.did == "refused" else step
            now = await self._look(change)
            if change.seen is not None and same(now, change.seen):
                return None
            if change.verb == "create" and not await self._is_ours(change):
                await self.ledger.record(self.call_id, id, "refused")
                return None
            whole = canonical(now.value) == canonical(self.writes(change.ref).intended(change))
            if change.atomic or whole:
                await self.ledger.record(self.call_id, id, "applied", now)
            # One that was cut off between its requests is there to be taken back, or sent again.
            return Step("applied", now)

        # What is on record as sent and was not yet, was not made.
        ids = [i for i in steps if i in by_id and i not in self.on_record]
        found = await asyncio.gather(*(made(i) for i in ids))
        return {i: step for i, step in zip(ids, found, strict=True) if step}

    async def _bring_about_all(self, steps: dict[str, Step]) -> None:
        changes = self.plan.changes
        self.done = 0

        async def bring_about(change: Change) -> None:
            if change.id in steps and steps[change.id].did == "applied":
                await self._settle(change)
            else:
                await self._make(change)
            self.done += 1
            self.tell(f"{change.ref}: {change.verb}d", self.done, len(changes))

        await self._side_by_side(changes, bring_about)

    async def _make(self, change: Change) -> None:
        """Send it, and see it take effect. That it is sent is on record before; that it was made
        soon after, or with what is sent next."""
        if self.engine.before:
            await self.engine.before(change)
        if change.id in self.on_record:
            self.on_record.remove(change.id)
        else:
            await self.ledger.record(self.call_id, change.id, "sent")
        left = await self._send(change)
        self.ledger.note(self.call_id, change.id, "applied", left)
        await self._settle(change, left)

    async def _side_by_side(
        self, changes: Iterable[Change], act: Callable[[Change], Awaitable[None]]
    ) -> None:
        """Do `act` to each change once those that it needs are done. The first error stops what
        has not begun; what has begun is let finish, so that its end is known."""
        changes = in_order(changes)
        slots = asyncio.Semaphore(SIDE_BY_SIDE)
        finished = {c.id: asyncio.Event() for c in changes}
        failed: list[Exception] = []

        async def one(change: Change) -> None:
            for need in change.needs:
                await finished[need].wait()
            try:
                async with slots:
                    if not failed:
                        await self._may_go_on()
                        await act(change)
            except (ToolError, Parked, Unknown) as error:
                failed.append(error)
            finally:
                finished[change.id].set()

        async with asyncio.TaskGroup() as tasks:
            for change in changes:
                tasks.create_task(one(change))
        if failed:
            # Not knowing outweighs stopping, and both outweigh a failure: neither may roll back.
            raise min(failed, key=lambda e: (Unknown, Parked, ToolError).index(type(e)))

    async def _may_go_on(self) -> None:
        if not self.engine.stopping:
            await self.engine.running.wait()
        if self.engine.stopping:
            raise Parked

    async def _send(self, change: Change) -> Seen:
        try:
            return await self._apply(change)
        except ToolError:
            # A plain no to one request: what is there now is somebody else's doing, not ours.
            if change.atomic:
                await self.ledger.record(self.call_id, change.id, "refused")
            raise

    async def _apply(self, change: Change) -> Seen:
        writes = self.writes(change.ref)

        async def attempt() -> Seen:
            try:
                return await writes.apply(change, self.call_id)
            except ToolError as error:
                if not error.lost:
                    raise
                now = await self._look(change)
                if canonical(now.value) == canonical(writes.intended(change)):
                    return now
                # It is not as intended, so sending it again (compare-and-swap) repeats nothing.
                raise ToolError(
                    Code.UNAVAILABLE, error.message, error.hint, retry_after=error.retry_after
                ) from error

        return await self._patiently(attempt)

    async def _look(self, change: Change) -> Seen:
        try:
            return await self._patiently(lambda: self.writes(change.ref).observe(change))
        except ToolError as error:
            raise Unknown(error) from error

    async def _is_ours(self, change: Change) -> bool:
        try:
            writes = self.writes(change.ref)
            return await self._patiently(lambda: writes.is_ours(change, self.call_id))
        except ToolError as error:
            raise Unknown(error) from error

    async def _settle(self, change: Change, left: Seen | None = None) -> None:
        """Wait until it has taken effect; `left` is what there was right after it was made."""
        writes = self.writes(change.ref)
        if left is not None and writes.took_effect(change, left):
            return
        pause = self.patience.first_pause_s
        waiting = ""
        try:
            async with asyncio.timeout(change.settle_s):
                while waiting := await self._patiently(lambda: writes.settled(change)):
                    if self.engine.stopping:
                        raise Parked
                    self.tell(f"{change.ref}: {waiting}", self.done, len(self.plan.changes))
                    await self.engine.rest(pause)
                    pause = min(pause * 1.5, self.patience.longest_pause_s)
        except TimeoutError as error:
            raise ToolError(
                Code.DEADLINE_EXCEEDED,
                f"{change.ref} has not taken effect after {change.settle_s:.0f} s: {waiting}",
                "workload_get and events_list say what is wrong with it.",
            ) from error

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try again what may pass by itself, with pauses that grow, until the time is up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience.apply_s
        pause = self.patience.first_pause_s
        while True:
            try:
                return await attempt()
            except ToolError as error:
                wait = error.retry_after or pause
                if not error.passing or error.lost or loop.time() + wait > end:
                    raise
                if self.engine.stopping:
                    raise Parked from error
            await self.engine.rest(wait)
            pause = min(pause * 2, self.patience.longest_pause_s)


def same(one: Seen, other: Seen) -> bool:
    return canonical(one.value) == canonical(other.value)


def _stuck(cause: ToolError, message: str) -> Ended:
    hint = f"{cause.hint} Once that is mended, an operator lets it go on with call_retry.".strip()
    return Ended("stuck", ToolError(cause.code, message, hint))
