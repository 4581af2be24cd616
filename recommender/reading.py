"""Reads what is new in a Prometheus into the history: many namespaces at once, two requests at a
time, a day at a time, and each piece for good as soon as it is there."""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Literal

from recommender.answers import Matrix
from recommender.facts import read_facts
from recommender.folding import folded
from recommender.history import DAY, History, Mark
from recommender.model import RecommenderError
from recommender.owners import Owners, read_owners
from recommender.planning import Piece, Shard, pieces, shards
from recommender.prometheus import Prometheus
from recommender.queries import FACTS, OWNERS, STATE_METRICS, STEP, SURVEY, SURVEYED, Queries, Query
from recommender.refusals import Away, Slow, TooMuch

WINDOW = 7 * DAY
# What was scraped last is not everywhere yet.
SETTLED_S = 60.0
SKEW_S = 30.0
LEAST_STEPS = 12
# So often in a row it may be too slow, with ever smaller pieces, until we leave it alone.
SLOW_MOST = 4
SIDE_BY_SIDE = 2
# Said by Prometheus of the query, not of the data that is missing.
OF_THE_QUERY = "PromQL "
NO_STATE = (
    "There is no kube-state-metrics here: workloads are guessed from the names of their pods, and "
    "requests, limits, replicas wanted and autoscalers are not known."
)

Progress = Callable[[int, int], None]


@dataclass
class Run:
    """What a reading came to. `partial`: some of it is missing, as `warnings` say; `failed`:
    nothing could be read, as `trouble` says. What was known before stays in either case."""

    status: Literal["whole", "partial", "failed"] = "whole"
    start: float = 0.0
    end: float = 0.0
    requests: int = 0
    series: int = 0
    points: int = 0
    seconds: float = 0.0
    skew: float = 0.0
    state_metrics: bool = True
    missing: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)
    trouble: RecommenderError | None = None

    def warn(self, what: str, *, partial: bool = False) -> None:
        if what not in self.warnings:
            self.warnings.append(what)
        if partial and self.status == "whole":
            self.status = "partial"


def read(
    prometheus: Prometheus,
    history: History,
    *,
    now: float,
    window: float = WINDOW,
    queries: Queries | None = None,
    namespaces: Collection[str] | None = None,
    progress: Progress | None = None,
    longest_s: float = 1800.0,
) -> Run:
    """Everything of the last `window` seconds that the history does not have yet. Does not raise
    RecommenderError: the run says what went wrong. What is not read after `longest_s` waits for
    the next run."""
    began = monotonic()
    reader = _Reader(prometheus, history, queries or Queries(), began + longest_s)
    try:
        reader.survey(now, window)
        reader.all(namespaces, progress or (lambda done, of: None))
        history.prune(reader.run.end)
    except RecommenderError as error:
        reader.run.trouble = error
        reader.run.warn(error.message)
        reader.run.status = "partial" if reader.run.points else "failed"
    reader.run.seconds = monotonic() - began
    return reader.run


@dataclass
class _Found:
    """What came of a piece, which may have had to be cut."""

    matrices: list[Matrix] = field(default_factory=list)
    error: RecommenderError | None = None


class _Reader:
    def __init__(
        self, prometheus: Prometheus, history: History, queries: Queries, until: float
    ) -> None:
        self.until = until
        self.prometheus = prometheus
        self.history = history
        self.queries = queries
        self.run = Run()
        self.names: set[str] = set()
        self.there: list[Query] = []
        # What has failed, or came with a warning: until where its mark stays, and why.
        self.held: dict[tuple[str, int], tuple[float, str]] = {}
        # How long a piece of each query may be: what was too much once is not tried again.
        self.steps: defaultdict[str, int] = defaultdict(lambda: int(DAY / STEP))
        self.slow = 0
        self.gone = threading.Event()

    def survey(self, now: float, window: float) -> None:
        """What there is to read, and until when."""
        run, queries = self.run, self.queries
        theirs = self.prometheus.now()
        run.skew = now - theirs
        if abs(run.skew) > SKEW_S:
            ahead = "ahead of" if run.skew > 0 else "behind"
            run.warn(f"Our clock is {abs(run.skew):.0f} s {ahead} that of Prometheus.")
        # What lies in the server's future it would answer with nothing, which is not what will be.
        run.end = (min(now, theirs) - SETTLED_S) // STEP * STEP
        run.start = run.end - window
        self.names = set(self.prometheus.label_values("__name__", run.end - 3600, run.end))
        run.requests += 2
        asked = queries.ranges
        self.there = [query for query in asked if queries.there(query.metrics, self.names)]
        run.missing = tuple(query.name for query in asked if query not in self.there)
        if lacking := [query.name for query in asked if query.must and query.name in run.missing]:
            metrics = [
                queries.called(metric)
                for query in asked
                if query.name in lacking
                for metric in query.metrics
            ]
            raise RecommenderError(
                f"This Prometheus has had no {' and no '.join(metrics)} in the last hour.",
                "Scrape the kubelets' cAdvisor, or name the metrics in the settings.",
            )
        run.state_metrics = queries.there((STATE_METRICS,), self.names)
        if not run.state_metrics:
            run.warn(NO_STATE)

    def all(self, only: Collection[str] | None, progress: Progress) -> None:
        run, queries = self.run, self.queries
        match = queries.expr(SURVEYED)
        found = set(self.prometheus.label_values("namespace", run.start, run.end, match))
        answer = self.prometheus.query(queries.expr(SURVEY), run.end)
        counts = {
            labels.get("namespace", ""): int(value)
            for labels, value in zip(answer.labels, answer.values, strict=True)
        }
        run.requests += 2
        wanted = sorted(found if only is None else found & set(only))
        sizes = {name: max(1, counts.get(name, 1)) for name in wanted}
        asked = [query.name for query in self.there]
        cut = shards(sizes, asked, self._until(run.start), run.start)
        plans = [(shard, pieces(shard, self.there, run.end)) for shard in cut]
        total = sum(len(of_shard) for _, of_shard in plans)
        progress(0, total)
        for done, (shard, owners, piece, answer_to) in enumerate(self._ahead(plans), 1):
            self._keep(shard, owners, piece, answer_to)
            progress(done, total)
            if monotonic() > self.until and done < total:
                raise RecommenderError(
                    f"There was no time for {total - done} of {total} parts of the reading.",
                    "The next run goes on from here.",
                    passing=True,
                )

    def _until(self, start: float) -> dict[tuple[str, str], float]:
        """How far each query was read in each namespace, if it was the same query."""
        exprs = {query.name: self.queries.expr(query.template) for query in self.there}
        return {
            at: max(mark.until, start)
            for at, mark in self.history.marks().items()
            if exprs.get(mark.query) == mark.expr
        }

    def _ahead(
        self, plans: list[tuple[Shard, list[Piece]]]
    ) -> Iterator[tuple[Shard, Owners, Piece, _Found]]:
        """Every piece with what came of it, in order, while the next ones are under way."""
        waiting: deque[tuple[Shard, Owners, Piece, Future[_Found]]] = deque()
        with ThreadPoolExecutor(SIDE_BY_SIDE, "prometheus") as pool:
            try:
                for shard, of_shard in plans:
                    owners = self._owners(shard, of_shard)
                    for piece in of_shard:
                        waiting.append(
                            (shard, owners, piece, pool.submit(self._fetch, shard, piece))
                        )
                        if len(waiting) > SIDE_BY_SIDE:
                            yield self._next(waiting)
                while waiting:
                    yield self._next(waiting)
            finally:
                self.gone.set()

    @staticmethod
    def _next(
        waiting: "deque[tuple[Shard, Owners, Piece, Future[_Found]]]",
    ) -> tuple[Shard, Owners, Piece, _Found]:
        shard, owners, piece, future = waiting.popleft()
        return shard, owners, piece, future.result()

    def _owners(self, shard: Shard, of_shard: list[Piece]) -> Owners:
        """Whose the pods of a shard are, and what its workloads are like now."""
        start = min((piece.start for piece in of_shard), default=self.run.end)
        end = self.run.end
        who = self.prometheus, self.queries, self.names, shard.namespaces
        try:
            owners = read_owners(*who, start - STEP, end)
            facts = read_facts(*who, owners, end)
        except Away:
            raise
        except RecommenderError as error:
            # Without its owners a pod's usage would be kept under a wrong name.
            note = f"What belongs to what could not be read: {error.message}"
            self.run.warn(f"{shard}: {note}", partial=True)
            for query in self.there:
                self.held[query.name, shard.number] = shard.until[query.name], note
            return Owners()
        self.run.requests += len(OWNERS) + len(FACTS)
        self.history.put_facts(facts)
        return owners

    def _fetch(self, shard: Shard, piece: Piece) -> _Found:
        if self.gone.is_set() or (piece.query.name, shard.number) in self.held:
            return _Found()
        try:
            return _Found(self._answers(piece.query, shard.namespaces, piece.start, piece.end))
        except RecommenderError as error:
            return _Found(error=error)

    def _answers(
        self, query: Query, namespaces: Collection[str], start: float, end: float
    ) -> list[Matrix]:
        """A piece, in halves where the server will not load the whole of it: halves of the time
        down to an hour, then of the namespaces."""
        steps = round((end - start) / STEP)
        if steps > self.steps[query.name]:
            middle = start + steps // 2 * STEP
            return [
                *self._answers(query, namespaces, start, middle),
                *self._answers(query, namespaces, middle, end),
            ]
        expr = self.queries.expr(query.template, namespaces)
        try:
            # A value at a moment tells of the step before it; ours stand at the step's begin.
            found = self.prometheus.query_range(expr, start + STEP, end, STEP)
        except TooMuch as error:
            self.slow += isinstance(error, Slow)
            if self.slow >= SLOW_MOST:
                raise Away(error.message, error.hint, passing=True) from None
            if steps > LEAST_STEPS:
                self.steps[query.name] = max(LEAST_STEPS, steps // 2)
                return self._answers(query, namespaces, start, end)
            if len(namespaces) > 1:
                names = sorted(namespaces)
                half = len(names) // 2
                return [
                    *self._answers(query, names[:half], start, end),
                    *self._answers(query, names[half:], start, end),
                ]
            raise
        finally:
            self.run.requests += 1
        self.slow = 0
        return [replace(found, start=start)]

    def _keep(self, shard: Shard, owners: Owners, piece: Piece, found: _Found) -> None:
        """Into the history with it, and its mark on: in one transaction."""
        run, name = self.run, piece.query.name
        at = name, shard.number
        if found.error:
            self.held.setdefault(at, (piece.start, found.error.message))
            run.warn(f"{shard}: {name} could not be read: {found.error.message}", partial=True)
        for matrix in found.matrices:
            for word in matrix.warnings:
                missing = not word.startswith(OF_THE_QUERY)
                run.warn(f"{shard}: {name}: {word}", partial=missing)
                if missing:
                    note = f"only a part of it was answered: {word}"
                    self.held.setdefault(at, (piece.start, note))
            run.series += len(matrix.labels)
            run.points += matrix.values.size
        rows = [row for one in found.matrices for row in folded(piece.query, one, owners)]
        until, note = self.held.get(at, (piece.end, ""))
        expr = self.queries.expr(piece.query.template)
        marks = [Mark(name, namespace, expr, until, note) for namespace in shard.namespaces]
        self.history.keep(rows, marks)
        if isinstance(found.error, Away):
            raise found.error
