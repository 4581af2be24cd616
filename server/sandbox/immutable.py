"""The fields that keep the value they were created with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .errors import Cause, forbidden_field, invalid_value
from .kinds import Kind

Object = dict[str, Any]
IMMUTABLE = "field is immutable"

# The fields of a kind that keep the value they were created with.
FIXED: dict[str, tuple[str, ...]] = {
    "Deployment": ("spec.selector",), "ReplicaSet": ("spec.selector",),
    "DaemonSet": ("spec.selector",),
    "Job": ("spec.completions", "spec.selector", "spec.template", "spec.completionMode"),
    "Service": ("spec.clusterIP",),
    "Secret": ("type",),
}  # fmt: skip
STATEFUL_SET_MAY_CHANGE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


def changes(kind: Kind, old: Object, new: Object) -> Iterator[Cause]:
    """What an update changes that never changes."""
    for field in FIXED.get(kind.kind, ()):
        before, after = _at(old, field), _at(new, field)
        if field == "spec.template":
            suspended = bool(old["spec"].get("suspend"))
            before, after = _fixed_template(old, suspended), _fixed_template(new, suspended)
        if before != after and (before is not None or kind.kind != "Service"):
            yield invalid_value(field, after, IMMUTABLE)
    if kind.kind.endswith("RoleBinding") and old["roleRef"] != new.get("roleRef"):
        ref = new.get("roleRef") or {}
        shown = {key[0].upper() + key[1:]: ref.get(key, "") for key in ("apiGroup", "kind", "name")}
        shown = {"APIGroup": shown.pop("ApiGroup")} | shown
        yield invalid_value("roleRef", shown, "cannot change roleRef")
    if kind.kind == "StatefulSet" and any(
        old["spec"].get(key) != new["spec"].get(key)
        for key in {*old["spec"], *new["spec"]} - set(STATEFUL_SET_MAY_CHANGE)
    ):
        allowed = ", ".join(f"'{name}'" for name in STATEFUL_SET_MAY_CHANGE[:-1])
        yield forbidden_field(
            "spec",
            f"updates to statefulset spec for fields other than {allowed} and "
            f"'{STATEFUL_SET_MAY_CHANGE[-1]}' are forbidden",
        )
    if kind.kind == "Pod" and _fixed_pod(old["spec"]) != _fixed_pod(new["spec"]):
        yield forbidden_field(
            "spec",
            "pod updates may not change fields other than the images of containers, "
            "`spec.activeDeadlineSeconds`, `spec.terminationGracePeriodSeconds` and additions to "
            "`spec.tolerations`",
        )
    if old.get("immutable") and any(
        old.get(key) != new.get(key) for key in ("data", "binaryData", "immutable")
    ):
        yield forbidden_field("data", "field is immutable when `immutable` is set")


def _at(obj: Object, path: str) -> Any:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _fixed_template(job: Object, suspended: bool) -> Object:
    template: Object = job["spec"]["template"]
    if not suspended:
        return template
    # The scheduling directives of a suspended Job may still change.
    loose = ("nodeSelector", "tolerations", "affinity")
    kept = {key: value for key, value in template["spec"].items() if key not in loose}
    return {"spec": kept}


def _fixed_pod(spec: Object) -> Object:
    loose = ("tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "nodeName")
    fixed = {key: value for key, value in spec.items() if key not in loose}
    for name in ("containers", "initContainers"):
        if name in fixed:
            fixed[name] = [{k: v for k, v in c.items() if k != "image"} for c in fixed[name]]
    return fixed
