"""From pods to workloads: the busiest pod of each, and all of them together."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from recommender.answers import Labels, Matrix
from recommender.facts import CLAIM, QUOTA
from recommender.history import Key, Rows
from recommender.model import Floats
from recommender.owners import Owners
from recommender.queries import Fold, Query

# How many pods there were, for those who have no kube-state-metrics to ask.
PODS = "pods"
K = TypeVar("K", bound=Hashable)


def folded(query: Query, found: Matrix, owners: Owners) -> list[Rows]:
    """The answer by workload."""
    if not found.labels:
        return []
    if query.grain == "container":
        found = _by_container(found)
    rows = []
    for metric, fold in query.folds.items():
        keys = [_key(query, labels, owners, metric) for labels in found.labels]
        rows.append(Rows(found.start, *reduced(keys, found.values, fold)))
    if query.name == "cpu":
        pods = [(labels.get("namespace", ""), labels.get("pod", "")) for labels in found.labels]
        there = np.where(np.isnan(found.values), np.nan, 1.0)
        names, alive = reduced(pods, there, "max")
        keys = [_of_workload(owners, *name, "", PODS) for name in names]
        rows.append(Rows(found.start, *reduced(keys, alive, "sum")))
    return rows


def _by_container(found: Matrix) -> Matrix:
    """One row for each pod's container, whatever else its labels say (its restarts, who scraped
    it); the highest counts."""
    by = ("namespace", "pod", "container")
    names = [tuple(labels.get(label, "") for label in by) for labels in found.labels]
    names, values = reduced(names, found.values, "max")
    labels = [dict(zip(by, name, strict=True)) for name in names]
    return replace(found, labels=labels, values=values)


def _key(query: Query, labels: Labels, owners: Owners, metric: str) -> Key:
    namespace = labels.get("namespace", "")
    match query.grain:
        case "container":
            # What is summed up is of the whole workload, but for what happened to one container.
            whole = metric == "demand"
            inner = "" if whole else labels.get("container", "")
            return _of_workload(owners, namespace, labels.get("pod", ""), inner, metric)
        case "pod":
            return _of_workload(owners, namespace, labels.get("pod", ""), "", metric)
        case "claim":
            return Key(namespace, CLAIM, labels.get("persistentvolumeclaim", ""), "", metric)
        case "quota":
            resource = labels.get("resource", "")
            return Key(namespace, QUOTA, labels.get("resourcequota", ""), resource, metric)
        case kind:
            return Key(namespace, kind, labels.get(kind.lower(), ""), "", metric)


def _of_workload(owners: Owners, namespace: str, pod: str, container: str, metric: str) -> Key:
    owner = owners.of(namespace, pod)
    return Key(namespace, owner.kind, owner.name, container, metric)


def reduced(keys: Sequence[K], values: Floats, fold: Fold) -> tuple[list[K], Floats]:
    """Rows of the same key as one. What is unknown in all of them stays unknown."""
    numbers: dict[K, int] = {}
    codes = np.array([numbers.setdefault(key, len(numbers)) for key in keys])
    if len(numbers) == len(keys):
        return list(keys), values
    order = np.argsort(codes, kind="stable")
    ordered = values[order]
    starts = np.searchsorted(codes[order], np.arange(len(numbers)))
    if fold == "max":
        return list(numbers), np.fmax.reduceat(ordered, starts, axis=0)
    known = np.logical_or.reduceat(~np.isnan(ordered), starts, axis=0)
    total = np.add.reduceat(np.nan_to_num(ordered), starts, axis=0)
    return list(numbers), np.where(known, total, np.nan)
