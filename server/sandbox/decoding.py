"""What clients send, made into objects: decoded, patched, put in their place."""

from __future__ import annotations

from typing import Any

from . import managers, patches
from .errors import ApiError, bad_request
from .kinds import Kind
from .schema import normal, unknown_fields
from .typed import misfits

Object = dict[str, Any]


def decoded(kind: Kind, body: Any, validation: str, warnings: list[str]) -> Object:
    """What a client sent, as the API understands it; unknown fields are refused or warned of."""
    if not isinstance(body, dict):
        raise bad_request(f"{kind.kind} is expected to be an object")
    said, version = body.get("kind", kind.kind), body.get("apiVersion", kind.api_version)
    if (said, version) != (kind.kind, kind.api_version):
        short = version.rpartition("/")[2]
        group = kind.group.partition(".")[0] or "core"
        raise bad_request(
            f'{said} in version "{short}" cannot be handled as a {kind.kind}: converting '
            f"({version.replace('/', '.')}.{said}) to ({group}.{kind.kind}): "
            "unknown conversion"
        )
    unknown = list(unknown_fields(kind.shape, body)) if validation != "Ignore" else []
    if unknown and validation == "Strict":
        listed = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"strict decoding error: {listed}"
        )
    warnings += [f'unknown field "{path}"' for path in unknown]
    obj: Object = normal(kind.shape, body, kind.kind, kind.version)
    return obj | {"apiVersion": kind.api_version, "kind": kind.kind}


def configuration(kind: Kind, namespace: str, name: str, body: Any, subresource: str) -> Object:
    """What a client applies, checked; nothing is filled in."""
    if not isinstance(body, dict):
        raise bad_request("an applied configuration is an object")
    if (body.get("kind"), body.get("apiVersion")) != (kind.kind, kind.api_version):
        said = f"{body.get('apiVersion', '')}, Kind={body.get('kind', '')}"
        raise bad_request(f"invalid object type: {said}")
    about = body.get("metadata")
    if isinstance(about, dict) and about.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if found := list(misfits(kind.shape, body)):
        where = f"{namespace}/{name}; {kind.api_version}, Kind={kind.kind}"
        said = found[0] if len(found) == 1 else "errors:" + "".join(f"\n  {f}" for f in found)
        raise ApiError(500, "", f"failed to create typed patch object ({where}): {said}")
    if about is None:
        raise bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: "
            "name must be provided"
        )
    wanted = managers.strip(body)
    meta = wanted.setdefault("metadata", {})
    if meta.setdefault("name", name) != name:
        raise bad_request("metadata.name does not match the name on the URL")
    place(kind, namespace, meta)
    hidden = "status" if not subresource and "status" in kind.subresources else ""
    return {key: value for key, value in wanted.items() if key != hidden}


def patched(kind: Kind, obj: Object, sort: str, body: Any) -> Object:
    """An object after a patch of the sort that a content type names."""
    found: Object
    match sort:
        case "application/json-patch+json":
            found = patches.json_patch(obj, body)
        case "application/merge-patch+json":
            found = patches.merge_patch(obj, body)
        case "application/strategic-merge-patch+json" if kind.shape.name != "Custom":
            found = patches.strategic_merge_patch(kind.shape, obj, body)
        case _:
            message = (
                "the body of the request was in an unknown format - accepted media types "
                "include: application/json-patch+json, application/merge-patch+json, "
                "application/apply-patch+yaml"
            )
            raise ApiError(415, "UnsupportedMediaType", message)
    return found


def place(kind: Kind, namespace: str, meta: Object) -> None:
    """Put an object where the URL says it is."""
    if not kind.namespaced:
        meta.pop("namespace", None)
        return
    if meta.get("namespace", namespace) != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    meta["namespace"] = namespace
