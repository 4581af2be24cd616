"""The lock on a state directory: one process at a time owns the state in it."""

import fcntl
import os
from pathlib import Path
from typing import Self

from tools.errors import Code, ToolError

SOCKET = "pilothouse.sock"
LOCK = "pilothouse.lock"


class Seat:
    """Held until it is left, or the process ends in whatever way."""

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    def take(cls, state: Path) -> Self | None:
        """The seat, or None while another process has it. Raises `ToolError`."""
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(state / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"The state directory {state} cannot be used: {error.strerror}.",
                "Make it writable for this user, or name another with --state.",
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return None
        return cls(file)

    def leave(self) -> None:
        os.close(self._file)
