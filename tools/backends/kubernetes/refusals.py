"""What the API server's refusals mean: a Status becomes a `ToolError` in the API's own words."""

from collections.abc import Mapping
from typing import Any

from tools.errors import Code, ToolError

DOCTOR = "Run `pilothouse doctor` to see what is wrong."
MOST_WAIT_S = 3600.0
# Server-side apply answers 500 where the manifest is at fault: an unknown field, a wrong type.
UNFIT = ("failed to create typed patch object", "failed to convert new object")


def refusal(
    cluster: str, status: int, body: Any, headers: Mapping[str, str], *, carried: bool
) -> ToolError:
    """The error for an answer of 400 and above. `carried` says that the request, if the server
    began on it, may have changed something."""
    said = body if isinstance(body, dict) else {}
    message = said.get("message") or (body if isinstance(body, str) else "") or f"HTTP {status}"
    message = f"{message[:2000]}"
    reason = said.get("reason", "")
    retry_after = _seconds(headers.get("Retry-After")) or (said.get("details") or {}).get(
        "retryAfterSeconds"
    )
    match status:
        case 401:
            return ToolError(
                Code.UNAUTHENTICATED,
                f"Cluster {cluster}: credentials expired or not known ({message}).",
                "Log in to the cluster again, or renew its kubeconfig; then repeat.",
            )
        case 403:
            return forbidden(message, causes(said))
        case 404:
            return ToolError(Code.NOT_FOUND, message, "List what there is, and check the name.")
        case 409 if reason == "AlreadyExists":
            return ToolError(Code.ALREADY_EXISTS, message, "Choose another name, or update it.")
        case 409 if fought := conflicts(said):
            return ToolError(
                Code.FAILED_PRECONDITION,
                f"{message}.",
                f"{fought} set these fields; leave them out, or take them over with force=true.",
            )
        case 409:
            return ToolError(Code.FAILED_PRECONDITION, message, "Look at it again, and repeat.")
        case 410:
            return ToolError(
                Code.FAILED_PRECONDITION, message, "The list is too old: start it again."
            )
        case 400 | 406 | 413 | 415 | 422:
            return ToolError(Code.INVALID_ARGUMENT, message, "Correct what it names, and repeat.")
        case 405:
            return ToolError(Code.INVALID_ARGUMENT, message, "This kind cannot do that.")
        case 429:
            return ToolError(
                Code.RESOURCE_EXHAUSTED,
                f"Cluster {cluster} is busy: {message}",
                "Wait, and repeat.",
                retry_after=retry_after or 1.0,
            )
        case 500 if message.startswith(UNFIT):
            return ToolError(Code.INVALID_ARGUMENT, message, "Correct what it names, and repeat.")
    return ToolError(
        Code.UNAVAILABLE if status >= 500 else Code.FAILED_PRECONDITION,
        f"Cluster {cluster} failed ({status}): {message}",
        "Wait, and repeat." if status >= 500 else DOCTOR,
        retry_after=retry_after,
        # A 500 or 503 is said before anything is stored; a 504 comes while it may be.
        lost=carried and status == 504,
    )


def forbidden(message: str, reasons: frozenset[str] = frozenset()) -> ToolError:
    """A 403 is many things: RBAC (not yours), a quota, Pod Security or other admission."""
    if "exceeded quota" in message or "failed quota" in message:
        return ToolError(
            Code.RESOURCE_EXHAUSTED, message, "Ask for less, free some, or raise the plan tier."
        )
    if "violates PodSecurity" in message:
        return ToolError(
            Code.FAILED_PRECONDITION, message, "Change the pod's securityContext as it says."
        )
    if "NamespaceTerminating" in reasons or "is being terminated" in message:
        return ToolError(
            Code.FAILED_PRECONDITION, message, "Wait until the namespace is gone, and make it anew."
        )
    if "cannot " in message and ("resource " in message or "path " in message):
        return ToolError(
            Code.PERMISSION_DENIED, message, "Ask somebody whose role allows it, or for the role."
        )
    if "is forbidden: " in message and ": User " not in message:
        return ToolError(Code.FAILED_PRECONDITION, message, "Correct what it names, and repeat.")
    return ToolError(Code.PERMISSION_DENIED, message, DOCTOR)


def causes(status: Mapping[str, Any]) -> frozenset[str]:
    details = status.get("details") or {}
    return frozenset(c.get("reason", "") for c in details.get("causes") or ())


def conflicts(status: Mapping[str, Any]) -> str:
    """The managers that server-side apply would take fields from, or nothing."""
    details = status.get("details") or {}
    managers = {
        cause.get("message", "").removeprefix("conflict with ").split('"')[1]
        for cause in details.get("causes") or ()
        if cause.get("reason") == "FieldManagerConflict" and '"' in cause.get("message", "")
    }
    return ", ".join(sorted(managers))


def _seconds(header: str | None) -> float | None:
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return min(seconds, MOST_WAIT_S) if 0 < seconds < float("inf") else None
