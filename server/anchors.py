"""Anchors of the audit trail: how long it was and how its last hash was, kept outside of it.

Who can change the database can make its chain anew; not so that it still holds what was anchored.
Each anchor is signed: who can write this file, and not read the state's key, cannot add one.
"""

import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

FILE = "audit.anchors"


class Anchor(NamedTuple):
    seq: int
    hash: str
    time: str
    mac: str = ""

    @property
    def signed(self) -> str:
        """What the signature is of."""
        return json.dumps(["audit anchor", self.seq, self.hash, self.time])


def add(path: Path, seq: int, hash: str, now: datetime, mac: Callable[[str], str]) -> None:
    """Append an anchor; it is durable when this returns. Raises `OSError`."""
    anchor = Anchor(seq, hash, now.isoformat())
    line = json.dumps(anchor._replace(mac=mac(anchor.signed))._asdict()) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # What a crash cut off must not swallow this line.
        torn = os.fstat(file).st_size and not path.read_bytes().endswith(b"\n")
        os.write(file, b"\n" * bool(torn) + line.encode())
        os.fsync(file)
    finally:
        os.close(file)


def read(path: Path) -> Iterator[Anchor]:
    """Every anchor that was written whole."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield Anchor(**json.loads(line))
        except (ValueError, TypeError):
            continue
