"""Small questions about pods that several rooms ask."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from .quantities import format_binary, format_decimal, parse

Object = dict[str, Any]
Amounts = dict[str, Fraction]


def containers(spec: Object) -> Iterator[Object]:
    """All containers, those that run first coming first."""
    yield from spec.get("initContainers", ())
    yield from spec.get("containers", ())


def finished(pod: Object) -> bool:
    """Whether it ended, well or not."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def active(pod: Object) -> bool:
    """Whether it still counts as a replica."""
    return not finished(pod) and not pod["metadata"].get("deletionTimestamp")


def ready(pod: Object) -> bool:
    """Whether it takes requests."""
    return condition(pod, "Ready").get("status") == "True"


def condition(obj: Object, name: str) -> Object:
    """One condition, or an empty one."""
    found = (c for c in obj.get("status", {}).get("conditions", ()) if c["type"] == name)
    return next(found, {})


def totals(spec: Object, sort: str) -> Amounts:
    """What a pod requests, or is limited to: all its containers together, or the largest of
    those that run before them."""
    summed = Amounts()
    for container in spec.get("containers", ()):
        for name, amount in container.get("resources", {}).get(sort, {}).items():
            summed[name] = summed.get(name, Fraction()) + parse(amount)
    for container in spec.get("initContainers", ()):
        for name, amount in container.get("resources", {}).get(sort, {}).items():
            summed[name] = max(summed.get(name, Fraction()), parse(amount))
    return summed


def shown(name: str, amount: Fraction) -> str:
    """An amount of a resource, as the API writes it."""
    if name.rpartition(".")[2] in ("memory", "storage", "ephemeral-storage"):
        return format_binary(amount)
    return format_decimal(amount)


def resources(spec: Object) -> Object:
    """The pod's own requests and limits, as its status has them."""
    listed: Object = {}
    for sort in ("limits", "requests"):
        if amounts := totals(spec, sort):
            listed[sort] = {name: shown(name, amount) for name, amount in amounts.items()}
    return listed


def quality(spec: Object) -> str:
    """The quality-of-service class."""
    parts = [container.get("resources", {}) for container in containers(spec)]
    if not any(part.get("requests") or part.get("limits") for part in parts):
        return "BestEffort"
    for part in parts:
        limits = part.get("limits", {})
        if not {"cpu", "memory"} <= set(limits) or any(
            part.get("requests", {}).get(name, limits[name]) != limits[name] for name in limits
        ):
            return "Burstable"
    return "Guaranteed"
