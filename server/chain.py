"""The audit trail's chain: each record is numbered, and its hash covers all that came before it."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from typing import Any

COLUMNS = (
    "seq", "time", "subject", "person", "door", "tool", "tenant", "tenant_uid", "call_id",
    "digest", "decision", "policy", "state", "code", "duration_ms",
)  # fmt: skip
_spelled = json.JSONEncoder(separators=(",", ":")).encode


def hashed(record: Mapping[str, Any], before: str) -> str:
    """SHA-256 (hex) over the hash before it and the record's columns as a JSON list, in order."""
    plain = {**record, "time": record["time"].astimezone(UTC).isoformat()}
    return hashlib.sha256((before + _spelled([plain[c] for c in COLUMNS])).encode()).hexdigest()


def linked(records: Iterable[Mapping[str, Any]], seq: int, head: str) -> Iterator[dict[str, Any]]:
    """The records with `seq` and `hash`, following on from the record `seq` with the hash `head`
    (0 and nothing where there is none)."""
    for record in records:
        seq += 1
        numbered = {**record, "seq": seq}
        head = hashed(numbered, head)
        yield {**numbered, "hash": head}
