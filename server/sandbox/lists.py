"""Lists: which objects, how many at a time, and in what shape."""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from . import tables
from .clock import Clock
from .errors import bad_request, expired
from .kinds import Kind
from .selectors import Test, field_test, label_test
from .store import Record, Store, encode, head

Object = dict[str, Any]
Query = Mapping[str, str]


def test(kind: Kind, query: Query) -> Test:
    """Whether an object is one of those that a request selects."""
    by_label, by_field = query.get("labelSelector"), query.get("fieldSelector")
    tests = [label_test(by_label)] if by_label else []
    tests += [field_test(kind.kind, by_field)] if by_field else []
    return lambda obj: all(one(obj) for one in tests)


def answer(
    kind: Kind,
    records: list[Record],
    chosen: Test,
    query: Query,
    accept: str,
    store: Store,
    clock: Clock,
) -> bytes:
    """A list, or one page of it."""
    revision = store.revision
    if token := query.get("continue"):
        revision, start = _position(token)
        if revision < store.compacted:
            raise expired("the continue token is too old: list again from the start")
        records = records[bisect_right(records, start, key=lambda record: list(record.key)) :]
    meta: Object = {"resourceVersion": str(revision)}
    limit = _limit(query)
    selects = bool(query.get("labelSelector") or query.get("fieldSelector"))
    if selects:
        fitting = (record for record in records if chosen(record.object))
        # One more than the page says that there are more; a page costs no more than it shows.
        records = list(islice(fitting, limit + 1 if limit else None))
    if limit and len(records) > limit:
        meta["continue"] = _token(revision, records[limit - 1])
        if not selects:
            meta["remainingItemCount"] = len(records) - limit
        records = records[:limit]
    if tables.TABLE in accept:
        include = query.get("includeObject", "Metadata")
        objects = [record.object for record in records]
        return encode(tables.table(kind, objects, include, clock.now(), meta))
    if tables.PARTIAL in accept:
        items: Any = [tables.partial(record.object) for record in records] or None
        return encode(
            {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": meta,
                "items": items,
            }
        )
    start_of_list = head(kind.list_kind or f"{kind.kind}List", kind.api_version)
    joined = b",".join(record.item for record in records)
    return start_of_list + b'"metadata":' + encode(meta) + b',"items":[' + joined + b"]}"


def shower(accept: str, query: Query, clock: Clock) -> Callable[[Record], bytes]:
    """How a watch shows an object."""
    if tables.TABLE in accept:
        include = query.get("includeObject", "Metadata")
        return lambda record: encode(
            tables.table(
                record.kind,
                [record.object],
                include,
                clock.now(),
                {"resourceVersion": record.object["metadata"]["resourceVersion"]},
            )
        )
    if tables.PARTIAL in accept:
        return lambda record: encode(tables.partial(record.object))
    return lambda record: record.whole


def _limit(query: Query) -> int:
    try:
        return int(query.get("limit") or 0)
    except ValueError:
        raise bad_request(f"limit must be a number, not {query['limit']!r}") from None


def _token(revision: int, last: Record) -> str:
    place = {"v": "meta.k8s.io/v1", "rv": revision, "start": "/".join(last.key) + "\0"}
    return base64.urlsafe_b64encode(encode(place)).decode().rstrip("=")


def _position(token: str) -> tuple[int, list[str]]:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("latin-1")
    except (binascii.Error, ValueError) as wrong:
        raise bad_request(f"invalid continue token: continue key is not valid: {wrong}") from None
    try:
        place = json.loads(raw)
        return int(place["rv"]), place["start"].rstrip("\0").split("/")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise bad_request(
            "invalid continue token: continue key is not valid: invalid character "
            f"'{raw[:1]}' looking for beginning of value"
        ) from None
