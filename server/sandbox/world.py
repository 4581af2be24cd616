"""What controllers and the kubelet share: the API, the time, how long things take, and events."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .api import Api, Ask, DeleteOptions
from .clock import Clock, stamp
from .errors import ApiError

Object = dict[str, Any]
MANAGER = "kube-controller-manager"
EVENTS_LIVE = 3600


@dataclass(frozen=True)
class Timings:
    """How long things take, in the cluster's seconds; a real cluster is slower."""

    start: float = 0.05
    stop: float = 0.02
    pull: float = 0.2
    backoff: float = 0.2
    longest_backoff: float = 300.0
    namespace: float = 0.2
    job_backoff: float = 0.2
    retry: float = 0.5


@dataclass
class World:
    """Handed to every controller."""

    api: Api
    clock: Clock
    timings: Timings
    _events: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _numbers: Any = field(default_factory=itertools.count)

    def now(self) -> str:
        """The time as objects carry it."""
        return stamp(self.clock.now())

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object, or None."""
        return self.api.find(kind, namespace, name)

    def all(self, kind: str, namespace: str = "") -> list[Object]:
        """All objects of a kind, in the order of their names."""
        found = self.api.store.records(self.api.kinds.named(kind), namespace)
        return [record.object for record in found]

    def owned(self, kind: str, owner: Object) -> list[Object]:
        """The objects of a kind that an owner controls."""
        uid = owner["metadata"]["uid"]
        found = [
            record.object for record in self.api.store.dependents(uid) if record.kind.kind == kind
        ]
        chosen = [obj for obj in found if controller_uid(obj) == uid]
        return sorted(
            chosen,
            key=lambda obj: (
                obj["metadata"]["creationTimestamp"],
                int(obj["metadata"]["resourceVersion"]),
            ),
        )

    def create(self, kind: str, obj: Object) -> Object:
        """Make an object."""
        namespace = obj["metadata"].get("namespace", "")
        ask = Ask(manager=MANAGER, validation="Ignore")
        return self.api.create(self.api.kinds.named(kind), namespace, obj, ask).object

    def change(
        self,
        kind: str,
        obj: Object,
        change: Callable[[Object], None],
        subresource: str = "",
        manager: str = MANAGER,
    ) -> Object | None:
        """Change an object in place, as far as it is still there."""

        def changed(copy: Object) -> Object:
            change(copy)
            return copy

        return self.api.write(kind, obj, changed, manager, subresource)

    def set_status(
        self, kind: str, obj: Object, status: Object, manager: str = MANAGER
    ) -> Object | None:
        """Give an object another status."""
        if obj.get("status") == status:
            return obj
        return self.api.write(kind, obj, lambda copy: copy | {"status": status}, manager, "status")

    def delete(
        self, kind: str, obj: Object, policy: str = "Background", grace: int | None = None
    ) -> None:
        """Delete an object that may be gone already."""
        meta = obj["metadata"]
        options = DeleteOptions(policy, grace, uid=meta["uid"])
        try:
            self.api.delete(
                self.api.kinds.named(kind), meta.get("namespace", ""), meta["name"], options, Ask()
            )
        except ApiError as refused:
            if refused.code not in (404, 409):
                raise

    def event(
        self, kind: str, obj: Object, sort: str, reason: str, message: str, component: str
    ) -> None:
        """Tell of something; said again, it counts."""
        meta = obj["metadata"]
        key = (meta["uid"], reason, message)
        now = self.now()
        namespace = meta.get("namespace") or "default"
        if key in self._events and (known := self.get("Event", namespace, self._events[key])):
            self.change(
                "Event",
                known,
                lambda event: event.update(count=event.get("count", 1) + 1, lastTimestamp=now),
            )
            return
        name = f"{meta['name']}.{int(self.clock.seconds() * 1e9) + next(self._numbers):x}"
        about = {
            "kind": kind,
            "namespace": meta.get("namespace", ""),
            "name": meta["name"],
            "uid": meta["uid"],
            "apiVersion": obj["apiVersion"],
            "resourceVersion": meta["resourceVersion"],
        }
        body = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": sort,
            "reportingComponent": component,
        }
        try:
            made = self.create("Event", body)
        except ApiError:
            # A namespace that ends takes no more events.
            return
        self._events[key] = name
        self.clock.call_later(EVENTS_LIVE, lambda: self._forget(key, made))

    def _forget(self, key: tuple[str, str, str], event: Object) -> None:
        self._events.pop(key, None)
        self.delete("Event", event)


def controller_uid(obj: Object) -> str:
    """The uid of the owner that controls an object."""
    refs = obj["metadata"].get("ownerReferences", ())
    return next((str(ref["uid"]) for ref in refs if ref.get("controller")), "")


def owner_reference(kind: str, owner: Object) -> Object:
    """How an owner is named in what it controls."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def set_condition(status: Object, condition: Object) -> None:
    """Put a condition into a status; a changed one goes to the end, as controllers leave it."""
    listed = status.get("conditions", [])
    old = next((c for c in listed if c["type"] == condition["type"]), None)
    if old and (old["status"], old.get("reason")) == (condition["status"], condition.get("reason")):
        return
    if old and old["status"] == condition["status"] and "lastTransitionTime" in old:
        condition = condition | {"lastTransitionTime": old["lastTransitionTime"]}
    status["conditions"] = [c for c in listed if c["type"] != condition["type"]] + [condition]
