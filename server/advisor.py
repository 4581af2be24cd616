"""Advice: analyses on a schedule and on demand, suggestions on their way to being applied, and
what became of them afterwards."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from server.advice import how_it_went, notes, shown
from server.measures import as_tool_errors, asked
from server.records import Call, Records
from server.trials import Trials
from tools.calls import Caller, Gate, Progress, State
from tools.errors import Code, ToolError
from tools.holdings import AnalysisRun, Directory, Recommendation
from tools.recommendations import Analysis
from tools.room import step
from tools.tiers import Tier

if TYPE_CHECKING:
    from recommender.analysis import Advice
    from recommender.history import History
    from recommender.model import Subject, Workload
    from recommender.prometheus import Prometheus
    from recommender.queries import Queries
    from recommender.reading import Run
    from recommender.runs import Runs
    from recommender.strategies import Context, Strategy
    from recommender.suggestions import Recommendation as Stored
    from recommender.suggestions import Suggestions

log = structlog.get_logger(__name__)

APPLY = "recommendation_apply"
WATCH_S = 300.0
# As far back as strategies look, and a little.
PICTURE_S = 7.5 * 86_400
# It acts for nobody: what it wants undone waits for a person, unless the policy says otherwise.
ITSELF = Caller.of("recommender", operator=True, agent=True, door="internal")


class Advisor:
    """The `Recommendations` of `tools/context.py`, and what keeps them up to date."""

    def __init__(
        self,
        *,
        prometheus: "Prometheus",
        history: "History",
        queries: "Queries",
        suggestions: "Suggestions",
        runs: "Runs",
        strategies: "Sequence[Strategy]",
        context: "Context",
        records: Records,
        tenants: Directory,
        clock: Callable[[], datetime],
        every_s: float,
        currency: str,
        tiers: Mapping[str, Tier],
    ) -> None:
        """`every_s` is between two analyses; 0 for none but those that are asked for."""
        self.prometheus = prometheus
        self.history = history
        self.queries = queries
        self.suggestions = suggestions
        self.runs = runs
        self.strategies = strategies
        self.context = context
        self._records = records
        self._tenants = tenants
        self._clock = clock
        self._every_s = every_s
        self._currency = currency
        self._tiers = tiers
        self._trials: Trials | None = None
        # Told of each suggestion that is new or has changed.
        self.changed: Callable[[Recommendation], None] = lambda one: None
        suggestions.moved = lambda one: self.changed(self._shown(one))
        self.analysed = 0.0  # when the last time ended; 0 for not since the start
        self._due: datetime | None = None
        # What calls about a suggestion stand for, by tool: see `server/admission.py`.
        self.stands_for = {
            APPLY: self._applied,
            "recommendation_reject": self._decided,
            "recommendation_snooze": self._decided,
        }
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.settling: set[asyncio.Task[None]] = set()

    def start(
        self,
        gate: Gate,
        refused: Callable[[Caller, str, Mapping[str, Any]], Awaitable[ToolError | None]],
    ) -> None:
        """Begin to analyse and to watch, once what a crash left half applied is settled. `refused`
        tries a write out dry."""
        self._trials = Trials(partial(refused, ITSELF))
        self._spawn(self._settle_all())
        if self._every_s:
            self._spawn(self._regularly(self._every_s, self._scheduled))
        self._spawn(self._regularly(WATCH_S, lambda: self.watch(gate), at_once=False))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._trials:
            await self._trials.stop()

    # ---- looking

    async def list(
        self,
        caller: Caller,
        *,
        tenant: str,
        state: str,
        strategy: str,
        sort: str,
        limit: int,
        next: str,
    ) -> tuple[Sequence[Recommendation], str, Sequence[str]]:
        namespaces = await self._seen_by(caller)
        if tenant:
            namespaces = {tenant} if namespaces is None or tenant in namespaces else set()
        with as_tool_errors():
            page = await self.suggestions.list(
                state=state or None,  # type: ignore[arg-type]  # the tool's schema has the states
                strategy=strategy,
                namespaces=namespaces,
                sort=sort,  # type: ignore[arg-type]
                limit=limit,
                cursor=next,
            )
        runs = await self.runs.latest(1)
        return await self._tried(page.items), page.next, notes(runs[0] if runs else None, caller)

    async def get(self, caller: Caller, id: str) -> Recommendation:
        (found,) = await self._tried([await self._find(caller, id)])
        return found

    async def _tried(self, some: "Sequence[Stored]") -> Sequence[Recommendation]:
        """With what is in the way of those that could not be applied now, and what makes way."""
        refused = await self._trials.of(some) if self._trials else {}
        found = []
        for one in map(self._shown, some):
            if error := refused.get(one.id):
                first = step(error, one.tenant, self._tiers)
                one = one.model_copy(update={"blocked": error.message, "first": first})
            found.append(one)
        return found

    async def reject(self, caller: Caller, id: str, reason: str) -> Recommendation:
        one = await self._find(caller, id)
        with as_tool_errors():
            return self._shown(await self.suggestions.reject(one.id, caller.person, reason))

    async def later(self, caller: Caller, id: str, days: float) -> Recommendation:
        one = await self._find(caller, id)
        until = self._clock().timestamp() + days * 86400
        with as_tool_errors():
            return self._shown(await self.suggestions.later(one.id, until))

    async def last(self, caller: Caller) -> AnalysisRun | None:
        runs = await self.runs.latest()
        whole = next((run for run in runs if not run.scope), next(iter(runs), None))
        return how_it_went(whole, caller, self._due) if whole else None

    async def scores(self, caller: Caller) -> Mapping[str, dict[str, Any]]:
        from recommender.scores import scores

        now = self._clock()
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        found = await scores(
            self.suggestions.run,
            now.timestamp(),
            since=month.timestamp(),
            namespaces=await self._seen_by(caller),
        )
        return {name: asdict(score) | {"said": score.said} for name, score in found.items()}

    async def picture(self, caller: Caller, id: str, format: str, dark: bool) -> bytes:
        one = await self._find(caller, id)
        found = await asked(lambda: self._drawn(one, format, dark))
        if found is None:
            raise ToolError(
                Code.NOT_FOUND,
                f"Nothing of the past of {one.suggestion.subject} is known any more.",
                "recommendation_get has its evidence in figures.",
            )
        return found

    def _drawn(self, one: "Stored", format: Any, dark: bool) -> bytes | None:
        from recommender.drawing import drawn

        workload = self._workload(one, PICTURE_S)
        return drawn(one.suggestion, workload, format, dark)

    async def _applied(self, caller: Caller, id: str) -> tuple[str, str]:
        """The tool that applying it calls, and the tenant."""
        one = await self._find(caller, id)
        return one.suggestion.tool, one.suggestion.subject.namespace

    async def _decided(self, caller: Caller, id: str) -> tuple[str, str]:
        """No tool, but the tenant: to decide about it takes a role there, and not just anywhere."""
        return "", (await self._find(caller, id)).suggestion.subject.namespace

    # ---- analysing

    async def analyze(self, caller: Caller, tenant: str, progress: Progress) -> Analysis:
        seen = await self._seen_by(caller)
        namespaces = seen if not tenant else {tenant} if seen is None or tenant in seen else set()
        if namespaces is not None and not namespaces:
            raise ToolError(
                Code.NOT_FOUND,
                "There is no such tenant that you can see.",
                "tenant_list has yours.",
            )
        return await self.run(caller.subject, namespaces, progress)

    async def _scheduled(self) -> None:
        try:
            await self.run("schedule")
        finally:
            self._due = self._clock() + timedelta(seconds=self._every_s)

    async def run(
        self, by: str, namespaces: Collection[str] | None = None, progress: Progress | None = None
    ) -> Analysis:
        """Read what is new, and work out the suggestions anew. One at a time."""
        from recommender.runs import RunRecord

        async with self._one_at_a_time:
            scope = {"namespaces": sorted(namespaces)} if namespaces is not None else {}
            run_id = await self.runs.begin(by, scope)
            now = self._clock().timestamp()
            record: RunRecord | None = None
            try:
                read = await asked(lambda: self._read(now, namespaces))
                if progress:
                    await progress("read the metrics", 1, 2)
                settled = await self._settled()
                advice = await asked(lambda: self._advise(now, namespaces, settled))
                # What half the data does not show may still be there: nothing is withdrawn for it.
                covered = advice.covered if read.status == "whole" else set()
                with as_tool_errors():
                    recorded = await self.suggestions.record(advice.found, covered, run_id, now)
                    for one in await self.suggestions.since(now):
                        self.changed(self._shown(one))
                    await self.suggestions.prune(now)
                    await self.runs.prune(now)
                record = await self.runs.end(
                    run_id,
                    seen={"series": read.series, "points": read.points, "requests": read.requests},
                    warnings=[*read.warnings, *advice.troubles],
                    partial=read.status == "partial",
                    recorded=recorded.counts(),
                    error=read.trouble if read.status == "failed" else None,
                )
            finally:
                if record is None:
                    from recommender.model import RecommenderError

                    broke = RecommenderError("The run broke down.", "The server's log says why.")
                    await asyncio.shield(self.runs.end(run_id, seen={}, error=broke))
            if record.state != "failed":
                self.analysed = record.ended or now
            counts = record.recorded
            return Analysis(
                status=record.state,
                workloads=advice.workloads,
                **{k: counts.get(k, 0) for k in ("opened", "replaced", "unchanged", "withdrawn")},
                seconds=round((record.ended or now) - record.started, 3),
                warnings=[w for w in (record.error, *record.warnings) if w],
            )

    def _read(self, now: float, namespaces: Collection[str] | None) -> "Run":
        from recommender.reading import read

        return read(
            self.prometheus, self.history, now=now, queries=self.queries, namespaces=namespaces
        )

    def _advise(
        self, now: float, namespaces: Collection[str] | None, settled: "frozenset[Subject]"
    ) -> "Advice":
        from recommender.analysis import advise
        from recommender.calibration import calibrated
        from recommender.queries import STEP
        from recommender.workloads import pasts, workloads

        calibration = calibrated(pasts(self.history, namespaces), STEP)
        context = replace(self.context, settled=settled, calibration=calibration)
        return advise(workloads(self.history, namespaces), self.strategies, now, context)

    async def _settled(self) -> "frozenset[Subject]":
        """What has the requests that were suggested for it."""
        found = await self._all(state=("applied", "kept"), strategy="rightsize")
        return frozenset(one.suggestion.subject for one in found)

    # ---- applying, and what came of it

    async def applying(self, call: Call) -> None:
        """A call to apply one is about to be recorded. Raises where somebody else was quicker."""
        with as_tool_errors():
            await self.suggestions.applying(call.arguments["id"], call.id, call.caller.person)

    def ended(self, call: Call) -> None:
        if self._trials:
            self._trials.forget(call.tenant)
        work = None
        if call.tool == APPLY and call.state.ended:
            work = self._settle(call)
        elif call.undoes and call.state is State.SUCCEEDED:
            work = self._undone(call)
        if work is not None:
            task = self._spawn(work)
            self.settling.add(task)
            task.add_done_callback(self.settling.discard)

    async def _settle(self, call: Call) -> None:
        """Say of a suggestion what became of its call."""
        from recommender.model import RecommenderError
        from recommender.outcomes import watch_s

        id = call.arguments["id"]
        try:
            if call.state is State.SUCCEEDED:
                one = await self.suggestions.get(id)
                when = self._clock().timestamp()
                before = await asyncio.to_thread(self._before, one, when)
                seconds = watch_s(one.suggestion.strategy)
                await self.suggestions.applied(id, call.id, when, before, seconds)
            elif call.state not in (State.STUCK, State.UNKNOWN):
                await self.suggestions.not_applied(id)
        except RecommenderError as error:
            log.warning("suggestion not settled", id=id, call=call.id, why=error.message)

    async def _undone(self, call: Call) -> None:
        """Whoever takes back what was applied has turned the suggestion down."""
        from recommender.model import RecommenderError

        first = await self._records.find(call.undoes)
        if first is not None and first.tool == APPLY:
            with suppress(RecommenderError):  # it had ended some other way
                await self.suggestions.reject(first.arguments["id"], call.caller.person, "Undone.")

    async def _settle_all(self) -> None:
        for one in await self._all(state="applying"):
            call = await self._records.find(one.call_id) if one.call_id else None
            if call is not None and call.state.ended:
                await self._settle(call)

    async def watch(self, gate: Gate) -> None:
        """Judge what was applied, harm as soon as it shows; have undone what did harm."""
        from recommender.outcomes import judge, watch_s

        now = self._clock().timestamp()
        applied = await self._all(state="applied")
        if applied:
            namespaces = {one.suggestion.subject.namespace for one in applied}
            await asked(lambda: self._read(now, namespaces))
        for one in applied:
            assert one.applied is not None
            after = await asyncio.to_thread(self._after, one, now)
            watched = watch_s(one.suggestion.strategy)
            waited = now - one.applied
            judged = judge(one.suggestion, one.before, after, watched, waited_s=waited)
            over = one.watch_until is not None and one.watch_until <= now
            if judged is None or not (over or judged.outcome == "harmful"):
                continue
            await self.suggestions.conclude(
                one.id, judged.outcome, judged.figures, judged.why, held=judged.held
            )
            log.info("outcome", id=one.id, outcome=judged.outcome, why=judged.why)
        # Apart, so that one that a crash left without its undo gets it.
        for one in await self._all(state="harmful"):
            if not one.undo_call:
                await self._take_back(gate, one)

    async def _take_back(self, gate: Gate, one: "Stored") -> None:
        which = {"id": one.call_id}
        undo = await gate.call(ITSELF, "call_undo", which, key=f"undo {one.id}")
        told = f"{one.why} It could not be undone: {undo.error.message}" if undo.error else one.why
        await self.suggestions.conclude(
            one.id,
            "harmful",
            one.figures or {},
            told,
            undo_call=undo.call_id or "none",
            held=one.held,
        )

    async def _all(self, **which: Any) -> "Sequence[Stored]":
        found: list[Stored] = []
        cursor = ""
        for _ in range(100):
            page = await self.suggestions.list(**which, limit=1000, cursor=cursor)
            found += page.items
            if not (cursor := page.next):
                break
        return found

    def _before(self, one: "Stored", now: float) -> dict[str, Any]:
        """What the workload was like until now; nothing where nothing is known of it."""
        from recommender.model import RecommenderError
        from recommender.outcomes import BEFORE_S, before, watch_s

        try:
            workload = self._workload(one, BEFORE_S)
        except RecommenderError:
            return {}
        return before(workload, now, watch_s(one.suggestion.strategy)).plain()

    def _after(self, one: "Stored", now: float) -> dict[str, Any] | None:
        from recommender.model import RecommenderError
        from recommender.outcomes import after, watch_s

        assert one.applied is not None
        try:
            workload = self._workload(one, now - one.applied)
        except RecommenderError:
            return None
        return after(workload, one.applied, now, watch_s(one.suggestion.strategy)).plain()

    def _workload(self, one: "Stored", window: float) -> "Workload":
        from recommender.live import usage

        about = one.suggestion.subject
        return usage(self.history, about.namespace, about.kind, about.name, window)

    # ---- the rest

    async def _find(self, caller: Caller, id: str) -> "Stored":
        with as_tool_errors():
            try:
                one = await self.suggestions.get(id)
            except Exception as error:
                from recommender.suggestions import NotFound

                if not isinstance(error, NotFound):
                    raise
                raise _unknown(id) from None
        seen = await self._seen_by(caller)
        if seen is not None and one.suggestion.subject.namespace not in seen:
            raise _unknown(id)
        return one

    async def _seen_by(self, caller: Caller) -> set[str] | None:
        """The namespaces whose suggestions a caller may see; None is all."""
        if caller.operator:
            return None
        found = await asyncio.gather(*(self._tenants.find(name) for name in caller.grants))
        return {t.name for t in found if t is not None and caller.grants[t.name].uid == t.uid}

    def _shown(self, one: "Stored") -> Recommendation:
        return shown(one, self._clock(), self._currency)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _regularly(
        self, every_s: float, work: Callable[[], Any], at_once: bool = True
    ) -> None:
        if not at_once:
            await asyncio.sleep(every_s)
        while True:
            try:
                await work()
            except ToolError as error:
                log.warning("advice", error=error.message)
            except Exception:
                log.exception("advice failed")
            await asyncio.sleep(every_s)


def _unknown(id: str) -> ToolError:
    return ToolError(
        Code.NOT_FOUND, f"There is no recommendation {id!r}.", "recommendation_list shows yours."
    )
