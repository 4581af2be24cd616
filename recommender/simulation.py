"""A service under load: how many replicas it needs, and how many were there."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from recommender.model import Floats


@dataclass(frozen=True)
class Service:
    """What one replica serves (`capacity`, in the demand's unit), the share of it that should be
    used at most, and how long a new replica takes to be ready. A step is in seconds."""

    capacity: float
    step: float = 60.0
    target: float = 0.7
    start: float = 120.0


def service_for(demand: Floats, replicas: int = 20, **kwargs: Any) -> Service:
    """One whose demand needs `replicas` at its 99.5th percentile."""
    service = Service(1.0, **kwargs)
    peak = float(np.nanquantile(demand, 0.995))
    return Service(max(peak, 1e-9) / (replicas * service.target), **kwargs)


def needed(demand: Floats, service: Service) -> Floats:
    """The replicas that serve `demand` at the target, at least one."""
    return np.maximum(1.0, np.ceil(demand / (service.capacity * service.target) - 1e-9))


def served(wanted: Floats, service: Service) -> Floats:
    """The replicas that are ready at each step when, having seen step t, `wanted[t]` are asked for:
    they are there (or gone) at t and the time that a start takes."""
    late = max(1, round(service.start / service.step))
    return np.concatenate([np.full(min(late, len(wanted)), wanted[0]), wanted[:-late]])


def judge(demand: Floats, ready: Floats, service: Service) -> dict[str, float]:
    """How well `ready` replicas served: against the fewest that would have (1 = as few), minutes
    a day above the target, minutes a day with nothing left, changes a day."""
    known = np.isfinite(demand)
    demand, ready = demand[known], ready[known]
    days = len(demand) * service.step / 86400
    minutes = service.step / 60 / days
    return {
        "replicas": float(ready.sum() / needed(demand, service).sum()),
        "under": float((demand > ready * service.capacity * service.target + 1e-9).sum() * minutes),
        "saturated": float((demand > ready * service.capacity + 1e-9).sum() * minutes),
        "changes": float((np.diff(ready) != 0).sum() / days),
    }
