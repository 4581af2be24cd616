"""Metrics for the tools: a Prometheus asked in a thread, and the history that is kept of it."""

import asyncio
import math
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from tools.errors import Code, ToolError
from tools.metrics import Sample, Samples, ServiceAnswer, ServiceSeries, Usage
from tools.plan import Ref

if TYPE_CHECKING:
    from recommender.history import History
    from recommender.model import Series
    from recommender.prometheus import Prometheus
    from recommender.queries import Queries

T = TypeVar("T")

# Of their own: what Prometheus keeps waiting must keep nothing else.
_threads = ThreadPoolExecutor(8, "metrics")


class Measures:
    """The `Metrics` of `tools/context.py`."""

    def __init__(
        self,
        prometheus: "Prometheus",
        history: "History",
        queries: "Queries",
        clock: Callable[[], datetime],
    ) -> None:
        self._prometheus = prometheus
        self._history = history
        self._queries = queries
        self._clock = clock

    async def reached(self) -> None:
        """Raises `ToolError` where Prometheus does not answer."""
        await asked(self._prometheus.build)

    async def services(
        self, tenants: Collection[str] | None, service: str, last_s: float, points: int
    ) -> ServiceAnswer:
        from recommender.live import services

        end, step = self._clock().timestamp(), last_s / (points - 1)
        found = await asked(
            lambda: services(
                self._prometheus, self._queries, tenants, service, end - last_s, end, step
            )
        )
        return ServiceAnswer(
            series=[
                ServiceSeries(tenant=tenant, service=service, metric=metric, values=_short(values))
                for tenant, metric, values in found.series
            ],
            start=_moment(end - last_s),
            step_s=step,
            warnings=found.warnings,
        )

    async def past(
        self, tenants: Collection[str] | None, service: str, last_s: float, points: int
    ) -> ServiceAnswer:
        from recommender.past import past

        start, step, found = await asked(
            lambda: past(self._history, tenants, service, last_s, points)
        )
        series = [
            ServiceSeries(
                tenant=one.namespace,
                service=service,
                metric=one.metric,
                values=_short(one.values.tolist()),
            )
            for one in found
        ]
        return ServiceAnswer(series=series, start=_moment(start) if series else "", step_s=step)

    async def query(self, expr: str, limit: int) -> Samples:
        from recommender.live import query

        found = await asked(lambda: query(self._prometheus, expr))
        series = [Sample(labels=s["labels"], value=s["value"]) for s in found["series"][:limit]]
        return Samples(series=series, more=found["total"] - len(series), warnings=found["warnings"])

    async def range(self, expr: str, last_s: float, points: int, limit: int) -> Samples:
        from recommender.live import query_range

        end = self._clock().timestamp()
        step = last_s / (points - 1)
        found = await asked(lambda: query_range(self._prometheus, expr, end - last_s, end, step))
        series = [Sample(labels=s["labels"], values=s["values"]) for s in found["series"][:limit]]
        return Samples(
            series=series,
            start=_moment(found["start"]),
            step_s=found["step"],
            more=found["total"] - len(series),
            warnings=found["warnings"],
        )

    async def usage(self, ref: Ref, last_s: float, points: int) -> Usage:
        from recommender.live import usage

        one = await asked(
            lambda: usage(self._history, ref.namespace, ref.short_kind, ref.name, last_s)
        )
        series = [s for c in one.containers for s in (c.cpu, c.memory) if s is not None]
        if not series:
            raise ToolError(
                Code.NOT_FOUND, f"No usage of {ref} is known.", "recommendation_analyze reads it."
            )
        end = max(s.end for s in series)
        start = max(end - last_s, min(s.start for s in series))

        def at(line: "Series | None") -> list[float | None]:
            return thinned(line, start, end, points) if line is not None else []

        return Usage(
            workload=str(ref),
            start=_moment(start),
            step_s=(end - start) / points,
            containers=[
                {
                    "name": c.name,
                    "cpu": at(c.cpu),
                    "cpu_request": c.cpu_request,
                    "cpu_limit": c.cpu_limit,
                    "memory": at(c.memory),
                    "memory_request": c.memory_request,
                    "memory_limit": c.memory_limit,
                    "oom_kills": len(c.oom_kills),
                    "restarts": c.restarts,
                }
                for c in one.containers
            ],
            replicas=at(one.replicas),
            notes=list(one.notes),
        )


def thinned(line: "Series", start: float, end: float, points: int) -> list[float | None]:
    """The highest value in each of `points` even parts: a peak must not fall between two points."""
    import numpy as np

    found: list[float | None] = []
    edges = np.linspace(start, end, points + 1)
    for low, high in pairwise(edges):
        part = line.between(low, high).values
        part = part[~np.isnan(part)]
        found.append(float(f"{part.max():.4g}") if len(part) else None)
    return found


async def asked(work: Callable[[], T]) -> T:
    """Do what may wait for Prometheus in a thread. Raises `ToolError` for its errors."""
    with as_tool_errors():
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_threads, copy_context().run, work)


@contextmanager
def as_tool_errors() -> Iterator[None]:
    from recommender.model import RecommenderError

    try:
        yield
    except RecommenderError as error:
        code = Code.UNAVAILABLE if error.passing else Code.FAILED_PRECONDITION
        hint = error.hint or "recommendation_list says how the last reading went."
        raise ToolError(code, error.message, hint, retry_after=error.retry_after) from error


def _short(values: list[float]) -> list[float | None]:
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
