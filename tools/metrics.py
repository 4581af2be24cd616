"""Tools to look at metrics: a workload's use over time, and PromQL for operators."""

from typing import Annotated, Any

from pydantic import Field

from tools.calls import Role
from tools.context import Context
from tools.inputs import OfAnyTenant, Subdomain
from tools.objects import Lean
from tools.tool import Arguments, Effect, tool
from tools.workload import OfWorkload, find

Span = Annotated[str, Field(pattern=r"^\d{1,5}[smhdw]$", max_length=6)]
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
Query = Annotated[str, Field(min_length=1, max_length=4000)]


class MetricsQuery(Arguments):
    query: Query = Field(description="PromQL")
    limit: int = Field(50, ge=1, le=1000)


class MetricsRange(Arguments):
    query: Query = Field(description="PromQL")
    last: Span = "1h"
    points: int = Field(60, ge=2, le=1000)
    limit: int = Field(20, ge=1, le=200)


class WorkloadUsage(OfWorkload):
    last: Span = "24h"
    points: int = Field(48, ge=2, le=500)


class ServiceMetrics(OfAnyTenant):
    service: Subdomain | None = Field(None, description="a workload; else each tenant as a whole")
    last: Span = "1h"
    points: int = Field(60, ge=2, le=500)


class MetricsHistory(ServiceMetrics):
    last: Span = "7d"
    points: int = Field(84, ge=2, le=500)


class Sample(Lean):
    labels: dict[str, str]
    value: float | None = None
    values: list[float | None] = []


class Samples(Lean):
    """`values` are one each `step_s` seconds from `start` (UTC); null where nothing is known."""

    series: list[Sample]
    start: str = ""
    step_s: float = 0.0
    more: int = 0
    warnings: list[str] = []


class ServiceSeries(Lean):
    """`metric` is cpu (cores), memory (bytes), network_in or network_out (bytes per second)."""

    tenant: str
    service: str = ""
    metric: str
    values: list[float | None]


class ServiceAnswer(Lean):
    """`values` are one each `step_s` seconds from `start` (UTC); null where nothing is known."""

    series: list[ServiceSeries]
    start: str = ""
    step_s: float = 0.0
    warnings: list[str] = []


class Usage(Lean):
    """For each container its use over time against what it asks for. CPU in cores, memory in
    bytes, of the busiest pod."""

    workload: str
    start: str
    step_s: float
    containers: list[dict[str, Any]]
    replicas: list[float | None] = []
    notes: list[str] = []


@tool("metrics_query", effect=Effect.READ, group="metrics", title="Query metrics",
      role=Role.OPERATOR, scope="platform")  # fmt: skip
async def query(ctx: Context, asked: MetricsQuery) -> Samples:
    """The value of a PromQL expression now, for each series."""
    found: Samples = await ctx.need_metrics().query(asked.query, asked.limit)
    return found


@tool("metrics_range", effect=Effect.READ, group="metrics", title="Query metrics over time",
      role=Role.OPERATOR, scope="platform")  # fmt: skip
async def query_range(ctx: Context, asked: MetricsRange) -> Samples:
    """A PromQL expression over the last while (30m, 6h, 7d), at evenly spaced points."""
    metrics = ctx.need_metrics()
    found: Samples = await metrics.range(
        asked.query, seconds(asked.last), asked.points, asked.limit
    )
    return found


@tool("workload_usage", effect=Effect.READ, group="metrics", title="Show a workload's use")
async def usage(ctx: Context, asked: WorkloadUsage) -> Usage:
    """What a workload's containers used of CPU and memory lately, against requests and limits."""
    ref, _ = await find(ctx, asked)
    used: Usage = await ctx.need_metrics().usage(ref, seconds(asked.last), asked.points)
    return used


def seconds(span: str) -> float:
    """Of a span as Prometheus writes it (90s, 30m, 6h, 7d, 2w)."""
    return int(span[:-1]) * SECONDS[span[-1]]


@tool("metrics_service", effect=Effect.READ, group="metrics", title="Show a service's metrics",
      scope="platform")  # fmt: skip
async def of_service(ctx: Context, asked: ServiceMetrics) -> ServiceAnswer:
    """CPU, memory and network of a service, or of whole tenants, as Prometheus has them now."""
    tenants = await ctx.seen_tenants(asked.tenant)
    found: ServiceAnswer = await ctx.need_metrics().services(
        tenants, asked.service or "", seconds(asked.last), asked.points
    )
    return found


@tool("metrics_history", effect=Effect.READ, group="metrics", title="Show metrics of the past",
      scope="platform")  # fmt: skip
async def history(ctx: Context, asked: MetricsHistory) -> ServiceAnswer:
    """What services, or whole tenants, used in the past, from what is kept of it."""
    tenants = await ctx.seen_tenants(asked.tenant)
    found: ServiceAnswer = await ctx.need_metrics().past(
        tenants, asked.service or "", seconds(asked.last), asked.points
    )
    return found
