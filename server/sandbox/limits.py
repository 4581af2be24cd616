"""LimitRange: default requests and limits, and the least and most that is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .errors import forbidden
from .kinds import Kind
from .pods import containers, shown, totals
from .quantities import parse

Object = dict[str, Any]


def set_defaults(ranges: Iterable[Object], pod: Object) -> None:
    """Give the containers what the LimitRanges say they get, and note that on the pod."""
    notes: list[str] = []
    for item in _items(ranges, "Container"):
        for container in pod["spec"].get("containers", ()):
            notes += _fill(container, item, "container")
        for container in pod["spec"].get("initContainers", ()):
            notes += _fill(container, item, "init container")
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations["kubernetes.io/limit-ranger"] = "LimitRanger plugin set: " + "; ".join(notes)


def _fill(container: Object, item: Object, sort: str) -> Iterator[str]:
    resources = container.setdefault("resources", {})
    for field, source in (("requests", "defaultRequest"), ("limits", "default")):
        have = resources.get(field, {})
        added = {name: value for name, value in item.get(source, {}).items() if name not in have}
        if added:
            resources[field] = have | added
            yield f"{', '.join(sorted(added))} {field[:-1]} for {sort} {container.get('name', '')}"


def check(ranges: Iterable[Object], kind: Kind, obj: Object) -> None:
    """Refuse what is below the least or above the most."""
    found: list[str] = []
    if kind.kind == "Pod":
        for item in _items(ranges, "Container"):
            for container in containers(obj["spec"]):
                resources = container.get("resources", {})
                found += _outside(item, resources.get("requests", {}), resources.get("limits", {}))
        for item in _items(ranges, "Pod"):
            requests, limits = (
                {name: shown(name, amount) for name, amount in totals(obj["spec"], sort).items()}
                for sort in ("requests", "limits")
            )
            found += _outside(item, requests, limits)
    elif kind.kind == "PersistentVolumeClaim":
        for item in _items(ranges, "PersistentVolumeClaim"):
            requests = obj["spec"].get("resources", {}).get("requests", {})
            found += _outside(item, requests, requests)
    if found:
        listed = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
        raise forbidden(kind, obj["metadata"]["name"], listed)


def _outside(item: Object, requests: Object, limits: Object) -> Iterator[str]:
    sort = item["type"]
    for name, least in item.get("min", {}).items():
        said = f"minimum {name} usage per {sort} is {least}"
        if name not in requests:
            yield f"{said}.  No request is specified"
        elif parse(requests[name]) < parse(least):
            yield f"{said}, but request is {requests[name]}"
    for name, most in item.get("max", {}).items():
        said = f"maximum {name} usage per {sort} is {most}"
        if name not in limits:
            yield f"{said}.  No limit is specified"
        elif parse(limits[name]) > parse(most):
            yield f"{said}, but limit is {limits[name]}"
    for name, ratio in item.get("maxLimitRequestRatio", {}).items():
        low, high = parse(requests.get(name, "0")), parse(limits.get(name, "0"))
        if low and high / low > parse(ratio):
            yield (
                f"{name} max limit to request ratio per {sort} is {ratio}, but provided ratio is "
                f"{float(high / low):f}"
            )


def _items(ranges: Iterable[Object], sort: str) -> Iterator[Object]:
    for limit_range in ranges:
        for item in limit_range["spec"].get("limits", ()):
            if item.get("type") == sort:
                yield item
