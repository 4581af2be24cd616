"""The refusals of the API: a status code, and a Status body with its reason and causes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .kinds import Kind

Object = dict[str, Any]


class ApiError(Exception):
    """Answered to the client as a Status."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Object | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}

    def status(self) -> Object:
        """The body of the answer."""
        body: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return body | {"code": self.code}


@dataclass(frozen=True)
class Cause:
    """One thing wrong with one field."""

    reason: str
    message: str
    field: str

    def as_json(self) -> Object:
        """As it stands in a Status."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


def invalid_value(field: str, value: Any, why: str) -> Cause:
    """A value that the field cannot have."""
    shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", field)


def required(field: str, why: str = "") -> Cause:
    """A value that is missing."""
    return Cause("FieldValueRequired", "Required value" + (f": {why}" if why else ""), field)


def unsupported(field: str, value: Any, choices: Sequence[str]) -> Cause:
    """A value that is none of the choices."""
    named = ", ".join(f'"{choice}"' for choice in choices)
    why = f"Unsupported value: {json.dumps(value)}: supported values: {named}"
    return Cause("FieldValueNotSupported", why, field)


def forbidden_field(field: str, why: str) -> Cause:
    """A field that may not be set or changed."""
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def duplicate(field: str, value: Any) -> Cause:
    """A value that stands there twice."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {json.dumps(value)}", field)


def bad_request(message: str) -> ApiError:
    """The request cannot be understood."""
    return ApiError(400, "BadRequest", message)


def not_found(kind: Kind, name: str) -> ApiError:
    """There is no such object."""
    return ApiError(404, "NotFound", f'{kind.resource} "{name}" not found', details(kind, name))


def no_such_path() -> ApiError:
    """The API has nothing at this path."""
    message = "the server could not find the requested resource"
    return ApiError(404, "NotFound", message, {})


def method_not_allowed() -> ApiError:
    """The path is there, the method is not."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def already_exists(kind: Kind, name: str) -> ApiError:
    """An object of that name is there."""
    message = f'{kind.resource} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details(kind, name))


def conflict(kind: Kind, name: str) -> ApiError:
    """The object is not as the client last saw it."""
    message = (
        f'Operation cannot be fulfilled on {kind.resource} "{name}": the object has been '
        "modified; please apply your changes to the latest version and try again"
    )
    return ApiError(409, "Conflict", message, details(kind, name))


def precondition_failed(kind: Kind, name: str, message: str) -> ApiError:
    """The object is another one than the client means."""
    text = f'Operation cannot be fulfilled on {kind.kind} "{name}": {message}'
    return ApiError(409, "Conflict", text, {"name": name, "kind": kind.kind})


def forbidden(kind: Kind, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """Not allowed: by rights, by admission, by quota."""
    subject = f'{kind.resource} "{name}"' if name else kind.resource
    body = details(kind, name)
    if causes:
        body["causes"] = [cause.as_json() for cause in causes]
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", body)


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """The object breaks rules of its kind."""
    lines = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    qualified = f"{kind}.{group}" if group else kind
    body: Object = {"name": name} if name else {}
    if group:
        body["group"] = group
    body |= {"kind": kind, "causes": [cause.as_json() for cause in causes]}
    return ApiError(422, "Invalid", f'{qualified} "{name}" is invalid: {listed}', body)


def expired(message: str) -> ApiError:
    """What the client refers to is no longer kept."""
    return ApiError(410, "Expired", message)


def details(kind: Kind, name: str) -> Object:
    """Which object a Status is about."""
    body: Object = {"name": name} if name else {}
    if kind.group:
        body["group"] = kind.group
    return body | {"kind": kind.plural}
