"""What the demo's workloads have used in the last weeks, each with a story for the recommender."""

from collections.abc import Iterator
from typing import Any

from server.demo_world import WORKLOADS
from server.sandbox.quantities import parse
from server.sandbox.usage import Life

MI, GI = 2.0**20, 2.0**30
LIMITS = {"cpu_limit": 1.0, "memory_limit": GI}

STORIES: dict[str, dict[str, Any]] = {
    # Busy by day, quiet at night and at the week's end: its autoscaler is always a little late.
    "acme/web": {"cpu": 0.42, "memory": 70e6, "day": 0.75, "weekend": 0.55, "starts_in": 20.0},
    # Grows by a fifth every week.
    "acme/api": {"cpu": 0.34, "memory": 105e6, "day": 0.4, "weekend": 0.8, "growth": 0.2},
    # Nobody has needed it for weeks.
    "acme/worker": {"cpu": 0.002, "memory": 38e6, "traffic": 0.0},
    # Its disk will be full in a week or so.
    "acme/db": {"cpu": 0.11, "memory": 610e6, "day": 0.5, "disk": (20 * GI, 17.1 * GI, 0.34 * GI)},
    # Leaks, until it is killed.
    "globex/shop": {"cpu": 0.12, "memory": 96e6, "day": 0.6, "weekend": 1.3, "leak": 260e6},
    "globex/cache": {"cpu": 0.03, "memory": 101e6},
    # More is asked of it at noon than its autoscaler may have pods for.
    "initech/portal": {"cpu": 2.1, "memory": 92e6, "day": 0.85, "weekend": 0.3, "starts_in": 45.0},
    # Held back by its limit in working hours.
    "initech/tps-reports": {"cpu": 0.97, "memory": 190e6, "day": 0.6, "throttled": 0.5},
    # Asks for many times what it uses.
    "initech/search": {"cpu": 0.2, "memory": 330e6, "day": 0.3},
}


def lives() -> Iterator[Life]:
    """One for each workload of the demo that has ever run."""
    for one in WORKLOADS:
        if story := STORIES.get(f"{one.tenant}/{one.name}"):
            yield Life(
                one.tenant,
                one.kind,
                one.name,
                replicas=one.replicas,
                cpu_request=float(parse(one.cpu)),
                memory_request=float(parse(one.memory)),
                scales=(2, one.scales_to) if one.scales_to else (0, 0),
                **LIMITS | story,
            )
