"""The controllers: each makes what is like what is wanted, for one object at a time.

A controller is a function that is called with an object when the object, or something that it
controls, has changed; it may answer after how many seconds it wants to be called again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from ..errors import ApiError
from ..store import Event, Object
from ..world import World
from . import daemonsets, deployments, garbage, jobs, namespaces, replicasets, small, statefulsets

Sync = Callable[[World, Object], float | None]
Key = tuple[str, str, str]
log = logging.getLogger(__name__)

CONTROLLERS: dict[str, Sync] = {
    "Deployment": deployments.sync, "ReplicaSet": replicasets.sync,
    "StatefulSet": statefulsets.sync, "DaemonSet": daemonsets.sync, "Job": jobs.sync,
    "Namespace": namespaces.sync, "ResourceQuota": small.sync_quota,
    "PodDisruptionBudget": small.sync_budget,
    "HorizontalPodAutoscaler": small.sync_autoscaler, "PersistentVolumeClaim": small.sync_claim,
    "CustomResourceDefinition": small.sync_definition,
}  # fmt: skip
# A change of one of these concerns all objects of the other kind in its namespace.
NEIGHBOURS = {
    "Pod": ("ResourceQuota", "PodDisruptionBudget"),
    "Node": ("DaemonSet",),
    "Deployment": ("ResourceQuota", "HorizontalPodAutoscaler"),
    "StatefulSet": ("ResourceQuota", "HorizontalPodAutoscaler"),
    "ReplicaSet": ("ResourceQuota", "HorizontalPodAutoscaler"),
}


class Controllers:
    """One queue for all controllers, filled by the store's changes and emptied by one task."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        world.api.store.listen(self._noticed)

    def start(self) -> None:
        """Begin, with all that is there."""
        for record in self._world.api.store.everything():
            self._add(record.kind.kind, *record.key)
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """End."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _noticed(self, event: Event) -> None:
        record = event.record
        for kind, namespace, name in self._concerned(event):
            self._add(kind, namespace, name)
        if garbage.concerns(event):
            self._add("garbage", "", record.object["metadata"]["uid"])
            for dependent in garbage.dependents(self._world, event):
                self._add("garbage", "", dependent)

    def _concerned(self, event: Event) -> Iterator[Key]:
        kind, (namespace, name) = event.record.kind.kind, event.record.key
        if event.type != "DELETED":
            yield kind, namespace, name
        for ref in event.record.object["metadata"].get("ownerReferences", ()):
            if ref.get("controller"):
                yield ref["kind"], namespace, ref["name"]
        if kind == "Event":
            return
        neighbours = NEIGHBOURS.get(kind, ("ResourceQuota",) if namespace else ())
        if kind != "Pod" and event.type == "MODIFIED":
            # What a quota counts of it is only that it is there.
            neighbours = tuple(other for other in neighbours if other != "ResourceQuota")
        for other in neighbours:
            for obj in self._world.all(other, namespace):
                yield other, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        if event.type == "DELETED" and namespace:
            yield "Namespace", "", namespace

    def _add(self, kind: str, namespace: str, name: str) -> None:
        if kind in CONTROLLERS or kind == "garbage":
            self._queue[kind, namespace, name] = None
            self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            done = 0
            while self._queue:
                key = next(iter(self._queue))
                del self._queue[key]
                self._sync(key)
                done += 1
                if done % 20 == 0:
                    # Requests are answered meanwhile.
                    await asyncio.sleep(0)

    def _sync(self, key: Key) -> None:
        kind, namespace, name = key
        try:
            if kind == "garbage":
                garbage.sync(self._world, name)
                return
            obj = self._world.get(kind, namespace, name)
            again = CONTROLLERS[kind](self._world, obj) if obj else None
        except ApiError as refused:
            log.debug("%s %s/%s: %s", kind, namespace, name, refused.message)
            again = self._world.timings.retry
        except Exception:
            log.exception("a controller of the practice cluster failed: %s %s/%s", *key)
            again = None
        if again is not None:
            self._world.clock.call_later(again, lambda: self._add(*key))
