"""Heading for a limit, a quota or a full disk; or a change that a scale-up would not mend."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from recommender.changes import Detector, Shift, coarse, last_shift
from recommender.forecast import DAY, quantile
from recommender.heading import HOUR, Heading, heading
from recommender.model import Container, Floats, Series, Suggestion, Workload
from recommender.strategies import base
from recommender.strategies.base import Context, Strategy, StrategySettings

RESTARTABLE = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


class SaturationSettings(StrategySettings):
    """Warned of is what reaches its bound within `horizon_days` (a disk or a quota, which takes
    longer to mend: `full_days`) with at least `sure`, and was seen for `least_hours`. A change of
    level is unusual from `factor` and `deviations` on, and reported if it began within
    `recent_hours` and traffic did not move alike. `detector`: `kernel` needs ruptures."""

    horizon_days: float = Field(7.0, gt=0, le=90)
    full_days: float = Field(14.0, gt=0, le=90)
    sure: float = Field(0.8, gt=0.5, lt=1)
    least_hours: float = Field(12.0, gt=0)
    factor: float = Field(1.5, gt=1)
    deviations: float = Field(5.0, gt=0)
    recent_hours: float = Field(36.0, gt=0)
    detector: Detector = "median"


class Saturation(Strategy):
    """Warnings with a time to them, and a restart where memory leaks."""

    name = "saturation"
    Settings = SaturationSettings

    def run(self, workload: Workload, now: float, context: Context) -> list[Suggestion]:
        found = []
        for container in workload.containers:
            if going := leak(container, now, self.settings):
                found.append(self._leak(workload, container, going, now))
        for what, bounds in (("disk", workload.disks), ("quota", workload.quotas)):
            for name, (series, bound) in bounds.items():
                s = self.settings
                going = heading(
                    series,
                    bound,
                    now,
                    horizon=s.full_days * DAY,
                    history=s.history_days * DAY,
                    sure=s.sure,
                    least_hours=s.least_hours,
                )
                if going:
                    found.append(self._full(workload, what, name, bound, going, now))
        return found or self._changes(workload, now)

    def _leak(
        self, workload: Workload, container: Container, going: Heading, now: float
    ) -> Suggestion:
        limit = container.memory_limit or 0.0
        # Right after the last one, another restart buys nothing.
        can = (
            workload.subject.kind in RESTARTABLE
            and (going.level - going.began) / going.grows >= going.seconds
        )
        seen = f"for {base.said_time(going.hours * HOUR)}"
        if going.before:
            times = {1: "once", 2: "twice"}.get(going.before, f"{going.before} times")
            seen += f", has hit its limit of {base.said_memory(limit)} {times} and does so again"
        else:
            seen += f" and reaches its limit of {base.said_memory(limit)}"
        reason = (
            f"{container.name} has grown by {base.said_memory(going.grows * HOUR)} an hour {seen} "
            f"in about {base.said_time(going.seconds)}: that looks like a leak, which a larger "
            f"limit puts off and does not mend"
            f"{'; a restart buys time until it is mended' if can else ''}."
        )
        who = base.named(replace(workload.subject, container=container.name))
        return self._warning(
            workload,
            container.name,
            "memory",
            limit,
            going,
            now,
            f"{who} leaks: out of memory in about {base.said_time(going.seconds)}",
            reason,
            tool="workload_restart" if can else "",
            arguments=base.address(workload.subject) if can else {},
        )

    def _full(
        self, workload: Workload, what: str, name: str, bound: float, going: Heading, now: float
    ) -> Suggestion:
        amount = base.said_memory if bound > 1e6 else "{:.3g}".format
        advice = (
            "grow the claim or clear it out"
            if what == "disk"
            else "raise the quota, or free what is not needed"
        )
        reason = (
            f"{name} holds {amount(going.level)} of {amount(bound)}, has grown by "
            f"{amount(going.grows * DAY)} a day and is full in about "
            f"{base.said_time(going.seconds)} ({going.sure:.0%} sure that within "
            f"{base.said_time(going.horizon)}): {advice}."
        )
        title = f"The {what} {name} is full in about {base.said_time(going.seconds)}"
        return self._warning(workload, "", f"{what}:{name}", bound, going, now, title, reason)

    def _warning(
        self,
        workload: Workload,
        container: str,
        metric: str,
        bound: float,
        going: Heading,
        now: float,
        title: str,
        reason: str,
        tool: str = "",
        arguments: dict[str, Any] | None = None,
    ) -> Suggestion:
        soon = going.seconds < DAY
        return Suggestion(
            self.name,
            replace(workload.subject, container=container),
            title,
            reason,
            tool,
            arguments or {},
            evidence={
                "level": going.level,
                "bound": bound,
                "grows_per_hour": going.grows * HOUR,
                "hours_seen": going.hours,
                "times_before": going.before,
                "full_in_seconds": going.seconds,
            },
            bound={
                "metric": metric,
                "at_least": bound,
                "seconds": going.horizon,
            },
            confidence=round(going.sure, 3),
            deadline=now + going.seconds,
            risk="high" if soon else "medium",
            notes=workload.notes,
        )

    def _changes(self, workload: Workload, now: float) -> list[Suggestion]:
        """What moved without traffic: more replicas would not mend it."""
        found = []
        for container in workload.containers:
            for what, series in (("cpu", container.cpu), ("memory", container.memory)):
                shift = self._unusual(series, now) if series is not None else None
                if shift is None or series is None or self._with_traffic(workload, shift, now):
                    continue
                hours = shift.hours
                amount = base.said_cores if what == "cpu" else base.said_memory
                kind = "CPU" if what == "cpu" else "memory"
                subject = replace(workload.subject, container=container.name)
                who = base.named(subject)
                found.append(
                    Suggestion(
                        self.name,
                        subject,
                        title=f"{kind} of {who} changed {base.said_time(hours * HOUR)} ago",
                        reason=f"{kind} of {who} went from {amount(shift.of.before)} to "
                        f"{amount(shift.of.after)} {base.said_time(hours * HOUR)} ago and stayed "
                        f"there{_traffic_said(workload)}: look at what was rolled out then; more "
                        f"replicas would not mend it.",
                        evidence={
                            "before": shift.of.before,
                            "after": shift.of.after,
                            "deviations": shift.of.deviations,
                            "hours_ago": hours,
                        },
                        risk="medium",
                        notes=workload.notes,
                    )
                )
        return found

    def _unusual(self, series: Series, now: float) -> "_When | None":
        s = self.settings
        per_hour = max(1, round(HOUR / series.step))
        past = base.recent(series, now, s.history_days)
        if not _higher_than_usual(past, per_hour):
            return None
        values = coarse(past, per_hour)
        if np.isfinite(values).sum() < s.recent_hours + 24:
            return None
        shift = last_shift(values, season=24, detector=s.detector)
        if (
            shift is None
            or shift.deviations < s.deviations
            or shift.after < s.factor * shift.before
        ):
            return None
        hours = float(len(values) - shift.index)
        return _When(shift, hours) if hours <= s.recent_hours else None

    def _with_traffic(self, workload: Workload, shift: "_When", now: float) -> bool:
        """Whether traffic rose with it, by half as much at least."""
        if workload.traffic is None:
            return False
        per_hour = max(1, round(HOUR / workload.traffic.step))
        values = coarse(base.recent(workload.traffic, now, self.settings.history_days), per_hour)
        hours = min(int(shift.hours), len(values) - 1)
        if hours < 1:
            return False
        # The same hours of the day before it, so that the season is no change.
        since = values[-hours:]
        ends = len(values) - 24 * int(np.ceil(hours / 24))
        before = values[max(0, ends - hours) : ends] if ends > hours // 2 else values[:-hours]
        if not (np.isfinite(since).any() and np.isfinite(before).any()):
            return False
        rose = np.nanmedian(since) / max(float(np.nanmedian(before)), 1e-12)
        return bool(np.log(max(rose, 1e-12)) > 0.5 * np.log(shift.of.after / shift.of.before))


def leak(container: Container, now: float, settings: SaturationSettings) -> Heading | None:
    """Where its memory is heading, if that is the limit."""
    if container.memory is None or not container.memory_limit:
        return None
    return heading(
        container.memory,
        container.memory_limit,
        now,
        horizon=settings.horizon_days * DAY,
        history=settings.history_days * DAY,
        sure=settings.sure,
        least_hours=settings.least_hours,
        ended=container.oom_kills,
    )


@dataclass(frozen=True)
class _When:
    of: Shift
    hours: float


def _higher_than_usual(past: Floats, per_hour: int) -> bool:
    """Whether the last hours are above the same hours of the days before: no change began and
    stayed where they are not, and most workloads need no closer look."""
    days = len(past) // (24 * per_hour)
    if days < 2:
        return False
    hours = past[-24 * per_hour * days :].reshape(days, 24, per_hour)[:, -3:]
    same = quantile(hours, 0.5)
    usual = quantile(same[:-1], 0.5, axis=0)
    return bool(quantile(same[-1] / np.maximum(usual, 1e-12), 0.5) > 1.15)


def _traffic_said(workload: Workload) -> str:
    return "" if workload.traffic is None else ", and its traffic did not"
