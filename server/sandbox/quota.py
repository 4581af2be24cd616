"""ResourceQuota: what is used, and what one object more would use."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from .errors import ApiError, forbidden
from .kinds import Kind, Kinds
from .pods import containers, finished, shown, totals
from .quantities import parse
from .store import Store

Object = dict[str, Any]
Amounts = dict[str, Fraction]
COUNTED = {
    "pods", "services", "secrets", "configmaps", "persistentvolumeclaims", "resourcequotas",
}  # fmt: skip
COMPUTE = ("cpu", "memory", "ephemeral-storage")


def usage(kind: Kind, obj: Object) -> Amounts:
    """What one object takes from a quota."""
    amounts: Amounts = {f"count/{kind.resource}": Fraction(1)}
    if kind.kind == "Pod":
        if finished(obj):
            # A pod that ended still exists, but takes nothing of the rest.
            return amounts
        for sort in ("requests", "limits"):
            for name, amount in totals(obj["spec"], sort).items():
                amounts[f"{sort}.{name}"] = amount
        amounts |= {
            name: amounts[f"requests.{name}"] for name in COMPUTE if f"requests.{name}" in amounts
        }
    elif kind.kind == "PersistentVolumeClaim":
        size = obj["spec"].get("resources", {}).get("requests", {}).get("storage", "0")
        amounts["requests.storage"] = parse(size)
    elif kind.kind == "Service":
        amounts |= {
            "services.loadbalancers": Fraction(obj["spec"].get("type") == "LoadBalancer"),
            "services.nodeports": Fraction(
                len(obj["spec"].get("ports", ())) * (obj["spec"].get("type") == "NodePort")
            ),
        }
    if kind.plural in COUNTED and not kind.group:
        amounts[kind.plural] = Fraction(1)
    return amounts


def applies(quota: Object, kind: Kind, obj: Object) -> bool:
    """Whether an object is in the scopes of a quota."""
    scopes = quota["spec"].get("scopes", ())
    if not scopes:
        return True
    if kind.kind != "Pod":
        return False
    requested = any(c.get("resources", {}).get("requests") for c in containers(obj["spec"]))
    holds = {
        "BestEffort": not requested,
        "NotBestEffort": requested,
        "Terminating": obj["spec"].get("activeDeadlineSeconds") is not None,
        "NotTerminating": obj["spec"].get("activeDeadlineSeconds") is None,
    }
    return all(holds.get(scope, True) for scope in scopes)


def used(store: Store, kinds: Kinds, quota: Object) -> dict[str, str]:
    """What the objects of the namespace take from a quota now."""
    hard = quota["spec"].get("hard", {})
    sums = {name: Fraction() for name in hard}
    for kind in kinds:
        if not (kind.namespaced and "create" in kind.verbs and concerns(hard, kind)):
            continue
        for obj in store.objects(kind, quota["metadata"]["namespace"]):
            if applies(quota, kind, obj):
                for name, amount in usage(kind, obj).items():
                    if name in sums:
                        sums[name] += amount
    return {name: shown(name, amount) for name, amount in sums.items()}


def concerns(hard: Object, kind: Kind) -> bool:
    """Whether a quota counts anything of a kind."""
    if f"count/{kind.resource}" in hard:
        return True
    if kind.kind == "Pod":
        return any(name in ("pods", *COMPUTE) or "s." in name for name in hard)
    if kind.kind == "PersistentVolumeClaim":
        return bool({"requests.storage", kind.plural} & set(hard))
    if kind.kind == "Service":
        return any(name.startswith("services") for name in hard)
    return not kind.group and kind.plural in hard


def admit(store: Store, kinds: Kinds, kind: Kind, obj: Object) -> None:
    """Refuse an object that a quota of its namespace has no room for."""
    quotas = store.records(kinds.named("ResourceQuota"), obj["metadata"]["namespace"])
    for record in quotas:
        quota = record.object
        hard = quota["spec"].get("hard", {})
        if not (concerns(hard, kind) and applies(quota, kind, obj)):
            continue
        if kind.kind == "Pod" and (missing := _unspecified(hard, obj["spec"])):
            name = quota["metadata"]["name"]
            raise forbidden(kind, obj["metadata"]["name"], f"failed quota: {name}: {missing}")
        if refusal := _exceeded(store, kinds, quota, kind, obj):
            raise refusal


def _exceeded(
    store: Store, kinds: Kinds, quota: Object, kind: Kind, obj: Object
) -> ApiError | None:
    hard = quota["spec"]["hard"]
    asks = {name: amount for name, amount in usage(kind, obj).items() if name in hard and amount}
    if not asks:
        return None
    taken = used(store, kinds, quota)
    over = sorted(n for n, amount in asks.items() if parse(taken[n]) + amount > parse(hard[n]))
    if not over:
        return None
    requested = ",".join(f"{name}={shown(name, asks[name])}" for name in over)
    in_use = ",".join(f"{name}={taken[name]}" for name in over)
    limited = ",".join(f"{name}={hard[name]}" for name in over)
    why = (
        f"exceeded quota: {quota['metadata']['name']}, requested: {requested}, "
        f"used: {in_use}, limited: {limited}"
    )
    return forbidden(kind, obj["metadata"]["name"], why)


def _unspecified(hard: Object, spec: Object) -> str:
    missing: dict[str, list[str]] = {}
    for name in sorted(hard):
        sort, _, resource = name.rpartition(".")
        if resource not in ("cpu", "memory") or sort not in ("", "requests", "limits"):
            continue
        for container in containers(spec):
            if resource not in container.get("resources", {}).get(sort or "requests", {}):
                missing.setdefault(name, []).append(container["name"])
    listed = "; ".join(f"{name} for: {','.join(who)}" for name, who in missing.items())
    return f"must specify {listed}" if listed else ""
