"""Things that go wrong on purpose: refusals, hangs, lost connections, delays."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import ApiError, bad_request

Object = dict[str, Any]
REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict",
    410: "Expired", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError",
    503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip


@dataclass
class Fault:
    """What happens to the next `times` requests that match.

    `do` is `answer` (with `status`), `hang`, `drop` (the connection, before the request is carried
    out), `lose` (its answer: it is carried out and the connection then dropped) or `delay` (by
    `seconds`, then as usual). `path` is a regular expression that is searched for.
    """

    do: str = "answer"
    method: str = ""
    path: str = ""
    times: int = 1
    status: int = 500
    retry_after: int | None = None
    message: str = ""
    seconds: float = 0.0

    def matches(self, method: str, path: str) -> bool:
        """Whether this fault is for a request; `path` comes with its query."""
        return (not self.method or self.method.upper() == method) and bool(
            re.search(self.path, path)
        )

    def refusal(self) -> ApiError:
        """The answer instead of the real one."""
        headers: dict[str, str] = {}
        details: Object | None = None
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
            details = {"retryAfterSeconds": self.retry_after}
        message = self.message or f"the practice cluster was told to answer {self.status}"
        return ApiError(self.status, REASONS.get(self.status, ""), message, details, headers)


class Faults:
    """The faults that are still to happen, and a count of the requests they met."""

    def __init__(self) -> None:
        self.pending: list[Fault] = []
        self.happened: list[tuple[str, str, str]] = []

    def add(self, fault: Fault) -> None:
        """Let something go wrong."""
        self.pending.append(fault)

    def answer(
        self,
        status: int,
        *,
        method: str = "",
        path: str = "",
        times: int = 1,
        retry_after: int | None = None,
        message: str = "",
    ) -> None:
        """Answer requests with a refusal."""
        self.add(Fault("answer", method, path, times, status, retry_after, message))

    def hang(self, *, method: str = "", path: str = "", times: int = 1) -> None:
        """Never answer, until the client goes away."""
        self.add(Fault("hang", method, path, times))

    def drop(self, *, method: str = "", path: str = "", times: int = 1) -> None:
        """Drop the connection before the request is carried out."""
        self.add(Fault("drop", method, path, times))

    def lose_answer(self, *, method: str = "", path: str = "", times: int = 1) -> None:
        """Carry the request out and drop the connection instead of answering."""
        self.add(Fault("lose", method, path, times))

    def delay(self, seconds: float, *, method: str = "", path: str = "", times: int = 1) -> None:
        """Answer late."""
        self.add(Fault("delay", method, path, times, seconds=seconds))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self.pending.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for a request, used up by one."""
        for fault in self.pending:
            if fault.matches(method, path):
                fault.times -= 1
                if fault.times <= 0:
                    self.pending.remove(fault)
                self.happened.append((fault.do, method, path))
                return fault
        return None

    def as_json(self) -> list[Object]:
        """The faults that are still to happen."""
        return [asdict(fault) for fault in self.pending]


def fault_from_json(body: Any) -> Fault:
    """A fault as another process asks for it."""
    known = {field.name for field in fields(Fault)}
    if not isinstance(body, dict) or set(body) - known:
        raise bad_request(f"a fault has the fields {', '.join(sorted(known))}")
    return Fault(**body)
