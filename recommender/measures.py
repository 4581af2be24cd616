"""Figures of a workload over a while: what is compared before and after a change."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from recommender.forecast import quietly
from recommender.model import Container, Floats, Series, Workload

DAY = 86400.0
HOUR = 3600.0
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
# Below this share of its CPU request a pod is not strained.
STRAINED = 0.95


@dataclass(frozen=True)
class ContainerFigures:
    """Of the busiest pod: cores and bytes. `throttled` and `strained` (at its request, or over it)
    are shares, one for each piece of the time."""

    cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    throttled: list[float] = field(default_factory=list)
    strained: list[float] = field(default_factory=list)
    oom_kills: int = 0
    restarts: int = 0
    cpu_request: float | None = None
    cpu_limit: float | None = None
    memory_request: float | None = None
    memory_limit: float | None = None


@dataclass(frozen=True)
class Figures:
    """A workload from `start` to `end` (seconds since 1970), cut into pieces of `piece_s` seconds.

    `known` is how many of the seconds something is known of. `unready` is the share of replicas
    that was missing, piece by piece; `replicas` and `demand` are means. `full` says how much of a
    bound was used in the last hour: of a container's memory limit (`memory:app`), of a claim
    (`disk:data`), of a quota (`quota:pods`). `scales` are an autoscaler's bounds."""

    start: float
    end: float
    piece_s: float = DAY
    known: float = 0.0
    containers: dict[str, ContainerFigures] = field(default_factory=dict)
    unready: list[float] = field(default_factory=list)
    replicas: float | None = None
    most_replicas: float | None = None
    wanted: int | None = None
    scales: tuple[int, int] | None = None
    demand: float | None = None
    most_demand: float | None = None
    full: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON has it; `Figures.of` is the way back."""
        return asdict(self)

    @staticmethod
    def of(plain: "Figures | Mapping[str, Any]") -> "Figures":
        """Raises `TypeError` where these are no figures."""
        if isinstance(plain, Figures):
            return plain
        values = dict(plain)
        of = values.get("containers", {}).items()
        values["containers"] = {name: ContainerFigures(**one) for name, one in of}
        values["scales"] = tuple(values["scales"]) if values.get("scales") else None
        return Figures(**values)


def figures(workload: Workload, start: float, end: float, piece_s: float = DAY) -> Figures:
    """What a workload was like from `start` up to `end`. Requests, limits and what is wanted are
    those of now."""
    replicas, demand = (_known(s, start, end) for s in (workload.replicas, workload.demand))
    series = [c.cpu or c.memory for c in workload.containers] + [workload.replicas]
    scaler = workload.autoscaler
    return Figures(
        start=start,
        end=end,
        piece_s=piece_s,
        known=max((len(_known(s, start, end)) * s.step for s in series if s), default=0.0),
        containers={c.name: _container(c, start, end, piece_s) for c in workload.containers},
        unready=_pieces(_unready(workload), start, end, piece_s),
        replicas=_mean(replicas),
        most_replicas=float(replicas.max()) if len(replicas) else None,
        wanted=workload.wanted,
        scales=(scaler.min_replicas, scaler.max_replicas) if scaler else None,
        demand=_mean(demand),
        most_demand=float(demand.max()) if len(demand) else None,
        full=_full(workload, end),
    )


def _container(c: Container, start: float, end: float, piece_s: float) -> ContainerFigures:
    asked = c.cpu_request or c.cpu_limit
    strained = None
    if c.cpu is not None and asked:
        over = np.where(np.isnan(c.cpu.values), np.nan, c.cpu.values >= STRAINED * asked)
        strained = Series(c.cpu.start, c.cpu.step, over)
    kills = sum(start <= at < end for at in c.oom_kills)
    return ContainerFigures(
        cpu=_quantiles(c.cpu, start, end),
        memory=_quantiles(c.memory, start, end),
        throttled=_pieces(c.throttled, start, end, piece_s),
        strained=_pieces(strained, start, end, piece_s),
        oom_kills=kills,
        # A kill is a restart as well; it counts once.
        restarts=max(0, sum(start <= at < end for at in c.restarted) - kills),
        cpu_request=c.cpu_request,
        cpu_limit=c.cpu_limit,
        memory_request=c.memory_request,
        memory_limit=c.memory_limit,
    )


def _unready(workload: Workload) -> Series | None:
    """The share of replicas that is missing: of those that are wanted, or, where an autoscaler
    changes that, of the most that were there in the hour around."""
    series = workload.replicas
    if series is None or not len(series.values) or workload.wanted == 0:
        return None
    if workload.autoscaler or workload.wanted is None:
        around = max(1, round(HOUR / 2 / series.step))
        padded = np.pad(series.values, around, constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * around + 1)
        due = quietly(np.nanmax, windows, axis=1)
    else:
        due = np.full(len(series.values), float(workload.wanted))
    missing = 1 - np.minimum(series.values, due) / np.maximum(due, 1)
    return Series(series.start, series.step, missing)


def _full(workload: Workload, end: float) -> dict[str, float]:
    bounds = [
        (f"memory:{c.name}", c.memory, c.memory_limit) for c in workload.containers if c.memory
    ]
    for what, several in (("disk", workload.disks), ("quota", workload.quotas)):
        bounds += [(f"{what}:{name}", series, bound) for name, (series, bound) in several.items()]
    return {
        name: level / bound
        for name, series, bound in bounds
        if bound and (level := _mean(_known(series, end - HOUR, end))) is not None
    }


def _pieces(series: Series | None, start: float, end: float, piece_s: float) -> list[float]:
    """The mean of each piece, counted back from the end, that is known for half of it at least."""
    found = []
    for n in range(int(np.ceil((end - start) / piece_s - 1e-9))):
        last = end - n * piece_s
        first = max(start, last - piece_s)
        known = _known(series, first, last)
        if series is not None and len(known) * series.step >= (last - first) / 2 and len(known):
            found.append(float(known.mean()))
    return found[::-1]


def _quantiles(series: Series | None, start: float, end: float) -> dict[str, float]:
    known = _known(series, start, end)
    if not len(known):
        return {}
    found = np.quantile(known, list(QUANTILES.values()))
    return dict(zip(QUANTILES, found.tolist(), strict=True))


def _known(series: Series | None, start: float, end: float) -> Floats:
    if series is None:
        return np.empty(0)
    values = series.between(start, end).values
    return values[np.isfinite(values)]


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None
