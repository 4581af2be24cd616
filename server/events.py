"""What happens, told live: a ring of the last events, and readers who are each handed what they
may see of it.

An event's id is `epoch-number`. The epoch is another after each start, so that a reader who comes
back with an id from before is told to read all anew (`reset`) instead of missing what was between.

While anybody is behind, one task goes round the readers, some at a time, and leaves the loop to
others in between, for longer than it takes itself. So telling takes a small part of the process,
however much happens and however many read. What happens during one round is one write, and those
who see the same are handed the same bytes. Whose connection is full is passed over: the ring keeps
what they miss, and whom it leaves behind is let go of.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import structlog

from tools.calls import Caller

log = structlog.get_logger(__name__)

KINDS = ("call", "progress", "recommendation", "metrics", "log")
# Where the state of a request has its connection.
WIRE = "pilothouse.wire"
# A sign of life: nothing but how far a reader is.
BEAT = "heartbeat"
KEPT = 10_000
# What comes soon after the first goes with it: the sooner, the fewer read.
GATHER_S, GATHER_EACH_S = 0.06, 0.00006
# Readers who are handed something in one turn of the loop, and how long others have it then.
AT_ONCE, PAUSE_S = 64, 0.003
# While all who are behind are full.
FULL_S = 0.05
# Bytes of one write, or of one event more; and what may be on its way when more is written.
MOST_AT_ONCE = 32_768
STOPS = "Pilothouse stops. Connect again in a moment."
TOO_SLOW = "You read too slowly. Connect again, and read all anew."


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
        told = ": \n" if self.kind == BEAT else f"event: {self.kind}\ndata: {self.text}\n"
        return f"{id}{told}\n".encode()

    @cached_property
    def message(self) -> str:
        """As it goes through a WebSocket."""
        id = f'"id":{json.dumps(self.id)},' if self.id else ""
        return f'{{{id}"event":"{self.kind}","data":{self.text}}}'


class Dropped(Exception):
    """Who watches is let go of, with the reason."""


# Events, as one kind of connection has them.
Spell = Callable[[Sequence[Event]], bytes]


@dataclass(eq=False)
class Reader:
    """One who follows: from `since`, an id, or from now on. Told while it is entered, or until it
    is `over`, whose result is the reason. `first` is to be told before that."""

    hub: "Hub"
    caller: Caller
    kinds: Collection[str]
    since: str
    spell: Spell
    wire: asyncio.WriteTransport
    number: int = field(init=False)
    first: list[Event] = field(init=False, default_factory=list)
    over: "asyncio.Future[str]" = field(init=False)
    alike: Hashable = field(init=False)
    _took: float = field(init=False, default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.over = asyncio.get_running_loop().create_future()
        known = self.hub.number_of(self.since) if self.since else self.hub.number
        self.number = self.hub.number if known is None else known
        if known is None or self.hub.lost(known):
            self.number = self.hub.number
            reason = "restarted" if known is None else "too long ago"
            self.first = [Event(self.position, "reset", {"reason": reason})]
        self.is_now(self.caller)

    def is_now(self, caller: Caller) -> None:
        """Who reads, with the rights of now."""
        self.caller = caller
        grants = frozenset((name, grant.uid) for name, grant in caller.grants.items())
        sight = "all" if caller.operator else (caller.person, grants)
        # Who is equal in this is told the same bytes.
        self.alike = (sight, frozenset(self.kinds), self.spell)

    def __enter__(self) -> "Reader":
        self.hub.enter(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.hub.leave(self)

    @property
    def position(self) -> str:
        return f"{self.hub.epoch}-{self.number}"

    @property
    def free(self) -> bool:
        """Does the connection take more?"""
        return self.wire.get_write_buffer_size() <= MOST_AT_ONCE and not self.wire.is_closing()

    @property
    def silent_s(self) -> float:
        """Since when nothing could be handed over."""
        return time.monotonic() - self._took

    def took(self) -> None:
        self._took = time.monotonic()

    def hand(self, data: bytes) -> None:
        self.wire.write(data)
        self.took()

    def sees(self, event: Event) -> bool:
        return event.kind in self.kinds and event.seen_by(self.caller)

    def end(self, reason: str) -> None:
        self.hub.leave(self)
        if not self.over.done():
            self.over.set_result(reason)


# What readers who are alike are handed after a number, and up to which.
Made = dict[Hashable, tuple[bytes, int]]


class Hub:
    """Where events are published. Nobody who publishes waits for anybody who reads."""

    def __init__(self, kept: int = KEPT) -> None:
        self.epoch = secrets.token_hex(4)
        self.number = 0
        self._kept = kept
        self._events: list[Event] = []
        self._readers: dict[Reader, None] = {}
        self._telling: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self.closed = False

    @property
    def position(self) -> str:
        return f"{self.epoch}-{self.number}"

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
        self.number += 1
        event = Event(self.position, kind, data, self.number, tenant, tenant_uid, person)
        self._events.append(event)
        if len(self._events) > 2 * self._kept:
            del self._events[: -self._kept]
        self._wake()
        if self._readers:
            self._tell()

    async def changed(self, timeout_s: float) -> None:
        """Wait for the next event, or until the time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def close(self) -> None:
        """Pilothouse stops: so do those who follow."""
        self.closed = True
        self._wake()
        for reader in list(self._readers):
            reader.end(STOPS)

    def lost(self, number: int) -> bool:
        """Is some of what came after that one not kept any more?"""
        return self.number - number > self._kept

    def after(self, number: int) -> Sequence[Event]:
        """What came after one that is not lost."""
        return self._events[len(self._events) - (self.number - number) :]

    def number_of(self, id: str) -> int | None:
        """The number in an id; None for one that is not of ours."""
        epoch, _, number = id.partition("-")
        known = epoch == self.epoch and number.isascii() and number.isdecimal()
        return int(number) if known and int(number) <= self.number else None

    def enter(self, reader: Reader) -> None:
        if self.closed:
            reader.end(STOPS)
            return
        self._readers[reader] = None
        if reader.number < self.number:
            self._tell()

    def leave(self, reader: Reader) -> None:
        self._readers.pop(reader, None)

    def _tell(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        """Go round until nobody is behind."""
        moved = True
        while any(one.number < self.number for one in self._readers):
            gather = min(GATHER_S, len(self._readers) * GATHER_EACH_S)
            await asyncio.sleep(gather if moved else FULL_S)
            moved = await self._go_round()

    async def _go_round(self) -> bool:
        """False where nobody could take anything."""
        made: Made = {}
        moved = False
        behind = [one for one in self._readers if one.number < self.number]
        for n, reader in enumerate(behind, 1):
            moved |= self._hand(reader, made)
            if n % AT_ONCE == 0:
                await asyncio.sleep(PAUSE_S)
        return moved

    def _hand(self, reader: Reader, made: Made) -> bool:
        """Hand a reader what came since, or a part of it; False where they cannot take it."""
        if self.lost(reader.number):
            reader.end(TOO_SLOW)
        if reader not in self._readers or not reader.free:
            return False
        key = reader.alike, reader.number, self.number
        try:
            if key not in made:
                made[key] = self._made(reader)
            data, reader.number = made[key]
            if data:
                reader.hand(data)
        except Exception:
            log.exception("a reader could not be told")
            reader.end("Telling you broke down. The server's log says why.")
        return True

    def _made(self, reader: Reader) -> tuple[bytes, int]:
        """What a reader is told in one write, and up to which number that is."""
        told: list[Event] = []
        size = 0
        for event in self.after(reader.number):
            if reader.sees(event):
                told.append(event)
                size += len(event.lines)
            if size > MOST_AT_ONCE:
                break
        return reader.spell(told) if told else b"", event.number


class Watch:
    """What happens of some kinds from now on, for this process itself."""

    def __init__(self, hub: Hub, kinds: Collection[str]) -> None:
        self._hub = hub
        self._kinds = kinds
        self._number = hub.number

    async def more(self, timeout_s: float) -> Sequence[Event]:
        """What has come since; perhaps nothing, at the latest when the time is up. Raises
        `Dropped`."""
        hub = self._hub
        if self._number == hub.number and not hub.closed:
            await hub.changed(timeout_s)
        if hub.closed:
            raise Dropped(STOPS)
        if hub.lost(self._number):
            raise Dropped(TOO_SLOW)
        found = hub.after(self._number)
        self._number = hub.number
        return [event for event in found if event.kind in self._kinds]
