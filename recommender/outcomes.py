"""How it went after a suggestion was applied: kept, harmful or without effect.

After is compared with what was usual before, spread and all: what was bad already is no harm done.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import comb
from typing import Any, Literal

import numpy as np

from recommender.likeness import number_of
from recommender.measures import DAY, HOUR, ContainerFigures, Figures, figures
from recommender.model import Suggestion, Workload

__all__ = ["Figures", "Judgement", "after", "before", "figures", "judge", "watch_s"]

Outcome = Literal["kept", "harmful", "no_effect"]

# For so long it is watched. Whoever misses an idle workload may do so only after days.
WATCH_S = {"rightsize": DAY, "replicas": DAY, "idle": 3 * DAY, "saturation": DAY}
BEFORE_S = 7 * DAY
# Pods that start are slow and not ready: no harm done yet.
SETTLES_S = 600.0
# After so many times the time of watching it is judged by whatever there is.
PATIENCE = 3
# So much more, as a share, is more at all.
FLOORS = {"throttled": 0.05, "unready": 0.02, "strained": 0.1}
FEW_RESTARTS = 3
UNLIKELY = 0.01


@dataclass(frozen=True)
class Judgement:
    """`figures` are those after it, as plain data; `held` is whether the suggestion's bound did,
    None where that cannot be said."""

    outcome: Outcome
    why: str
    figures: dict[str, Any]
    held: bool | None = None


def watch_s(strategy: str, settings: Mapping[str, float] | None = None) -> float:
    """For how many seconds a suggestion of this strategy is watched once it is applied."""
    return (settings or {}).get(strategy) or WATCH_S.get(strategy, DAY)


def before(workload: Workload, applied: float, watch: float = DAY) -> Figures:
    """The baseline: the week before, in pieces as long as the time of watching."""
    # What is wanted now may not be what was wanted then.
    then = replace(workload, wanted=None)
    return figures(then, applied - max(BEFORE_S, 3 * watch), applied, watch)


def after(workload: Workload, applied: float, now: float, watch: float = DAY) -> Figures:
    """From when it has settled until now."""
    return figures(workload, min(applied + SETTLES_S, now), now, watch)


def judge(
    suggestion: Suggestion,
    before: Figures | Mapping[str, Any] | None,
    after: Figures | Mapping[str, Any] | None,
    watch: float | None = None,
    waited_s: float = 0.0,
) -> Judgement | None:
    """How it went, from the figures before and after; None where there is too little to judge by
    as yet. Harm is told as soon as it is clear, also before the time of watching is over.
    `waited_s` is how long ago it was applied, for what nothing is known of any more."""
    watch = watch or watch_s(suggestion.strategy)
    if not after:
        if waited_s < PATIENCE * watch:
            return None
        return Judgement("no_effect", "Nothing is known of it since: it may be gone.", {})
    now = Figures.of(after)
    past = Figures.of(before) if before else Figures(now.start, now.start)
    plain, held = now.plain(), _held(suggestion, now)
    lasted = _lasted(now)
    if harm := next(_harm(suggestion, past, now), ""):
        return Judgement("harmful", f"{harm} in the {lasted} since.", plain, held)
    due = now.end - now.start + SETTLES_S >= 0.95 * watch
    enough = now.known >= 0.5 * min(watch, now.end - now.start) or now.wanted == 0
    if not due or not enough:
        if now.end - now.start < PATIENCE * watch:
            return None
        why = f"Too little of the {lasted} since is known to say more."
        return Judgement("no_effect", why, plain, held)
    took, why = EFFECTS.get(suggestion.strategy, _unmeasured)(suggestion, past, now)
    if not took:
        return Judgement("no_effect", why, plain, held)
    return Judgement("kept", f"{why} Nothing got worse in the {lasted} since.", plain, held)


def _harm(suggestion: Suggestion, before: Figures, after: Figures) -> Iterator[str]:
    """What is worse than it ever used to be, the gravest first."""
    if after.wanted == 0:
        return
    pairs = [
        (name, before.containers.get(name, ContainerFigures()), now)
        for name, now in after.containers.items()
    ]
    for name, was, now in pairs:
        if _oftener(was.oom_kills, before.known, now.oom_kills, after.known, 1):
            past = _times(was.oom_kills, before)
            yield f"{name} was killed for memory {_often(now.oom_kills)} ({past} before)"
    for name, was, now in pairs:
        if _oftener(was.restarts, before.known, now.restarts, after.known, FEW_RESTARTS):
            yield f"{name} restarted {_often(now.restarts)} ({_times(was.restarts, before)} before)"
    if _up("unready", before.unready, after.unready):
        now_, was_ = _share(after.unready), _share(before.unready)
        yield f"{now_} of its replicas were not ready ({was_} before)"
    for name, was, now in pairs:
        if _up("throttled", was.throttled, now.throttled):
            yield (
                f"{name} was throttled in {_share(now.throttled)} of its periods "
                f"({_share(was.throttled)} before)"
            )
    if suggestion.strategy == "replicas":
        for name, was, now in pairs:
            if _up("strained", was.strained, now.strained):
                yield (
                    f"{name} used all the CPU that it asks for {_share(now.strained)} of the time "
                    f"({_share(was.strained)} before)"
                )


def _up(what: str, before: list[float], after: list[float]) -> bool:
    """Whether a share is above anything that the pieces before it would lead one to expect."""
    if not before or not after:
        return False
    floor, was = FLOORS[what], np.array(before)
    usual = float(np.median(was))
    bar = max(usual + floor, 1.1 * float(was.max()))
    if len(was) >= 3:
        bar = max(bar, usual + 4 * 1.4826 * float(np.median(np.abs(was - usual))))
    else:
        bar = max(usual + 2 * floor, 1.5 * float(was.max()))
    return float(np.mean(after)) > bar


def _oftener(was: int, was_s: float, now: int, now_s: float, fewest: int) -> bool:
    """Whether something rare has become more frequent: given how often it was in all, so many of
    them since would be unlikely. What never was before needs no such proof."""
    if now < fewest or was_s <= now_s / 2:
        return now >= fewest + 2 and not was
    if not was and fewest == 1:
        return True
    share, total = now_s / (was_s + now_s), was + now
    if total > 500:  # the sum would be long, and its answer plain
        return now / now_s > 1.5 * was / was_s
    tail = sum(
        comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(now, total + 1)
    )
    return tail < UNLIKELY


def _resized(suggestion: Suggestion, before: Figures, after: Figures) -> tuple[bool, str]:
    name = suggestion.arguments.get("container") or suggestion.subject.container
    was, now = before.containers.get(name), after.containers.get(name)
    if now is None:
        return (True, "") if not name else (False, f"There is no container {name} any more.")
    said = []
    for what in ("cpu_request", "cpu_limit", "memory_request", "memory_limit"):
        asked, old = number_of(suggestion.arguments.get(what)), was and getattr(was, what)
        live = getattr(now, what)
        if asked is None or live is None:
            continue
        label = what.replace("_", " ").replace("cpu", "CPU")
        if old and abs(live - old) < 0.02 * old and abs(asked - old) > 0.02 * old:
            return False, f"The {label} of {name} is what it was: something has put it back."
        if abs(live - asked) > 0.05 * asked:
            return False, f"The {label} of {name} is not what was applied: something has set it."
        said.append(label)
    return True, f"The {' and the '.join(said)} of {name} stayed as applied." if said else ""


def _rescaled(suggestion: Suggestion, before: Figures, after: Figures) -> tuple[bool, str]:
    arguments = suggestion.arguments
    if (count := arguments.get("replicas")) is not None and not after.scales:
        if after.wanted is not None and after.wanted != count:
            return False, f"It wants {after.wanted} replicas, not {count}: something has set it."
        return True, f"It runs {count} replicas."
    for what, place in (("min_replicas", 0), ("max_replicas", 1)):
        count = arguments.get(what)
        if count is not None and after.scales and after.scales[place] != count:
            return False, f"The autoscaler's {what} is {after.scales[place]}, not {count}."
    was, now = (_per_demand(one) for one in (before, after))
    if "min_replicas" in arguments and suggestion.monthly > 0 and was and now:
        if now > 0.98 * was:
            return False, "It needed as many replicas as before."
        return True, f"It needed {1 - now / was:.0%} fewer replicas."
    return True, "The bounds stayed as applied."


def _stopped(suggestion: Suggestion, before: Figures, after: Figures) -> tuple[bool, str]:
    if after.wanted == 0 or (after.wanted is None and not after.replicas):
        return True, "It stays stopped, and nobody has started it."
    return False, "It was started again."


def _relieved(suggestion: Suggestion, before: Figures, after: Figures) -> tuple[bool, str]:
    metric = str(suggestion.bound.get("metric", ""))
    name = f"{metric}:{suggestion.subject.container}" if suggestion.subject.container else metric
    was, now = before.full.get(name), after.full.get(name)
    if was is None or now is None:
        return True, ""
    label = name.replace(":", " of ")
    if now > 0.95 * was:
        return False, f"The {label} is as full as before: {now:.0%} of its bound ({was:.0%})."
    return True, f"The {label} went from {was:.0%} to {now:.0%} of its bound."


def _unmeasured(suggestion: Suggestion, before: Figures, after: Figures) -> tuple[bool, str]:
    return True, ""


Effect = Callable[[Suggestion, Figures, Figures], tuple[bool, str]]
EFFECTS: dict[str, Effect] = {
    "rightsize": _resized,
    "replicas": _rescaled,
    "idle": _stopped,
    "saturation": _relieved,
}


def _held(suggestion: Suggestion, after: Figures) -> bool | None:
    """Whether usage stayed within the bound; a bound that was to be avoided says nothing now."""
    bound, metric = suggestion.bound, suggestion.bound.get("metric")
    most = bound.get("at_most")
    if most is None or most != most:
        return None
    if metric == "demand":
        peaks = [after.most_demand]
    else:
        name = suggestion.subject.container
        chosen = [c for key, c in after.containers.items() if not name or key == name]
        peaks = [getattr(c, metric).get("max") for c in chosen if metric in ("cpu", "memory")]
    known = [peak for peak in peaks if peak is not None]
    if known and max(known) > most:
        # Of a longer time than it was meant for nothing is claimed.
        return None if after.end - after.start > 1.1 * bound.get("seconds", DAY) else False
    enough = after.known + SETTLES_S + HOUR >= bound.get("seconds", DAY)
    return True if known and enough else None


def _per_demand(one: Figures) -> float | None:
    if one.replicas is None:
        return None
    return one.replicas / one.demand if one.demand else one.replicas


def _often(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _times(count: int, of: Figures) -> str:
    days = max(1, round(of.known / DAY))
    window = "day" if days == 1 else f"{days} days"
    return f"{_often(count) if count else 'not once'} in the {window}"


def _share(values: list[float]) -> str:
    return f"{float(np.mean(values)):.1%}" if values else "unknown"


def _lasted(of: Figures) -> str:
    hours = (of.end - of.start + SETTLES_S) / HOUR
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
