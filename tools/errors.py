"""The errors every door answers with: a code (gRPC's names), what happened, and what to do next."""

from enum import StrEnum


class Code(StrEnum):
    INVALID_ARGUMENT = "invalid_argument"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    FAILED_PRECONDITION = "failed_precondition"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


# Trying the same thing again can help with these; with the others it cannot.
PASSING = frozenset({Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE})


class ToolError(Exception):
    """What went wrong, for the one who asked.

    `hint` is the next step, `retry_after` the seconds a backend asked to be left alone for.
    `lost` says that a request was sent and no answer came back: whether it was carried out is
    not known, and only reading the object again can tell.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        hint: str = "",
        *,
        retry_after: float | None = None,
        lost: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retry_after = retry_after
        self.lost = lost

    @property
    def passing(self) -> bool:
        # A busy server says when to come back; a quota that is used up does not go away by waiting.
        busy = self.code is Code.RESOURCE_EXHAUSTED and self.retry_after is not None
        return busy or self.code in PASSING

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()
