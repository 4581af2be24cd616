"""CPU and memory per container: what to ask for, from what is used, killed and throttled."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from recommender.backtest import Policy, Sized, Sizing
from recommender.calibration import calibrated, peak_bound
from recommender.forecast import DAY
from recommender.model import Container, Floats, Suggestion, Workload
from recommender.sizing import cpu_request, memory_request
from recommender.strategies import base
from recommender.strategies.base import Context, Strategy, StrategySettings
from recommender.strategies.saturation import SaturationSettings, leak

RESIZABLE = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
Resource = Literal["cpu", "memory"]


class RightsizeSettings(StrategySettings):
    """`least_days`: fewer known days are no evidence. A container is throttled where more than
    `throttled` of a day's periods were; `after_kill` is what a limit is raised to after an OOM
    kill. Floors in cores and bytes."""

    least_days: float = Field(2.0, ge=1)
    throttled: float = Field(0.05, gt=0, lt=1)
    after_kill: float = Field(1.5, gt=1, le=10)
    cpu_floor: float = Field(0.01, gt=0)
    memory_floor: float = Field(32 * base.MIB, gt=0)


@dataclass(frozen=True)
class _Size:
    """One resource of one container: what is asked for, what should be, the limit likewise."""

    what: Resource
    past: Floats
    step: float
    request: float | None
    limit: float | None
    wanted: float
    wanted_limit: float | None
    bound: float
    trouble: str = ""
    deadline: float | None = None

    @property
    def moves(self) -> bool:
        return self.wanted != self.request or self.wanted_limit != self.limit


class Rightsize(Strategy):
    """Requests (and the limits that are set) per container."""

    name = "rightsize"
    Settings = RightsizeSettings

    def run(self, workload: Workload, now: float, context: Context) -> list[Suggestion]:
        if workload.subject.kind not in RESIZABLE:
            return []
        found = []
        for container in workload.containers:
            subject = replace(workload.subject, container=container.name)
            sizes = self._sizes(container, now, context, ours=subject in context.settled)
            scaled_on = workload.autoscaler.resources if workload.autoscaler else frozenset()
            moving = [s for s in sizes if s.moves and s.what not in scaled_on]
            if moving:
                found.append(self._suggestion(workload, container, moving, context))
        return found

    def _sizes(self, container: Container, now: float, context: Context, ours: bool) -> list[_Size]:
        found = []
        leaking = context.saturation or SaturationSettings()
        for what in ("cpu", "memory"):
            series = container.cpu if what == "cpu" else container.memory
            past = base.recent(series, now, self.settings.history_days)
            if series is None or base.days_known(past, series.step) < self.settings.least_days:
                continue
            size = self._cpu if what == "cpu" else self._memory
            wanted = _rounded(size(container, past, series.step, now, context, ours))
            if not (what == "memory" and _raised(wanted) and leak(container, now, leaking)):
                found.append(wanted)
        return found

    def _cpu(
        self, c: Container, past: Floats, step: float, now: float, context: Context, ours: bool
    ) -> _Size:
        s = self.settings
        current = c.cpu_request if c.cpu_request else np.nan
        knobs: dict[str, Any] = {"caution": s.caution, "dead_band": s.dead_band}
        wanted = self._floored(cpu_request(past, step, current, **knobs), current, s.cpu_floor)
        bound = peak_bound(past, step, "cpu", s.confidence, context.calibration)
        throttled = base.recent(c.throttled, now, 1)
        share = float(np.nanmean(throttled)) if np.isfinite(throttled).any() else 0.0
        limit, trouble = c.cpu_limit, ""
        if limit and share > s.throttled:
            # What it would have used is not known: the limit held it down.
            wanted, limit = max(wanted, current if current == current else 0.0), limit * 1.5
            trouble = f"it was throttled in {share:.0%} of the last day's periods"
        elif limit and bound == bound and limit < wanted * (1 + s.dead_band):
            limit = max(wanted * (1 + s.dead_band), bound)
        return _Size("cpu", past, step, c.cpu_request, c.cpu_limit, wanted, limit, bound, trouble)

    def _memory(
        self, c: Container, past: Floats, step: float, now: float, context: Context, ours: bool
    ) -> _Size:
        s = self.settings
        current = c.memory_request if c.memory_request else np.nan
        knobs: dict[str, Any] = {"caution": s.caution, "dead_band": s.dead_band}
        wanted = memory_request(past, step, current, ours=ours, **knobs)
        wanted = self._floored(wanted, current, s.memory_floor)
        bound = peak_bound(past, step, "memory", s.confidence, context.calibration)
        kills = [at for at in c.oom_kills if now - s.history_days * DAY <= at <= now]
        limit, trouble, deadline = c.memory_limit, "", None
        if limit and kills:
            # The next one is about as far as the last.
            deadline = now + (now - max(kills))
            limit *= s.after_kill
            wanted = max(wanted, min(c.memory_limit or wanted, limit))
            times = "once" if len(kills) == 1 else f"{len(kills)} times"
            trouble = f"it was killed {times} for running out of memory"
        elif limit:
            safe = peak_bound(past, step, "memory", 0.99, context.calibration)
            least = max(wanted, safe if safe == safe else 0.0)
            far = limit > 2 * least
            limit = 1.25 * least if limit < least or (far and wanted < 0.5 * limit) else limit
        if limit:
            wanted = min(wanted, limit)
        return _Size(
            "memory",
            past,
            step,
            c.memory_request,
            c.memory_limit,
            wanted,
            limit,
            bound,
            trouble,
            deadline,
        )

    def _floored(self, wanted: float, current: float, floor: float) -> float:
        wanted = max(wanted, floor)
        return current if abs(wanted / current - 1) <= self.settings.dead_band else wanted

    def _suggestion(
        self, workload: Workload, container: Container, moving: list[_Size], context: Context
    ) -> Suggestion:
        main = max(moving, key=lambda size: (bool(size.trouble), size.what == "memory"))
        arguments = base.address(workload.subject) | {"container": container.name}
        evidence: dict[str, Any] = {}
        for size in moving:
            quantity = base.cores if size.what == "cpu" else base.memory
            if size.wanted != size.request:
                arguments[f"{size.what}_request"] = quantity(size.wanted)
            if size.wanted_limit and size.wanted_limit != size.limit:
                arguments[f"{size.what}_limit"] = quantity(size.wanted_limit)
            evidence[size.what] = base.quantiles(size.past) | {
                "samples": int(np.isfinite(size.past).sum()),
                "window_seconds": len(size.past) * size.step,
                "request": size.request,
                "limit": size.limit,
                "day_peak_at_most": size.bound,
            }
        lowered = any(size.request and size.wanted < size.request for size in moving)
        kills = bool(container.oom_kills) or main.trouble
        said = " and ".join(_said(size) for size in moving)
        subject = replace(workload.subject, container=container.name)
        return Suggestion(
            self.name,
            subject,
            title=f"Resize {base.named(subject)}: {said}",
            reason=_reason(base.named(subject), main, evidence[main.what]),
            tool="workload_resize",
            arguments=arguments,
            evidence=evidence,
            bound={"metric": main.what, "at_most": main.bound, "seconds": DAY},
            confidence=self.settings.confidence if main.bound == main.bound else None,
            monthly=_monthly(workload, moving, context),
            deadline=main.deadline,
            risk="medium" if lowered and (kills or workload.notes) else "low",
            notes=workload.notes,
        )

    def policy(self) -> Policy:
        s = self.settings

        def sizing(what: Resource) -> Sizing:
            ask = cpu_request if what == "cpu" else memory_request
            floor = s.cpu_floor if what == "cpu" else s.memory_floor

            def sized(past: Floats, step: float, current: Floats) -> Sized:
                pool = calibrated([(what, past)], step)
                requests = [
                    max(ask(row, step, now, caution=s.caution, dead_band=s.dead_band), floor)
                    for row, now in zip(past, current.tolist(), strict=True)
                ]
                bounds = [peak_bound(row, step, what, s.confidence, pool) for row in past]
                return Sized(np.array(requests), np.array(bounds), s.confidence)

            return sized

        return Policy(self.name, cpu=sizing("cpu"), memory=sizing("memory"))


def _rounded(size: _Size) -> _Size:
    """As it will be asked for, so that what is said is what is done."""
    unit = 1e-3 if size.what == "cpu" else base.MIB

    def even(value: float | None, now: float | None) -> float | None:
        return value if value is None or value == now else base.round_up(value / unit) * unit

    wanted = even(size.wanted, size.request) or size.wanted
    return replace(size, wanted=wanted, wanted_limit=even(size.wanted_limit, size.limit))


def _raised(size: _Size) -> bool:
    """Whether it would get more, which a leak only takes longer to fill."""
    return size.wanted > (size.request or 0) or (size.wanted_limit or 0) > (size.limit or 0)


def _amount(size: _Size, value: float) -> str:
    return base.said_cores(value) if size.what == "cpu" else base.said_memory(value)


def _said(size: _Size) -> str:
    name = "CPU" if size.what == "cpu" else "memory"
    if size.wanted != size.request:
        before = f"from {_amount(size, size.request)} " if size.request else ""
        limit = size.wanted_limit if size.wanted_limit != size.limit else None
        also = f" (limit {_amount(size, limit)})" if limit else ""
        return f"{name} {before}to {_amount(size, size.wanted)}{also}"
    return f"{name} limit to {_amount(size, size.wanted_limit or size.wanted)}"


def _reason(name: str, size: _Size, evidence: dict[str, Any]) -> str:
    """In one sentence, as a person would."""
    days = max(1, round(len(size.past) * size.step / DAY))
    window = "day" if days == 1 else f"{days} days"
    usual, top = (_amount(size, evidence[level]) for level in ("p95", "max"))
    used = f"used at most {usual} for 95% of the last {window} ({top} at its peak)"
    what = "CPU" if size.what == "cpu" else "memory"
    if size.trouble:
        return f"{name} needs more {what}: {size.trouble}, at a limit of {_limit(size)}."
    burst = f"; expect bursts to {_amount(size, size.bound)}" if size.bound > size.wanted else ""
    if not size.request:
        return f"{name} asks for no {what}, and {used}{burst}."
    asks = f"{name} asks for {_amount(size, size.request)} of {what}"
    link = "but" if size.wanted < size.request else "and"
    return f"{asks}, {link} {used}{burst}."


def _limit(size: _Size) -> str:
    return _amount(size, size.limit) if size.limit else "none"


def _monthly(workload: Workload, moving: list[_Size], context: Context) -> float:
    pods = workload.wanted if workload.wanted is not None else 1
    saved = {size.what: pods * ((size.request or 0.0) - size.wanted) for size in moving}
    return context.prices.monthly(saved.get("cpu", 0.0), saved.get("memory", 0.0))
