"""How many replicas: from the demand's forecast by hour, ahead of the need by the start-up time."""

from typing import Any, Literal

import numpy as np
from pydantic import Field

from recommender.backtest import Policy
from recommender.calibration import peak_bound
from recommender.forecast import DAY, by_day, quantile
from recommender.model import Floats, Suggestion, Workload
from recommender.scaling import follow
from recommender.simulation import Service, needed
from recommender.sizing import cpu_request
from recommender.strategies import base
from recommender.strategies.base import Context, Strategy, StrategySettings

SCALABLE = frozenset({"Deployment", "StatefulSet"})


class ReplicasSettings(StrategySettings):
    """`target`: the share of a replica that should be used at most, where no autoscaler says it.
    `horizon`: replicas that are right for the whole next `day`, or for `now` (when a replica asked
    for now is ready). `at_bound`: the share of time at a bound from which it is in the way."""

    target: float = Field(0.7, gt=0, le=1)
    horizon: Literal["day", "now"] = "day"
    least_days: float = Field(2.0, ge=1)
    least: int = Field(1, ge=1)
    most: int = Field(1000, ge=1)
    at_bound: float = Field(0.05, gt=0, lt=1)
    headroom: float = Field(1.2, ge=1)


class Replicas(Strategy):
    """A number of replicas, or an autoscaler's bounds."""

    name = "replicas"
    Settings = ReplicasSettings

    def run(self, workload: Workload, now: float, context: Context) -> list[Suggestion]:
        if workload.subject.kind not in SCALABLE or workload.demand is None:
            return []
        if not (workload.autoscaler or workload.wanted):  # there is no number to move
            return []
        step = workload.demand.step
        past = base.recent(workload.demand, now, self.settings.history_days)
        if base.days_known(past, step) < self.settings.least_days or not np.nanmax(past) > 0:
            return []
        service = self._service(workload, past, now, step)
        if service is None:
            return []
        bound = peak_bound(past, step, "demand", self.settings.confidence, context.calibration)
        make = self._bounds if workload.autoscaler else self._number
        found = make(workload, past, service, bound, now)
        if found is None:
            return []
        title, reason, tool, arguments, replicas = found
        evidence = base.quantiles(past) | {
            "samples": int(np.isfinite(past).sum()),
            "window_seconds": len(past) * step,
            "one_replica_serves": service.capacity,
            "target": service.target,
            "day_peak_at_most": bound,
            "schedule": schedule(past, service),
        }
        return [
            Suggestion(
                self.name,
                workload.subject,
                title=title,
                reason=reason,
                tool=tool,
                arguments=arguments,
                evidence=evidence,
                bound={"metric": "demand", "at_most": bound, "seconds": DAY},
                confidence=self.settings.confidence if bound == bound else None,
                monthly=_monthly(workload, replicas, context),
                risk="medium" if replicas < 0 else "low",
                notes=workload.notes,
            )
        ]

    def _service(self, workload: Workload, past: Floats, now: float, step: float) -> Service | None:
        """What one replica serves: what its containers ask for, else what it was seen to serve."""
        target = (workload.autoscaler and workload.autoscaler.target) or self.settings.target
        asked = [c.cpu_request for c in workload.containers]
        if asked and all(asked):
            capacity = float(sum(a for a in asked if a))
        else:
            ready = base.recent(workload.replicas, now, self.settings.history_days)
            if len(ready) != len(past):
                return None
            each = past / np.where(ready > 0, ready, np.nan)
            if not np.isfinite(each).any():
                return None
            capacity = float(np.nanquantile(each, 0.95)) / target
        if not capacity > 0:
            return None
        return Service(capacity, step, target, workload.starts_in)

    def _number(
        self, workload: Workload, past: Floats, service: Service, bound: float, now: float
    ) -> tuple[str, str, str, dict[str, Any], int] | None:
        current, s = workload.wanted, self.settings
        if not current:
            return None
        one = service.capacity * service.target
        if s.horizon == "now":
            wanted = int(follow(past, service, caution=s.caution)[-1])
        else:
            level = cpu_request(
                past, service.step, current * one, caution=s.caution, dead_band=s.dead_band
            )
            # None is added for a tenth of one.
            wanted = int(np.ceil(level / one - 0.1))
        wanted = int(np.clip(wanted, max(s.least, min(2, current)), s.most))
        if abs(wanted - current) <= s.dead_band * current:
            return None
        name = workload.subject.name
        usual, top = (float(np.nanquantile(past, q)) for q in (0.95, 1.0))
        fit = [int(n) for n in needed(np.array([usual, top]), service)]
        days = _days(past, service)
        if wanted < current:
            found = f"{fit[0]} were enough for 95% of the last {days}, and {fit[1]} at its peak"
        else:
            found = f"for 95% of the last {days} it took up to {fit[0]}, and {fit[1]} at its peak"
        reason = f"{name} runs {current} replicas, but {found}."
        arguments = base.address(workload.subject) | {"replicas": wanted}
        title = f"Scale {name} from {current} to {wanted} replicas"
        return title, reason, "workload_scale", arguments, wanted - current

    def _bounds(
        self, workload: Workload, past: Floats, service: Service, bound: float, now: float
    ) -> tuple[str, str, str, dict[str, Any], int] | None:
        scaler, s = workload.autoscaler, self.settings
        assert scaler is not None
        ready = base.recent(workload.replicas, now, s.history_days)
        ready = ready[np.isfinite(ready)]
        if not len(ready):
            return None
        wants = needed(past[np.isfinite(past)], service)
        at_most = float((ready >= scaler.max_replicas).mean())
        at_least = float((ready <= scaler.min_replicas).mean())
        arguments: dict[str, Any] = {"tenant": workload.subject.namespace, "name": scaler.name}
        short = float((wants > scaler.max_replicas).mean())
        if at_most > s.at_bound and short > 0.2 * s.at_bound:
            # Room above what was seen, or what is expected at most, whichever is more.
            seen = np.ceil(wants.max() * s.headroom)
            expected = needed(np.array([bound]), service)[0] if bound == bound else 0
            top = int(min(s.most, max(seen, expected)))
            if top > scaler.max_replicas * (1 + s.dead_band):
                reason = (
                    f"{scaler.name} sat at its {scaler.max_replicas} replicas for {at_most:.0%} of "
                    f"the last {_days(past, service)}, and more were needed for {short:.0%} of it "
                    f"({wants.max():.0f} at its peak)."
                )
                title = f"Let {scaler.name} go up to {top} replicas"
                return title, reason, "autoscaler_update", arguments | {"max_replicas": top}, 0
        enough = max(s.least, min(2, scaler.min_replicas), int(np.quantile(wants, 0.1)))
        if at_least > 0.5 and enough < scaler.min_replicas * (1 - s.dead_band):
            idle = float((wants < scaler.min_replicas).mean())
            reason = (
                f"{scaler.name} sat at its minimum of {scaler.min_replicas} replicas for "
                f"{at_least:.0%} of the last {_days(past, service)}, and fewer were enough for "
                f"{idle:.0%} of it."
            )
            title = f"Let {scaler.name} go down to {enough} replicas"
            fewer = round((enough - scaler.min_replicas) * idle)
            return title, reason, "autoscaler_update", arguments | {"min_replicas": enough}, fewer
        return None

    def policy(self) -> Policy:
        caution = self.settings.caution
        return Policy(
            self.name, replicas=lambda demand, service: follow(demand, service, caution=caution)
        )


def schedule(past: Floats, service: Service) -> list[int]:
    """The replicas for each of the next 24 hours: enough for the 80th percentile of the days at
    any time of that hour, and of the start-up time after it, so that the next hour's are there when
    it begins."""
    days = by_day(past, service.step)
    hour = max(1, round(3600 / service.step))
    ahead = max(1, round(service.start / service.step))
    top = quantile(days, 0.8, axis=0)
    found = []
    for start in range(0, days.shape[1], hour):
        around = np.take(top, np.arange(start, start + hour + ahead), mode="wrap")
        level = float(np.nanmax(around)) if np.isfinite(around).any() else 0.0
        found.append(int(needed(np.array([level]), service)[0]))
    return found


def _days(past: Floats, service: Service) -> str:
    days = max(1, round(len(past) * service.step / DAY))
    return "day" if days == 1 else f"{days} days"


def _monthly(workload: Workload, more: int, context: Context) -> float:
    cores = sum(c.cpu_request or 0.0 for c in workload.containers)
    memory = sum(c.memory_request or 0.0 for c in workload.containers)
    return context.prices.monthly(-more * cores, -more * memory)
