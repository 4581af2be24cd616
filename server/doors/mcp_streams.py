"""A stream's pieces, gathered into one result."""

from collections.abc import Mapping
from typing import Any

from server.doors.mcp_text import MOST, answer_text, data_text, error_text
from tools.calls import Problem

MOST_TEXT = 64_000  # characters of a log that are kept: the last ones
MOST_NOTES = 50
SHORTENED = "only the end is kept"


class Gathered:
    """A piece is a `text` or a `line` of it (with the `pod` it is from, where there are several),
    a `note` on it, or the `done` that says how it ended."""

    def __init__(self) -> None:
        self.cut = ""
        self._parts: list[str] = []
        self._size = 0
        self._notes: list[str] = []
        self._end: dict[str, Any] = {}

    def add(self, piece: Mapping[str, Any]) -> str:
        """Keep a piece; the line to tell as progress, empty where there is none."""
        pod = f"[{piece['pod']}] " if piece.get("pod") else ""
        if piece.get("done"):
            self._end = {k: v for k, v in piece.items() if k != "done"}
            return ""
        if "note" in piece:
            self._notes = [*self._notes, f"{pod}{piece['note']}"][-MOST_NOTES:]
            return self._notes[-1]
        line = f"{pod}{piece['line']}" if "line" in piece else ""
        self._keep(f"{line}\n" if "line" in piece else str(piece.get("text", "")))
        return line

    def _keep(self, text: str) -> None:
        self._parts.append(text)
        self._size += len(text)
        if self._size > 2 * MOST_TEXT:
            self._parts = [self._whole()]
            self._size = len(self._parts[0])

    def _whole(self) -> str:
        text = "".join(self._parts)
        if len(text) <= MOST_TEXT:
            return text
        self.cut = self.cut or SHORTENED
        end = text[-MOST_TEXT:]
        return end.partition("\n")[2] or end

    def content(self) -> dict[str, Any]:
        text = self._whole()
        return {
            "text": text,
            "notes": self._notes or None,
            "end": self._end or None,
            "cut": self.cut or None,
        }

    def as_text(self, problem: Problem | None) -> str:
        text = self._whole()
        shown = text if len(text) <= MOST else f"…{text[-MOST:]}"
        lines = [error_text(problem)] if problem else []
        lines += [data_text("log", shown)] if text or not problem else []
        lines += [f"note: {note}" for note in self._notes]
        lines += [answer_text(self._end)] if self._end else []
        lines += [f"cut: {self.cut}"] if self.cut else []
        return "\n".join(lines)
