"""Where the objects are: by kind and namespace, with a history that watches read from.

A stored object is never changed, only replaced, so that it can be handed out without copying.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .kinds import Kind

Object = dict[str, Any]
Key = tuple[str, str]


class Record:
    """A stored object, and its JSON once somebody asked for it."""

    __slots__ = ("_item", "kind", "object")

    def __init__(self, kind: Kind, obj: Object) -> None:
        self.kind = kind
        self.object = obj
        self._item: bytes | None = None

    @property
    def key(self) -> Key:
        """Namespace and name."""
        meta = self.object["metadata"]
        return meta.get("namespace", ""), meta["name"]

    @property
    def item(self) -> bytes:
        """The object as JSON in a list, where only custom kinds repeat what they are. It is kept:
        most objects are read more often than written."""
        if self._item is None:
            custom = self.kind.shape.name == "Custom"
            self._item = encode(self.object if custom else _unnamed(self.object))
        return self._item

    @property
    def whole(self) -> bytes:
        """The object as JSON by itself."""
        if self.kind.shape.name == "Custom":
            return self.item
        return head(self.kind.kind, self.kind.api_version) + self.item[1:]


@dataclass(frozen=True)
class Event:
    """One change of one object."""

    revision: int
    type: str
    record: Record
    before: Record | None


def encode(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def head(kind: str, api_version: str) -> bytes:
    """How the JSON of an object begins."""
    return f'{{"kind":"{kind}","apiVersion":"{api_version}",'.encode()


def _unnamed(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}


class Store:
    """All objects, the revision that counts the changes, and who is told about them."""

    def __init__(self, revision: int = 1000, history: int = 20_000) -> None:
        self.revision = revision
        self.compacted = revision
        self.closed = False
        self._kept = history
        self._history: deque[Event] = deque()
        self._objects: dict[str, dict[str, dict[str, Record]]] = {}
        self._dependents: dict[str, dict[tuple[str, str, str], Record]] = {}
        self._by_uid: dict[str, Record] = {}
        self._listeners: list[Callable[[Event], None]] = []
        self._watchers: dict[str, set[asyncio.Queue[Event | None]]] = {}

    def get(self, kind: Kind, namespace: str, name: str) -> Record | None:
        """One object."""
        return self._objects.get(_id(kind), {}).get(namespace, {}).get(name)

    def records(self, kind: Kind, namespace: str = "") -> list[Record]:
        """All objects of a kind, or those in one namespace, in the order that lists have."""
        spaces = self._objects.get(_id(kind), {})
        chosen = [namespace] if namespace else sorted(spaces)
        return [
            named[name]
            for space in chosen
            if (named := spaces.get(space))
            for name in sorted(named)
        ]

    def objects(self, kind: Kind, namespace: str = "") -> Iterator[Object]:
        """All objects of a kind, in no order."""
        spaces = self._objects.get(_id(kind), {})
        for space in [namespace] if namespace else list(spaces):
            for record in list(spaces.get(space, {}).values()):
                yield record.object

    def in_namespace(self, namespace: str) -> list[Record]:
        """Everything in a namespace."""
        return [
            record
            for spaces in self._objects.values()
            for record in spaces.get(namespace, {}).values()
        ]

    def with_uid(self, uid: str) -> Record | None:
        """The object that has this uid."""
        return self._by_uid.get(uid)

    def dependents(self, uid: str) -> list[Record]:
        """The objects that name it as an owner."""
        return list(self._dependents.get(uid, {}).values())

    def everything(self) -> Iterator[Record]:
        """Every object there is."""
        return iter(list(self._by_uid.values()))

    def put(self, kind: Kind, obj: Object) -> Record:
        """Store an object, new or changed; it gets its resourceVersion here."""
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        record = Record(kind, obj)
        namespace, name = record.key
        named = self._objects.setdefault(_id(kind), {}).setdefault(namespace, {})
        before = named.get(name)
        named[name] = record
        self._index(record, before)
        self._tell(Event(self.revision, "MODIFIED" if before else "ADDED", record, before))
        return record

    def remove(self, record: Record) -> Record:
        """Take an object out; what watches see of it carries the revision of its end."""
        self.revision += 1
        kind, (namespace, name) = record.kind, record.key
        spaces = self._objects[_id(kind)]
        before = spaces[namespace].pop(name)
        if not spaces[namespace]:
            del spaces[namespace]
        meta = before.object["metadata"] | {"resourceVersion": str(self.revision)}
        gone = Record(kind, before.object | {"metadata": meta})
        self._index(None, before)
        self._tell(Event(self.revision, "DELETED", gone, before))
        return gone

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Be called with every change, at once."""
        self._listeners.append(listener)

    def since(self, kind: Kind, revision: int) -> list[Event]:
        """The changes of a kind after a revision."""
        wanted = _id(kind)
        found: list[Event] = []
        for event in reversed(self._history):
            if event.revision <= revision:
                break
            if _id(event.record.kind) == wanted:
                found.append(event)
        return found[::-1]

    def watch(self, kind: Kind) -> asyncio.Queue[Event | None]:
        """A queue that gets the changes of a kind from now on; None when it is all over."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._watchers.setdefault(_id(kind), set()).add(queue)
        return queue

    def unwatch(self, kind: Kind, queue: asyncio.Queue[Event | None]) -> None:
        """No more changes into that queue."""
        self._watchers.get(_id(kind), set()).discard(queue)

    def compact(self) -> None:
        """Forget the history; watches from before now are too old."""
        self._history.clear()
        self.compacted = self.revision

    def close(self) -> None:
        """End all watches."""
        self.closed = True
        for queues in self._watchers.values():
            for queue in queues:
                queue.put_nowait(None)

    def _tell(self, event: Event) -> None:
        self._history.append(event)
        if len(self._history) > self._kept:
            self.compacted = self._history.popleft().revision
        for queue in self._watchers.get(_id(event.record.kind), ()):
            queue.put_nowait(event)
        for listener in self._listeners:
            listener(event)

    def _index(self, record: Record | None, before: Record | None) -> None:
        for old in filter(None, (before,)):
            self._by_uid.pop(old.object["metadata"].get("uid", ""), None)
            for uid in _owners(old):
                if found := self._dependents.get(uid):
                    found.pop((_id(old.kind), *old.key), None)
                    if not found:
                        del self._dependents[uid]
        for new in filter(None, (record,)):
            self._by_uid[new.object["metadata"]["uid"]] = new
            for uid in _owners(new):
                self._dependents.setdefault(uid, {})[_id(new.kind), *new.key] = new


def _id(kind: Kind) -> str:
    # Versions of one kind share their objects.
    return kind.resource


def _owners(record: Record) -> list[str]:
    return [ref["uid"] for ref in record.object["metadata"].get("ownerReferences", ())]
