"""Changes to a cluster: each read, checked and written so that sent twice it happens once."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from server.executor import settling
from tools.backends.kubernetes import Api, Identity
from tools.backends.kubernetes.cluster import KubeCluster
from tools.backends.kubernetes.fields import CALL, MANAGER, difference, veiled
from tools.backends.kubernetes.observing import look, seen
from tools.backends.kubernetes.writing import request_for, send
from tools.errors import Code, ToolError
from tools.plan import Apply, Change, Create, Delete, Patch, Scale, Seen

# An object's status moves its resourceVersion within milliseconds: read, check and write again.
TRIES = 8
PAUSE_S = 0.02
# So many calls may make namespaces side by side before one of them looks where it need not.
NEWEST = 64

Live = Mapping[str, Any] | None


class KubeWrites(KubeCluster):
    """A cluster with the right to change it: handed to the engine alone."""

    def __init__(self, api: Api, identity: Identity | None = None) -> None:
        super().__init__(api, identity)
        # The namespaces that were made last, each with the call that made it.
        self._made: deque[tuple[str, str]] = deque(maxlen=NEWEST)

    async def apply(self, change: Change, call_id: str) -> Seen:
        if isinstance(change, Create):
            return await self._create(change, call_id)
        for attempt in range(TRIES):
            # In a namespace that this call made a moment ago is nothing of anybody's yet; should
            # there be, the API server refuses to apply over it.
            new = not attempt and self._made_around(change, call_id)
            live = None if new else await look(self, change)
            if isinstance(change, Delete) and _going(change, live):
                return Seen()
            if live is None and isinstance(change, Patch | Scale):
                raise ToolError(
                    Code.NOT_FOUND,
                    f"{change.ref} is not there any more.",
                    "Find out who deleted it, and ask again.",
                )
            await self._must_be_as_seen(change, live)
            request = await request_for(self.api, change, live, call_id)
            try:
                reply = await send(self.api, request)
            except ToolError as error:
                if isinstance(change, Delete) and error.code is Code.NOT_FOUND:
                    return Seen()
                if not _moved_on(error) or attempt == TRIES - 1:
                    raise
                await asyncio.sleep(PAUSE_S * attempt)
                continue
            if change.ref.kind == "v1/Namespace" and reply.status == 201:
                self._made.append((call_id, change.ref.name))
            return Seen() if isinstance(change, Delete) else seen(change, reply.body)
        raise AssertionError("the last try returns or raises")

    def _made_around(self, change: Change, call_id: str) -> bool:
        there = change.seen is not None and change.seen.value is not None
        applied = isinstance(change, Apply) and not change.force and not there
        return applied and (call_id, change.ref.namespace) in self._made

    def took_effect(self, change: Change, left: Seen) -> bool:
        return settling.at_once(change)

    async def is_ours(self, change: Change, call_id: str) -> bool:
        metadata = (await self.find(change.ref) or {}).get("metadata") or {}
        if isinstance(change, Create):
            return (metadata.get("annotations") or {}).get(CALL) == call_id
        return any(by.get("manager") == MANAGER for by in metadata.get("managedFields") or ())

    async def settled(self, change: Change) -> str:
        return await settling.settled(self, change)

    async def _create(self, change: Create, call_id: str) -> Seen:
        request = await request_for(self.api, change, None, call_id)
        try:
            return seen(change, (await send(self.api, request)).body)
        except ToolError as error:
            if error.code is not Code.ALREADY_EXISTS:
                raise
            live = await self.find(change.ref)
            annotations = ((live or {}).get("metadata") or {}).get("annotations") or {}
            if annotations.get(CALL) != call_id:
                raise
            return seen(change, live)

    async def _must_be_as_seen(self, change: Change, live: Live) -> None:
        """The object must be the one that was planned for, and in the fields that are written as it
        was then; or already as intended, which the server is asked about."""
        if change.seen is None:
            return
        now = seen(change, live)
        if now.value is None and change.seen.value is None:
            return
        if change.seen.uid and now.uid != change.seen.uid:
            what = "is another one by now" if live else "is gone"
            raise _moved(f"{change.ref} {what}; it was changed since this was planned.")
        moves = difference(change.seen.value, now.value)
        if not moves or await self._as_intended(change, live):
            return
        said = "; ".join(
            f"{m.path or 'it'} is {_short(m.after)}, was {_short(m.before)}"
            for m in veiled(change.ref.kind, moves[:5])
        )
        raise _moved(f"{change.ref} changed since it was planned: {said}.")

    async def _as_intended(self, change: Change, live: Live) -> bool:
        if live is None or isinstance(change, Delete):
            return False
        if isinstance(change, Apply):
            # Whose the fields are is not asked here.
            change = change.model_copy(update={"force": True})
        reply = await send(self.api, await request_for(self.api, change, None), dry_run=True)
        return not difference(live, reply.body)


def _going(change: Delete, live: Live) -> bool:
    """Is what was to be deleted gone, or on its way? A pod's name may be taken by its successor."""
    if live is None:
        return True
    metadata = live.get("metadata") or {}
    if change.seen and change.seen.uid and metadata.get("uid") != change.seen.uid:
        return change.ref.kind == "v1/Pod"
    return "deletionTimestamp" in metadata


def _moved_on(error: ToolError) -> bool:
    """A 409 that says only that the object was written by somebody else since it was read."""
    return error.code is Code.FAILED_PRECONDITION and (
        "the object has been modified" in error.message
        or "in the precondition" in error.message
        or "uid mismatch" in error.message
    )


def _moved(message: str) -> ToolError:
    return ToolError(
        Code.FAILED_PRECONDITION, message, "Ask again, to plan it from what is there now."
    )


def _short(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
