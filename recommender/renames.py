"""Containers that are there now, each with the past that it had under another name."""

from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np

from recommender.history import Key
from recommender.model import Series

# During a rollout the old and the new run side by side.
OVERLAP_S = 6 * 3600.0
RECENT_S = 3600.0


def present(
    told: Collection[str], past: Mapping[Key, Series], notes: list[str]
) -> dict[str, dict[str, Series]]:
    """By container what is known of it. Those that Kubernetes names are there; where it names none,
    those that ran last. One that came when exactly one other went is that other."""
    of: dict[str, dict[str, Series]] = defaultdict(dict)
    for key, series in past.items():
        if key.container:
            of[key.container][key.metric] = series
    spans = {name: span for name, series in of.items() if (span := _span(series))}
    if not told:
        last = max((end for _, end in spans.values()), default=0.0)
        told = [name for name, (_, end) in spans.items() if end > last - RECENT_S]
    begin = min((start for start, _ in spans.values()), default=0.0)
    gone = [name for name in spans if name not in told]
    new = [name for name in told if name in spans and spans[name][0] > begin]
    found = {name: of.get(name, {}) for name in told}
    for name in new:
        before = [old for old in gone if abs(spans[old][1] - spans[name][0]) < OVERLAP_S]
        rivals = [one for one in new if abs(spans[one][0] - spans[name][0]) < OVERLAP_S]
        if len(before) == 1 and len(rivals) == 1:
            found[name] = _joined(of[before[0]], of[name])
            notes.append(f"Container {name} was called {before[0]} before.")
    return found


def _span(series: Mapping[str, Series]) -> tuple[float, float] | None:
    """When a container was first and last seen."""
    for metric in ("memory", "cpu"):
        if metric in series:
            one = series[metric]
            at = np.flatnonzero(~np.isnan(one.values))
            if len(at):
                return one.start + one.step * int(at[0]), one.start + one.step * int(at[-1] + 1)
    return None


def _joined(old: Mapping[str, Series], new: Mapping[str, Series]) -> dict[str, Series]:
    """The new one's values, and before them the old one's. Both are on the same grid."""
    found = {**old, **new}
    for metric in old.keys() & new.keys():
        mine, theirs = new[metric], old[metric]
        values = np.where(np.isnan(mine.values), theirs.values, mine.values)
        found[metric] = Series(mine.start, mine.step, values)
    return found
