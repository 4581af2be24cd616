"""Workloads with their past, as the history knows them."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from itertools import groupby

import msgspec
import numpy as np

from recommender.facts import CLAIM, NAMESPACE, QUOTA, Told
from recommender.folding import PODS
from recommender.forecast import by_day
from recommender.history import DAY, Facts, History, Key, Mark
from recommender.model import Autoscaler, Container, Floats, Series, Subject, Workload
from recommender.queries import STEP
from recommender.renames import present

# So many workloads' series are held at once.
AT_ONCE = 200
HOUR = 3600.0
# Between two of their runs these are not there; the others are there or gone.
COMES_AND_GOES = frozenset({"Job", "CronJob"})
WELL_KNOWN = 0.9

Past = Mapping[Key, Series]
Name = tuple[str, str, str]  # namespace, kind, name


def workloads(
    history: History,
    namespaces: Collection[str] | None = None,
    *,
    window: float = 15 * DAY,
    cluster: str = "default",
) -> Iterator[Workload]:
    """Every workload that was there at the last reading, and each namespace with a quota or a disk
    of its own, with at most the last `window` seconds. Series begin where the first is known."""
    alive = _alive(history.facts(), namespaces)
    marks, keys = _by_namespace(history), history.keys()
    of: dict[Name, list[Key]] = defaultdict(list)
    for key in keys:
        of[key.namespace, key.kind, key.name].append(key)
        if key.kind == QUOTA:
            of[key.namespace, QUOTA, ""].append(key)
    for newest, facts in alive.items():
        for first in range(0, len(facts), AT_ONCE):
            some = facts[first : first + AT_ONCE]
            wanted = {one: list(_kept_of(one, of)) for one in some}
            numbers = {keys[key]: key for some_keys in wanted.values() for key in some_keys}
            found = history.series(numbers, newest - window, newest)
            past = {numbers[number]: series for number, series in found.items()}
            for one in some:
                mine = {key: past[key] for key in wanted[one] if key in past}
                yield _workload(one, mine, marks[one.namespace], cluster)


def pasts(
    history: History, namespaces: Collection[str] | None = None, window: float = 7 * DAY
) -> Iterator[tuple[str, Floats]]:
    """What the workloads that are there used, by metric, one a row. A day that less than half of is
    known says nothing of its peak, and is left out."""
    of: dict[Name, list[tuple[str, int]]] = defaultdict(list)
    for key, number in history.keys().items():
        if key.metric in ("cpu", "memory", "demand"):
            of[key.namespace, key.kind, key.name].append((key.metric, number))
    for newest, facts in _alive(history.facts(), namespaces).items():
        for first in range(0, len(facts), AT_ONCE):
            some = facts[first : first + AT_ONCE]
            wanted = {
                number: metric
                for one in some
                for metric, number in of.get((one.namespace, one.kind, one.name), ())
            }
            _, numbers, rows = history.rows(wanted, newest - window, newest)
            days = by_day(rows, STEP)
            days[np.isfinite(days).mean(axis=2) < 0.5] = np.nan
            metrics = np.array([wanted[number] for number in numbers.tolist()])
            for metric in np.unique(metrics).tolist():
                yield metric, days[metrics == metric].reshape(-1, days.shape[1] * days.shape[2])


def _alive(
    everything: Collection[Facts], namespaces: Collection[str] | None
) -> dict[float, list[Facts]]:
    """What was there when its namespace was last read, by that moment."""
    last = max((one.seen for one in everything), default=0.0)
    found: dict[float, list[Facts]] = defaultdict(list)
    for namespace, group in groupby(everything, key=lambda one: one.namespace):
        there = list(group)
        newest = max(one.seen for one in there)
        if newest >= last - DAY and (namespaces is None or namespace in namespaces):
            found[newest] += [one for one in there if one.seen >= newest - _absent(one.kind)]
    return found


def _absent(kind: str) -> float:
    return 1.5 * DAY if kind in COMES_AND_GOES else HOUR


def _by_namespace(history: History) -> dict[str, list[Mark]]:
    found: dict[str, list[Mark]] = defaultdict(list)
    for mark in history.marks().values():
        found[mark.namespace].append(mark)
    return found


def _kept_of(one: Facts, of: Mapping[Name, list[Key]]) -> Iterator[Key]:
    """Its series, also those that are kept under the name of a disk or a quota."""
    yield from of.get((one.namespace, one.kind, one.name), ())
    for claim in msgspec.json.decode(one.told, type=Told).disks:
        yield from of.get((one.namespace, CLAIM, claim), ())
    if one.kind == NAMESPACE:
        yield from of.get((one.namespace, QUOTA, ""), ())


def _workload(one: Facts, past: Past, marks: Collection[Mark], cluster: str) -> Workload:
    told = msgspec.json.decode(one.told, type=Told)
    notes = list(_of_marks(marks, one.seen))
    mine = {key: series for key, series in past.items() if key.kind == one.kind}
    past, born = _begun(past, mine or past)
    mine = {key: series for key, series in past.items() if key.kind == one.kind}
    by_metric = {key.metric: series for key, series in mine.items() if not key.container}
    containers = present(told.containers, mine, notes)
    notes += _of_past(one, containers, born)
    if told.guessed:
        notes.append("Which pods are its own is guessed from their names.")
    scaler = told.scaler and Autoscaler(
        told.scaler.name,
        told.scaler.least,
        told.scaler.most,
        frozenset(told.scaler.resources),
        told.scaler.target,
    )
    return Workload(
        Subject(cluster, one.namespace, one.kind, one.name),
        tuple(
            _container(name, told.containers.get(name, {}), series)
            for name, series in sorted(containers.items())
        ),
        replicas=by_metric.get("replicas", by_metric.get(PODS)),
        demand=by_metric.get("demand"),
        wanted=told.wanted,
        autoscaler=scaler or None,
        starts_in=120.0 if told.starts_in is None else told.starts_in,
        traffic=by_metric.get("requests", by_metric.get("network")),
        disks={
            key.name: (series, told.disks[key.name])
            for key, series in past.items()
            if key.kind == CLAIM
        },
        quotas={
            f"{key.name}/{key.container}": (series, told.quotas[f"{key.name}/{key.container}"])
            for key, series in past.items()
            if key.kind == QUOTA and f"{key.name}/{key.container}" in told.quotas
        },
        notes=tuple(dict.fromkeys(notes)),
    )


def _begun(past: Past, mine: Past) -> tuple[dict[Key, Series], float]:
    """All series from the first moment on at which one is known, and that moment."""
    firsts = [
        series.start + STEP * int(np.argmax(known))
        for series in mine.values()
        if (known := ~np.isnan(series.values)).any()
    ]
    if not firsts:
        return dict(past), np.inf
    born = min(firsts)
    return {key: series.between(born, series.end) for key, series in past.items()}, born


def _container(name: str, told: Mapping[str, float], past: Mapping[str, Series]) -> Container:
    ooms, restarts = past.get("oom"), past.get("restarts")
    return Container(
        name,
        cpu=past.get("cpu"),
        memory=past.get("memory"),
        throttled=past.get("throttled"),
        oom_kills=() if ooms is None else _times(ooms),
        restarts=0 if restarts is None else int(np.nansum(restarts.values)),
        restarted=() if restarts is None else _each(restarts),
        **{what: told.get(what) for what in ("cpu_request", "cpu_limit")},
        **{what: told.get(what) for what in ("memory_request", "memory_limit")},
    )


def _times(series: Series) -> tuple[float, ...]:
    """When something happened. The kubelet and cAdvisor may tell of the same a step apart."""
    at = np.flatnonzero(np.nan_to_num(series.values) > 0)
    at = at[np.diff(at, prepend=-2) > 1]
    return tuple((series.start + STEP * at).tolist())


def _each(counts: Series) -> tuple[float, ...]:
    """When what was counted happened, once for each time."""
    times = np.nan_to_num(counts.values).astype(np.int64)
    return tuple(np.repeat(counts.start + STEP * np.arange(len(times)), times).tolist())


def _of_marks(marks: Collection[Mark], now: float) -> Iterator[str]:
    """What of its past could not be read."""
    for mark in sorted(marks, key=lambda mark: mark.query):
        if mark.note:
            hours = (now - mark.until) / HOUR
            yield f"{mark.query} of the last {hours:.1f} h is not known for sure: {mark.note}"


def _of_past(
    one: Facts, containers: Mapping[str, Mapping[str, Series]], born: float
) -> Iterator[str]:
    """What is short or has gaps."""
    if one.kind == NAMESPACE:
        return
    known_h = (one.seen - born) / HOUR
    if known_h < 0:
        yield "Nothing of its past is known."
    elif known_h < 24:
        yield f"It has been there for {known_h:.1f} h only."
    for name, past in sorted(containers.items()):
        if "memory" in past and "cpu" not in past:
            yield f"The pods of {name} live too briefly for their CPU to be measured."
        if one.kind in COMES_AND_GOES or "cpu" not in past:
            continue
        share = float((~np.isnan(past["cpu"].values)).mean())
        if share < WELL_KNOWN:
            yield f"{name} is known for {share:.0%} of the time only."
