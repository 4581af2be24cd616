"""What can be suggested, one strategy a file: a class with typed settings and `run`, found by name.

A strategy of a user's is found by its entry point (group `pilothouse.strategies`) or by its path
(`their_package.module:TheirStrategy`).
"""

import importlib
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from recommender.model import RecommenderError
from recommender.strategies.base import Context, Prices, Strategy

__all__ = ["BUILT_IN", "Context", "Prices", "Strategy", "find", "make"]

GROUP = "pilothouse.strategies"
BUILT_IN = {
    "rightsize": "recommender.strategies.rightsize:Rightsize",
    "replicas": "recommender.strategies.replicas:Replicas",
    "idle": "recommender.strategies.idle:Idle",
    "saturation": "recommender.strategies.saturation:Saturation",
}


def find(name: str) -> type[Strategy]:
    """The strategy of that name. Raises `RecommenderError` where there is none."""
    path = BUILT_IN.get(name) or (name if ":" in name else "")
    try:
        if path:
            module, _, attribute = path.partition(":")
            found = getattr(importlib.import_module(module), attribute)
        else:
            found = next(iter(entry_points(group=GROUP, name=name))).load()
    except (StopIteration, ImportError, AttributeError, ValueError) as error:
        why = "" if isinstance(error, StopIteration) else f" ({error})"
        raise RecommenderError(
            f"There is no strategy {name}{why}.",
            f"Built in: {', '.join(BUILT_IN)}. One of your own: package.module:Class.",
        ) from None
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise RecommenderError(f"{name} is not a strategy.", "Derive it from Strategy.")
    return found


def make(name: str, **settings: Any) -> Strategy:
    """The strategy of that name with these settings. Raises `RecommenderError`."""
    kind = find(name)
    try:
        return kind(kind.Settings.model_validate(settings))
    except ValidationError as error:
        wrong = error.errors()[0]
        raise RecommenderError(
            f"{name}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}",
            f"It can be told {', '.join(kind.Settings.model_fields)}.",
        ) from None
