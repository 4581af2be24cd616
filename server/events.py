"""What happens, told live: a ring of the last events, and readers that each follow it.

An event's id is `epoch-number`. The epoch is another after each start, so that a reader who comes
back with an id from before is told to read all anew (`reset`) instead of missing what was between.
"""

import asyncio
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from tools.calls import Caller

KINDS = ("call", "recommendation", "metrics", "log")
KEPT = 10_000
# Readers that are woken in one turn of the loop: between two turns others get theirs.
AT_ONCE = 10
TICK_S = 0.05


@dataclass(frozen=True)
class Event:
    """`person` (whose it is) and the tenant with its uid say who may see it."""

    id: str
    kind: str
    data: Mapping[str, Any]
    number: int = 0
    tenant: str = ""
    tenant_uid: str = ""
    person: str = ""

    def seen_by(self, caller: Caller) -> bool:
        return caller.sees(self.tenant, self.tenant_uid, self.person)

    # Made once, for however many readers.
    @cached_property
    def text(self) -> str:
        return json.dumps(self.data, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def lines(self) -> bytes:
        """As server-sent events have it."""
        id = f"id: {self.id}\n" if self.id else ""
        return f"{id}event: {self.kind}\ndata: {self.text}\n\n".encode()

    @cached_property
    def message(self) -> str:
        """As it goes through a WebSocket."""
        id = f'"id":{json.dumps(self.id)},' if self.id else ""
        return f'{{{id}"event":"{self.kind}","data":{self.text}}}'


class Dropped(Exception):
    """A reader is let go of, with the reason."""


class Hub:
    """Where events are published. Nobody who publishes waits for anybody who reads."""

    def __init__(self, kept: int = KEPT) -> None:
        self.epoch = secrets.token_hex(4)
        self._kept = kept
        self._events: list[Event] = []
        self._number = 0
        # In the order in which they came.
        self._waiting: dict[asyncio.Future[None], float] = {}
        self._ticking = False
        self._waking = False
        self._readers: set[Subscription] = set()
        self.closed = False

    @property
    def position(self) -> str:
        return f"{self.epoch}-{self._number}"

    @property
    def readers(self) -> int:
        return len(self._readers)

    def wanted(self, kind: str) -> bool:
        """Does anybody follow events of this kind?"""
        return any(kind in reader.kinds for reader in self._readers)

    def publish(
        self,
        kind: str,
        data: Mapping[str, Any],
        *,
        tenant: str = "",
        tenant_uid: str = "",
        person: str = "",
    ) -> None:
        self._number += 1
        event = Event(self.position, kind, data, self._number, tenant, tenant_uid, person)
        self._events.append(event)
        if len(self._events) > 2 * self._kept:
            del self._events[: -self._kept]
        self._wake()

    def close(self) -> None:
        """Pilothouse stops: so do those who follow."""
        self.closed = True
        self._wake()

    def after(self, number: int) -> Sequence[Event] | None:
        """What came after that one; None where some of it is not kept any more."""
        behind = self._number - number
        if behind > min(self._kept, len(self._events)):
            return None
        return self._events[len(self._events) - behind :]

    def number_of(self, id: str) -> int | None:
        """The number in an id; None for one that is not of ours."""
        epoch, _, number = id.partition("-")
        known = epoch == self.epoch and number.isascii() and number.isdecimal()
        return int(number) if known and int(number) <= self._number else None

    async def changed(self, number: int, timeout_s: float) -> None:
        """Wait until there is more than that number, or the time is up."""
        if self._number > number or self.closed:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting[future] = loop.time() + timeout_s
        if not self._ticking:
            self._ticking = True
            loop.call_later(TICK_S, self._tick, loop)
        try:
            await future
        finally:
            self._waiting.pop(future, None)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all who wait: a timer for each would cost more than telling them."""
        now = loop.time()
        for future in [one for one, until in self._waiting.items() if until <= now]:
            _set(future)
        self._ticking = bool(self._waiting)
        if self._ticking:
            loop.call_later(TICK_S, self._tick, loop)

    def _wake(self) -> None:
        if not self._waking and self._waiting:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake_some)

    def _wake_some(self) -> None:
        for future in list(islice(self._waiting, AT_ONCE)):
            del self._waiting[future]
            _set(future)
        self._waking = bool(self._waiting)
        if self._waking:
            asyncio.get_running_loop().call_soon(self._wake_some)


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


@dataclass(eq=False)
class Subscription:
    """One reader: a caller, the kinds of events, and how far they have read. Enter it."""

    hub: Hub
    caller: Caller
    kinds: Collection[str] = KINDS
    since: str = ""
    number: int = field(init=False, default=0)
    _first: list[Event] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        known = self.hub.number_of(self.since) if self.since else None
        self.number = self.hub._number if known is None else known
        if self.since and (known is None or self.hub.after(known) is None):
            self.number = self.hub._number
            reason = "restarted" if known is None else "too long ago"
            self._first = [Event(self.position, "reset", {"reason": reason})]

    def __enter__(self) -> "Subscription":
        self.hub._readers.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.hub._readers.discard(self)

    @property
    def position(self) -> str:
        return f"{self.hub.epoch}-{self.number}"

    async def more(self, timeout_s: float) -> Sequence[Event]:
        """What has come since, of what the caller may see; empty where the time was up, or
        nothing of it was for them. Raises `Dropped`."""
        if self._first:
            first, self._first = self._first, []
            return first
        await self.hub.changed(self.number, timeout_s)
        if self.hub.closed:
            raise Dropped("Pilothouse stops. Connect again in a moment.")
        found = self.hub.after(self.number)
        if found is None:
            raise Dropped("You read too slowly. Connect again, and read all anew.")
        self.number += len(found)
        return [e for e in found if e.kind in self.kinds and e.seen_by(self.caller)]
