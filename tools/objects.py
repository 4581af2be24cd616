"""Kubernetes objects as plain dictionaries: the few things that several tools read from them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from tools.errors import Code, ToolError
from tools.tool import Answer

Object = Mapping[str, Any]

MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "pilothouse"

# What the API server wrote into an object's metadata, and would refuse or ignore in a new one.
_SERVERS = frozenset({
    "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink",
    "deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences", "generateName",
    "name", "namespace",
})  # fmt: skip
_CONTROLLERS = frozenset({"controller-uid", "batch.kubernetes.io/controller-uid"})
_TOKEN_VOLUME = "kube-api-access-"  # noqa: S105  a volume's name


class Lean(Answer):
    """An answer that leaves out what is as by default: rows are many and bytes are paid for."""

    @model_serializer(mode="wrap")
    def _lean(self, rest: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]  # a return type would replace the schema
        fields = type(self).model_fields
        return {
            k: v for k, v in rest(self).items() if fields[k].is_required() or v != fields[k].default
        }


def meta(thing: Object) -> dict[str, Any]:
    return thing.get("metadata") or {}


def labels(thing: Object) -> dict[str, str]:
    return meta(thing).get("labels") or {}


def annotations(thing: Object) -> dict[str, str]:
    return meta(thing).get("annotations") or {}


def owner(thing: Object) -> str:
    """The controller that made it and would put it back (`ReplicaSet web-59d9`), or empty."""
    for reference in meta(thing).get("ownerReferences") or []:
        if reference.get("controller"):
            return f"{reference['kind']} {reference['name']}"
    return ""


def when(text: str | None) -> datetime | None:
    """A time as the API writes it; with microseconds in some fields."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def age(since: str | None, now: datetime) -> str:
    """How long ago, as kubectl would say it: one unit, and never negative."""
    then = when(since)
    if then is None:
        return ""
    seconds = max(0, int((now - then).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def clip(text: str, most: int = 160) -> str:
    """One line of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def body_of(thing: Object) -> dict[str, Any]:
    """What its owner said, without what the API server says or what a reference says already."""
    body = {k: v for k, v in thing.items() if k not in ("apiVersion", "kind", "status")}
    body["metadata"] = {k: v for k, v in meta(thing).items() if k not in _SERVERS}
    return body


def anew(thing: Object) -> dict[str, Any]:
    """What to create to have such an object again: what its owner said, without what the API
    server, the scheduler and the controllers added."""
    body = body_of(thing)
    spec = dict(body.get("spec") or {})
    match thing.get("kind"):
        case "Pod":
            body["spec"] = _unplaced(spec)
        case "Job" if not spec.get("manualSelector"):
            body["metadata"]["labels"] = _unmarked(labels(thing))
            template = dict(spec.get("template") or {})
            template["metadata"] = {**meta(template), "labels": _unmarked(labels(template))}
            body["spec"] = {k: v for k, v in spec.items() if k != "selector"} | {
                "template": template
            }
    return body


def _unmarked(marks: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in marks.items() if k not in _CONTROLLERS}


def _unplaced(spec: dict[str, Any]) -> dict[str, Any]:
    """A pod's spec without its node and the token volume that admission adds to each."""

    def keep(items: Any) -> list[Any]:
        return [i for i in items or [] if not i.get("name", "").startswith(_TOKEN_VOLUME)]

    free = {k: v for k, v in spec.items() if k not in ("nodeName", "serviceAccount")}
    free["volumes"] = keep(spec.get("volumes"))
    for part in ("initContainers", "containers"):
        if part in spec:
            free[part] = [{**c, "volumeMounts": keep(c.get("volumeMounts"))} for c in spec[part]]
    return free


def refuse_ours(thing: Object, what: object) -> None:
    """Raises `ToolError` for what the platform itself keeps in a tenant's namespace."""
    if labels(thing).get(MANAGED_BY) == OURS:
        raise ToolError(
            Code.PERMISSION_DENIED,
            f"{what} belongs to the platform.",
            "What it sets follows from the tenant: tenant_update changes it.",
        )
