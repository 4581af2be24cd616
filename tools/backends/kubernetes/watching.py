"""Watching a kind: what is there, then what happens, however often the connection ends."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tools.backends.kubernetes.api import EVENT, Api
from tools.backends.kubernetes.kinds import Kind
from tools.errors import Code, ToolError

PAGE = 500
# A server that ends every watch at once is not asked without pause.
PAUSE_S = 0.2

Event = tuple[str, dict[str, Any]]


class _Gone(Exception):
    """The server has forgotten the version that we go on from."""


async def watch(
    api: Api, kind: Kind, namespace: str, selectors: Mapping[str, str], timeout_s: float
) -> AsyncIterator[Event]:
    """What is there (`ADDED`), then each event, until the time is up. Raises `ToolError`."""
    ends = time.monotonic() + timeout_s
    known: dict[str, dict[str, Any]] = {}
    version = ""
    while True:
        try:
            if not version:
                items, version = await _everything(api, kind, namespace, selectors)
                for event in _since(known, items):
                    yield event
            left = ends - time.monotonic()
            if left <= 0:
                return
            async for event in _events(api, kind.path(namespace), selectors, version, left):
                version = event[1]["metadata"]["resourceVersion"]
                if event[0] != "BOOKMARK":
                    _remember(known, event)
                    yield event
        except _Gone:
            version = ""
        if (left := ends - time.monotonic()) <= 0:
            return
        await asyncio.sleep(min(PAUSE_S, left))


async def _everything(
    api: Api, kind: Kind, namespace: str, selectors: Mapping[str, str]
) -> tuple[list[dict[str, Any]], str]:
    items: list[dict[str, Any]] = []
    named = {"apiVersion": kind.api_version, "kind": kind.word}
    following, version = "", ""
    for _ in range(10_000):
        query = {**selectors, "limit": PAGE, "continue": following}
        answer = await api.get(kind.path(namespace), query)
        items += [item | named for item in answer.get("items") or ()]
        version = answer["metadata"]["resourceVersion"]
        following = answer["metadata"].get("continue") or ""
        if not following:
            break
    return items, version


async def _events(
    api: Api, path: str, selectors: Mapping[str, str], version: str, left: float
) -> AsyncIterator[Event]:
    query = {
        **selectors,
        "watch": True,
        "resourceVersion": version,
        "allowWatchBookmarks": True,
        "timeoutSeconds": max(1, round(left)),
    }
    try:
        async for line in api.lines(path, query, timeout_s=left, longest=EVENT):
            event = json.loads(line) if line.strip() else None
            if event is None:
                continue
            if event["type"] == "ERROR":
                raise _Gone
            yield event["type"], event["object"]
    except ToolError as error:
        # The list that starts it again says whether the cluster can still be reached.
        if error.code in (Code.UNAVAILABLE, Code.FAILED_PRECONDITION):
            raise _Gone from error
        raise


def _since(known: dict[str, dict[str, Any]], items: list[dict[str, Any]]) -> list[Event]:
    """The events that would have led from what was known to what is there."""
    there = {item["metadata"]["uid"]: item for item in items}
    events: list[Event] = [("DELETED", known[uid]) for uid in known if uid not in there]
    for uid, item in there.items():
        if uid not in known:
            events.append(("ADDED", item))
        elif _version(known[uid]) != _version(item):
            events.append(("MODIFIED", item))
    known.clear()
    known.update(there)
    return events


def _remember(known: dict[str, dict[str, Any]], event: Event) -> None:
    uid = event[1]["metadata"]["uid"]
    if event[0] == "DELETED":
        known.pop(uid, None)
    else:
        known[uid] = event[1]


def _version(item: Mapping[str, Any]) -> str:
    return str(item["metadata"].get("resourceVersion", ""))
