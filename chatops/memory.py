"""Conversations kept in memory: each is its person's alone, and none is kept for ever."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chatops.conversation import Turn
from tools.calls import Caller
from tools.errors import Code, ToolError

Owner: TypeAlias = tuple[str, str]


@dataclass(eq=False)
class Talk:
    """A conversation. A round is a turn's messages as the model is sent them; `turns` are what its
    person sees; `task` is the turn under way."""

    id: str
    owner: Owner
    thread: str = ""
    rounds: list[list[dict[str, Any]]] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: "asyncio.Task[None] | None" = None
    used: float = 0.0

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()

    def messages(self) -> list[dict[str, Any]]:
        """All rounds, as the model is sent them: after a turn that failed two of the person's
        messages stand one behind the other, which are one to the API."""
        found: list[dict[str, Any]] = []
        for message in (m for round in self.rounds for m in round):
            if found and found[-1]["role"] == message["role"]:
                whole = [*found[-1]["content"], *message["content"]]
                found[-1] = found[-1] | {"content": whole}
            else:
                found.append(message)
        return found

    def forget(self, most: int) -> None:
        """Drop the oldest rounds until what is sent has at most `most` characters."""
        sizes = [len(str(round)) for round in self.rounds]
        while len(self.rounds) > 1 and sum(sizes) > most:
            del self.rounds[0], sizes[0]


def owner(caller: Caller) -> Owner:
    return caller.subject, caller.person


class Memory:
    def __init__(
        self, *, most: int, each: int, keep_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """At most `most` conversations, `each` of one person, each for `keep_s` after its last
        turn."""
        self._most, self._each, self._keep_s, self._clock = most, each, keep_s, clock
        self._talks: dict[str, Talk] = {}

    def begin(self, caller: Caller, thread: str = "") -> Talk:
        talk = Talk(secrets.token_hex(8), owner(caller), thread)
        self._talks[talk.id] = talk
        self.touch(talk)
        self._drop()
        return talk

    def find(self, caller: Caller, id: str) -> Talk:
        """Raises `ToolError`, the same for what is not there and what is somebody else's."""
        self._drop()
        talk = self._talks.get(id)
        if talk is None or talk.owner != owner(caller):
            raise ToolError(
                Code.NOT_FOUND,
                "There is no such conversation of yours (any more).",
                "Leave `conversation` out to begin one.",
            )
        return talk

    def thread(self, caller: Caller, thread: str) -> Talk:
        """The caller's conversation in a thread of a door's, begun if there is none; without a
        name, always a new one."""
        if not thread:
            return self.begin(caller)
        self._drop()
        mine = (t for t in self._talks.values() if t.owner == owner(caller) and t.thread == thread)
        return next(mine, None) or self.begin(caller, thread)

    def touch(self, talk: Talk) -> None:
        talk.used = self._clock()

    def __len__(self) -> int:
        return len(self._talks)

    def _drop(self) -> None:
        idle = sorted((t for t in self._talks.values() if not t.busy), key=lambda t: t.used)
        counts: dict[Owner, int] = {}
        for talk in self._talks.values():
            counts[talk.owner] = counts.get(talk.owner, 0) + 1
        for talk in idle:
            old = self._clock() - talk.used > self._keep_s
            if old or counts[talk.owner] > self._each or len(self._talks) > self._most:
                del self._talks[talk.id]
                counts[talk.owner] -= 1
