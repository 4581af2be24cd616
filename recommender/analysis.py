"""Every strategy asked about every workload. One that breaks down takes nobody with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from recommender.model import Subject, Suggestion, Workload
from recommender.strategies import Context, Strategy

MOST_TROUBLES = 20


@dataclass
class Advice:
    """What was found, of which strategies and workloads, and what went wrong."""

    found: list[Suggestion] = field(default_factory=list)
    covered: set[tuple[str, Subject]] = field(default_factory=set)
    workloads: int = 0
    troubles: list[str] = field(default_factory=list)


def advise(
    workloads: Iterable[Workload],
    strategies: Sequence[Strategy],
    now: float,
    context: Context,
) -> Advice:
    """Suggestions for workloads, which are gone through once and held one at a time."""
    advice = Advice()
    for workload in workloads:
        advice.workloads += 1
        found: list[Suggestion] = []
        for strategy in strategies:
            try:
                found += strategy.run(workload, now, context)
            except Exception as error:  # a strategy may be a user's own
                if len(advice.troubles) < MOST_TROUBLES:
                    told = f"{type(error).__name__}: {error}"
                    advice.troubles.append(f"{strategy.name} failed on {workload.subject}: {told}")
            else:
                advice.covered.add((strategy.name, workload.subject))
        advice.found += agreeing(found)
    return advice


def agreeing(found: Sequence[Suggestion]) -> list[Suggestion]:
    """Of what was found for one workload, what can be done together: what is to be stopped needs no
    other size, and how many replicas are needed is known when each has its right size."""
    kept = list(found)
    if any(one.strategy == "idle" and one.tool for one in kept):
        kept = [one for one in kept if one.strategy == "idle" or not one.tool]
    if any("cpu_request" in one.arguments for one in kept):
        kept = [one for one in kept if one.strategy != "replicas"]
    return kept
