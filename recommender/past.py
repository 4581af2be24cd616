"""What was used in the past, in all: of a service, or of each namespace as a whole."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from recommender.history import History
from recommender.model import Floats, Series, Workload
from recommender.workloads import workloads


@dataclass(frozen=True)
class Past:
    """`metric` is `cpu` (cores), `memory` (bytes) or `network_in` (bytes per second), over all
    pods; `name` is empty for a namespace as a whole. CPU and memory are the busiest pod's times the
    pods that were ready, which is what is kept of them: at most a little too high."""

    namespace: str
    name: str
    metric: str
    values: Floats


def past(
    history: History,
    namespaces: Collection[str] | None,
    name: str,
    window: float,
    points: int,
) -> tuple[float, float, list[Past]]:
    """When it begins, seconds between two points, and the series; the mean of each part."""
    sums: dict[tuple[str, str, str], list[Series]] = defaultdict(list)
    for one in workloads(history, namespaces, window=window):
        if one.subject.kind == "Namespace" or (name and one.subject.name != name):
            continue
        for metric, series in _used(one):
            sums[one.subject.namespace, name, metric].append(series)
    end = max((s.end for some in sums.values() for s in some), default=0.0)
    start, step = end - window, window / points
    found = [
        Past(*key, values=_summed([_parts(s, start, step, points) for s in some]))
        for key, some in sorted(sums.items())
    ]
    return start, step, found


def _used(one: Workload) -> Iterator[tuple[str, Series]]:
    for container in one.containers:
        for metric, series in (("cpu", container.cpu), ("memory", container.memory)):
            if series is not None:
                yield metric, _times(series, one.replicas)
    if one.traffic is not None:
        yield "network_in", one.traffic


def _times(series: Series, replicas: Series | None) -> Series:
    """By the pods that there were; by one where that is not known."""
    if replicas is None:
        return series
    many = np.ones(len(series.values))
    offset = round((series.start - replicas.start) / series.step)
    places = np.arange(len(many)) + offset
    known = (places >= 0) & (places < len(replicas.values))
    many[known] = np.nan_to_num(replicas.values[places[known]], nan=1.0)
    return Series(series.start, series.step, series.values * many)


def _parts(series: Series, start: float, step: float, points: int) -> Floats:
    """The mean of what is known in each part; NaN where nothing is."""
    if step < series.step:
        middle = start + step * (np.arange(points) + 0.5)
        place = np.floor((middle - series.start) / series.step).astype(int)
        fits = (place >= 0) & (place < len(series.values))
        found = np.full(points, np.nan)
        found[fits] = series.values[place[fits]]
        return found
    at = series.start + series.step * (np.arange(len(series.values)) + 0.5)
    place = np.floor((at - start) / step).astype(int)
    fits = (place >= 0) & (place < points) & ~np.isnan(series.values)
    total = np.bincount(place[fits], weights=series.values[fits], minlength=points)
    count = np.bincount(place[fits], minlength=points)
    means: Floats = np.divide(total, count, out=np.full(points, np.nan), where=count > 0)
    return means


def _summed(rows: list[Floats]) -> Floats:
    stacked = np.array(rows)
    total: Floats = np.nansum(stacked, axis=0)
    total[np.isnan(stacked).all(axis=0)] = np.nan
    return total
