"""The garbage collector: what has no owner any more goes, or is set free first."""

from __future__ import annotations

from typing import Any

from ..store import Event, Record
from ..world import World
from . import jobs

Object = dict[str, Any]
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


def concerns(event: Event) -> bool:
    """Whether a change may leave something to collect."""
    meta = event.record.object["metadata"]
    if event.type == "DELETED":
        return True
    if event.type == "ADDED" or jobs.TRACKING in meta.get("finalizers", ()):
        return bool(meta.get("ownerReferences") or meta.get("finalizers"))
    return bool(meta.get("deletionTimestamp") and meta.get("finalizers"))


def dependents(world: World, event: Event) -> list[str]:
    """What depends on an object that is gone, and the owners that wait for it to be gone."""
    meta = event.record.object["metadata"]
    if event.type != "DELETED":
        return []
    uids = [r.object["metadata"]["uid"] for r in world.api.store.dependents(meta["uid"])]
    return uids + [ref["uid"] for ref in meta.get("ownerReferences", ())]


def sync(world: World, uid: str) -> None:
    """Look at one object: is it waiting for its dependents, or has it lost its owners?"""
    record = world.api.store.with_uid(uid)
    if record is None:
        return
    meta = record.object["metadata"]
    finalizers = meta.get("finalizers", ())
    if meta.get("deletionTimestamp") and ORPHAN in finalizers:
        for dependent in world.api.store.dependents(uid):
            _set_free(world, dependent, uid)
        _let_go(world, record, ORPHAN)
    elif meta.get("deletionTimestamp") and FOREGROUND in finalizers:
        blocking = world.api.store.dependents(uid)
        for dependent in blocking:
            if not dependent.object["metadata"].get("deletionTimestamp"):
                world.delete(dependent.kind.kind, dependent.object, _policy(world, dependent))
        if not world.api.store.dependents(uid):
            _let_go(world, record, FOREGROUND)
    elif jobs.TRACKING in finalizers and not _owners_there(world, meta):
        jobs.release(world, record.object)
        sync(world, uid)
    elif meta.get("ownerReferences") and not _owners_there(world, meta):
        world.delete(record.kind.kind, record.object)


def _owners_there(world: World, meta: Object) -> bool:
    refs = meta.get("ownerReferences", ())
    return any(world.api.store.with_uid(ref["uid"]) for ref in refs)


def _policy(world: World, record: Record) -> str:
    has = world.api.store.dependents(record.object["metadata"]["uid"])
    return "Foreground" if has else "Background"


def _set_free(world: World, record: Record, uid: str) -> None:
    def change(copy: Object) -> None:
        refs = [ref for ref in copy["metadata"]["ownerReferences"] if ref["uid"] != uid]
        copy["metadata"]["ownerReferences"] = refs
        if not refs:
            del copy["metadata"]["ownerReferences"]

    world.change(record.kind.kind, record.object, change)


def _let_go(world: World, record: Record, finalizer: str) -> None:
    def change(copy: Object) -> None:
        left = [name for name in copy["metadata"]["finalizers"] if name != finalizer]
        copy["metadata"]["finalizers"] = left

    world.change(record.kind.kind, record.object, change)
