"""A change as the request that brings it about: the same for its dry run and for the real thing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.backends.kubernetes.fields import CALL, MANAGER
from tools.plan import Apply, Change, Create, Delete, Patch, Scale

if TYPE_CHECKING:
    from tools.backends.kubernetes.api import Api, Reply

PATCHES = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, Any]
    body: Any
    content_type: str = "application/json"


async def request_for(
    api: "Api", change: Change, live: Mapping[str, Any] | None, call_id: str = ""
) -> Request:
    """`live` is the object that was looked at: where it is given, the request is refused by the
    server (409) if it is another one by then, or has moved."""
    kind = await api.kinds.find(change.ref.kind)
    path = await api.kinds.path(change.ref, "scale" if isinstance(change, Scale) else "")
    names = {"apiVersion": kind.api_version, "kind": kind.word}
    identity = {"name": change.ref.name}
    if change.ref.namespace and kind.namespaced:
        identity["namespace"] = change.ref.namespace
    query: dict[str, Any] = {"fieldManager": MANAGER}
    match change:
        case Apply():
            body = names | _with_metadata(change.body, identity | _moment(live))
            query |= {"force": change.force, "fieldValidation": "Strict"}
            return Request("PATCH", path, query, body, PATCHES["apply"])
        case Patch():
            body = _with_metadata(change.fields, _moment(live))
            query |= {"fieldValidation": "Strict"}
            return Request("PATCH", path, query, body, PATCHES[change.kind_of_patch])
        case Scale():
            body = _with_metadata({"spec": {"replicas": change.replicas}}, _moment(live))
            return Request("PATCH", path, query, body, PATCHES["merge"])
        case Create():
            body = names | _with_metadata(change.body, identity)
            if call_id:
                annotations = body["metadata"].get("annotations") or {}
                body["metadata"]["annotations"] = annotations | {CALL: call_id}
            query |= {"fieldValidation": "Strict"}
            return Request("POST", kind.path(change.ref.namespace), query, body)
        case Delete():
            options: dict[str, Any] = {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "propagationPolicy": change.propagation,
            }
            if uid := _moment(live).get("uid"):
                options["preconditions"] = {"uid": uid}
            return Request("DELETE", path, {}, options)
    raise TypeError(f"{type(change).__name__} is no change to a cluster")


async def send(api: "Api", request: Request, *, dry_run: bool = False) -> "Reply":
    body = request.body
    if dry_run and request.method == "DELETE":
        # The API server does not read a deletion's query where it has options in its body.
        body = body | {"dryRun": ["All"]}
    return await api.request(
        request.method,
        request.path,
        {**request.query, "dryRun": "All" if dry_run else None},
        body,
        content_type=request.content_type,
    )


def _moment(live: Mapping[str, Any] | None) -> dict[str, str]:
    metadata = (live or {}).get("metadata") or {}
    return {field: metadata[field] for field in ("uid", "resourceVersion") if field in metadata}


def _with_metadata(body: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    return {**body, "metadata": {**(body.get("metadata") or {}), **more}}
