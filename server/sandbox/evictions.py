"""Eviction: deleting a pod, as far as the disruption budgets have room for it."""

from __future__ import annotations

from typing import Any

from .api import Api, Ask, DeleteOptions
from .errors import ApiError
from .selectors import labels_match

Object = dict[str, Any]
NO_ROOM = "Cannot evict pod as it would violate the pod's disruption budget."


def evict(api: Api, namespace: str, name: str, options: DeleteOptions, ask: Ask) -> Object:
    """Delete a pod, or refuse for now."""
    kind = api.kinds.named("Pod", "")
    labels = api.get(kind, namespace, name).object["metadata"].get("labels")
    for budget in api.store.objects(api.kinds.named("PodDisruptionBudget"), namespace):
        if not labels_match(budget["spec"].get("selector"), labels):
            continue
        allowed = budget.get("status", {}).get("disruptionsAllowed", 0)
        if allowed < 1:
            raise ApiError(429, "TooManyRequests", NO_ROOM, headers={"Retry-After": "10"})
        if not ask.dry_run:
            # Taken at once: the next eviction may come before the budget is counted anew.
            api.write("PodDisruptionBudget", budget, _one_less, "kube-apiserver", "status")
    api.delete(kind, namespace, name, options, ask)
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": 201,
    }


def _one_less(budget: Object) -> Object:
    budget["status"]["disruptionsAllowed"] -= 1
    return budget
