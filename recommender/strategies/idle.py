"""What was not used for days: stop it, which workload_start undoes."""

import numpy as np
from pydantic import Field

from recommender.forecast import DAY, day_peaks, known_days
from recommender.model import Floats, Series, Suggestion, Workload
from recommender.strategies import base
from recommender.strategies.base import Context, Strategy, StrategySettings

STOPPABLE = frozenset({"Deployment", "StatefulSet"})


class IdleSettings(StrategySettings):
    """Idle is a workload that for `days` never used more than `cores` a pod, and served no more
    than `requests` a second (where that is known)."""

    history_days: int = Field(14, ge=1, le=90)
    days: float = Field(5.0, ge=1)
    cores: float = Field(0.005, gt=0)
    requests: float = Field(0.01, ge=0)
    known: float = Field(0.8, gt=0, le=1)


class Idle(Strategy):
    """Stop what nobody uses."""

    name = "idle"
    Settings = IdleSettings

    def run(self, workload: Workload, now: float, context: Context) -> list[Suggestion]:
        s = self.settings
        if workload.subject.kind not in STOPPABLE or workload.wanted == 0:
            return []
        used = [self._idle(c.cpu, now, s.cores) for c in workload.containers]
        if not used or any(days is None for days in used):
            return []
        idle = min(days for days in used if days is not None)
        if workload.traffic is not None:
            served = self._idle(workload.traffic, now, s.requests)
            if served is None:
                return []
            idle = min(idle, served)
        if idle < s.days:
            return []
        pods = workload.wanted if workload.wanted is not None else 1
        cores = pods * sum(c.cpu_request or 0.0 for c in workload.containers)
        memory = pods * sum(c.memory_request or 0.0 for c in workload.containers)
        notes = list(workload.notes)
        if workload.traffic is None:
            notes.append("What it serves is not measured: CPU alone says that it is idle.")
        saves = context.prices.monthly(cores, memory)
        costs = f", and keeps {base.said_cores(cores)} and {base.said_memory(memory)} reserved"
        name = workload.subject.name
        served_none = "" if workload.traffic is None else " and served nothing"
        return [
            Suggestion(
                self.name,
                workload.subject,
                title=f"Stop {name}: idle for {idle:.0f} days",
                reason=f"{name} has used less than {base.said_cores(s.cores)} a pod{served_none} "
                f"for {idle:.0f} days{costs if cores or memory else ''}.",
                tool="workload_stop",
                arguments=base.address(workload.subject),
                evidence={
                    "idle_days": idle,
                    "cpu": {
                        c.name: _evidence(c.cpu, now, s.history_days) for c in workload.containers
                    },
                    "traffic": _evidence(workload.traffic, now, s.history_days),
                },
                bound={"metric": "cpu", "at_most": s.cores, "seconds": DAY},
                # Laplace's rule of succession: so many idle days, and none that was not.
                confidence=round((idle + 1) / (idle + 2), 3),
                monthly=saves,
                risk="low" if workload.traffic is not None else "medium",
                notes=tuple(notes),
            )
        ]

    def _idle(self, series: Series | None, now: float, least: float) -> float | None:
        """For how many days until now it stayed under `least`; None where too little is known."""
        past = base.recent(series, now, self.settings.history_days)
        if series is None or not len(past):
            return None
        over = np.flatnonzero(past > least)
        quiet = past[over[-1] + 1 :] if len(over) else past
        if not len(quiet) or np.isfinite(quiet).mean() < self.settings.known:
            return None
        return len(quiet) * series.step / DAY


def _evidence(series: Series | None, now: float, days: float) -> dict[str, object]:
    past: Floats = base.recent(series, now, days)
    if series is None or not len(known_days(past, series.step)):
        return {}
    peaks = day_peaks(past, series.step)
    return {**base.quantiles(past), "day_peaks": [None if p != p else float(p) for p in peaks]}
