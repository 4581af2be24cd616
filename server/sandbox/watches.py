"""Watches: the changes of a kind as a stream, from a revision on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from .clock import Clock
from .errors import expired
from .kinds import Kind
from .selectors import Test
from .store import Event, Record, Store, encode, head

INITIAL_END = '"annotations":{"k8s.io/initial-events-end":"true"}'
BOOKMARK_EVERY = 60.0


@dataclass(frozen=True)
class Wanted:
    """Which objects a watch is about, from when, for how long."""

    kind: Kind
    namespace: str
    test: Test
    show: Callable[[Record], bytes]
    revision: int | None = None
    seconds: float = 1800.0
    bookmarks: bool = False
    initial: bool = False


def line(sort: str, body: bytes) -> bytes:
    """One event of a watch."""
    return b'{"type":"' + sort.encode() + b'","object":' + body + b"}\n"


def bookmark(kind: Kind, revision: int, initial_end: bool = False) -> bytes:
    """An event that only says how far the watch is."""
    meta = f'"resourceVersion":"{revision}"' + f",{INITIAL_END}" * initial_end
    return line("BOOKMARK", head(kind.kind, kind.api_version) + f'"metadata":{{{meta}}}}}'.encode())


async def stream(store: Store, clock: Clock, wanted: Wanted) -> AsyncIterator[bytes]:
    """The events of a watch, each a line of JSON, until its time is over."""
    kind = wanted.kind
    queue = store.watch(kind)
    stops = [clock.call_later(wanted.seconds, lambda: queue.put_nowait(None))]
    try:
        if wanted.revision and wanted.revision < store.compacted:
            why = f"too old resource version: {wanted.revision} ({store.compacted})"
            yield line("ERROR", encode(expired(why).status()))
            return
        seen = store.revision
        if wanted.revision:
            for event in store.since(kind, wanted.revision):
                for piece in _shown(event, wanted):
                    yield piece
        else:
            for record in store.records(kind, wanted.namespace):
                if wanted.test(record.object):
                    yield line("ADDED", wanted.show(record))
        if wanted.initial and wanted.bookmarks:
            yield bookmark(kind, seen, initial_end=True)
        while change := await _next(queue, clock):
            if change is TICK:
                if wanted.bookmarks:
                    yield bookmark(kind, store.revision)
            elif change.revision > seen:
                for piece in _shown(change, wanted):
                    yield piece
        if wanted.bookmarks and not store.closed:
            yield bookmark(kind, store.revision)
    finally:
        for stop in stops:
            stop()
        store.unwatch(kind, queue)


TICK = Event(0, "BOOKMARK", None, None)  # type: ignore[arg-type]


async def _next(queue: asyncio.Queue[Event | None], clock: Clock) -> Event | None:
    stop = clock.call_later(BOOKMARK_EVERY, lambda: queue.put_nowait(TICK))
    try:
        return await queue.get()
    finally:
        stop()


def _shown(event: Event, wanted: Wanted) -> list[bytes]:
    """The event as this watch sees it: an object may come into its selection, or leave it."""
    record = event.record
    if wanted.namespace and record.key[0] != wanted.namespace:
        return []
    now = wanted.test(record.object)
    if event.type == "DELETED":
        return [line("DELETED", wanted.show(record))] if now else []
    was = event.before is not None and wanted.test(event.before.object)
    if now:
        return [line("MODIFIED" if was else "ADDED", wanted.show(record))]
    return [line("DELETED", wanted.show(record))] if was else []
