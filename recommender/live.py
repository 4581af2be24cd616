"""Questions to a Prometheus as people and models ask them: bounded, and in plain data."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from recommender.history import History
from recommender.model import RecommenderError, Workload
from recommender.prometheus import Prometheus
from recommender.queries import RUNNING, Queries, quoted
from recommender.workloads import workloads

RATE_S = 300.0
# What Kubernetes makes up names of: without vowels, so that it makes up no words.
SUFFIX = "[b-df-hj-np-tv-z2456789]"
SERVICES = {
    "cpu": "sum by (namespace) "
    f"(rate($container_cpu_usage_seconds_total{{{RUNNING}$pods}}[${{step}}s]))",
    "memory": f"sum by (namespace) ($container_memory_working_set_bytes{{{RUNNING}$pods}})",
    "network_in": "sum by (namespace) "
    '(rate($container_network_receive_bytes_total{pod!="",$where$pods}[${step}s]))',
    "network_out": "sum by (namespace) "
    '(rate($container_network_transmit_bytes_total{pod!="",$where$pods}[${step}s]))',
}
MOST_POINTS = 11_000
MOST_SERIES = 200
DURATION = re.compile(r"^(\d+(?:\.\d+)?)(s|m|h|d|w)$")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def duration(text: str) -> float:
    """`5m`, `2h` or `7d` in seconds."""
    match = DURATION.match(text)
    if not match or not float(match[1]):
        raise RecommenderError(f"{text!r} is not a duration.", "Such as 30s, 5m, 2h, 7d or 1w.")
    return float(match[1]) * SECONDS[match[2]]


def query(prometheus: Prometheus, expr: str, at: float | None = None) -> dict[str, Any]:
    """`series` with their `labels` and `value`, the first MOST_SERIES of `total`; `warnings`."""
    found = prometheus.query(_given(expr), at)
    pairs = list(zip(found.labels, found.values.tolist(), strict=True))
    series = [{"labels": labels, "value": _plain(value)} for labels, value in pairs[:MOST_SERIES]]
    return {"series": series, "total": len(pairs), "warnings": list(found.warnings)}


def query_range(
    prometheus: Prometheus, expr: str, start: float, end: float, step: float
) -> dict[str, Any]:
    """`series` with their `labels` and `values` at `start`, `start + step`, …: at most MOST_POINTS
    in all, of the first of `total` series; null where there was nothing."""
    if step <= 0 or not np.isfinite([start, end, step]).all() or end < start:
        raise RecommenderError("A range needs a start before its end, and a step above nothing.")
    steps = int((end - start) / step) + 1
    if steps > MOST_POINTS:
        raise RecommenderError(
            f"That is {steps:,} points for every series, and {MOST_POINTS:,} are the most.",
            f"A step of {np.ceil((end - start) / (MOST_POINTS - 1)):.0f} s or more would do.",
        )
    found = prometheus.query_range(_given(expr), start, end, step)
    shown = min(MOST_SERIES, MOST_POINTS // steps)
    series = [
        {"labels": labels, "values": [_plain(value) for value in row]}
        for labels, row in zip(found.labels[:shown], found.values[:shown].tolist(), strict=True)
    ]
    return {
        "start": start,
        "step": step,
        "series": series,
        "total": len(found.labels),
        "warnings": list(found.warnings),
    }


@dataclass(frozen=True)
class Services:
    """`series` are each a namespace, a metric, and its values at even steps (NaN: not known)."""

    series: list[tuple[str, str, list[float]]]
    warnings: list[str]


def services(
    prometheus: Prometheus,
    queries: Queries,
    namespaces: Collection[str] | None,
    service: str,
    start: float,
    end: float,
    step: float,
) -> Services:
    """CPU, memory and network of namespaces (None: of all), of one service where it is named."""
    if namespaces is not None and not namespaces:
        return Services([], [])
    series: list[tuple[str, str, list[float]]] = []
    warnings: dict[str, None] = {}
    for metric, template in SERVICES.items():
        template = template.replace("$pods", f",pod=~{quoted(pods_of(service))}" if service else "")
        expr = queries.expr(template, namespaces or (), RATE_S)
        found = prometheus.query_range(expr, start, end, step)
        for labels, row in zip(found.labels, found.values.tolist(), strict=True):
            series.append((labels.get("namespace", ""), metric, row))
        warnings |= dict.fromkeys(found.warnings)
    return Services(sorted(series, key=lambda one: one[:2])[:MOST_SERIES], list(warnings))


def pods_of(service: str) -> str:
    """A pattern for the names that a controller gives the pods of a workload."""
    return rf"{re.escape(service)}(-[a-z0-9]{{1,10}}-{SUFFIX}{{5}}|-{SUFFIX}{{5}}|-[0-9]+)?"


def usage(history: History, namespace: str, kind: str, name: str, window: float) -> Workload:
    """A workload and the last `window` seconds of its past, as of the last reading."""
    for one in workloads(history, [namespace], window=window):
        if (one.subject.kind, one.subject.name) == (kind, name):
            return one
    raise RecommenderError(
        f"No usage of {kind} {name} in {namespace} is known.",
        "Check the name; what is new is known after the next reading of Prometheus.",
    )


def _given(expr: str) -> str:
    if not expr.strip():
        raise RecommenderError("There is no expression.", "Such as up, or rate(x_total[5m]).")
    return expr


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None
