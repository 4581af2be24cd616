"""`python -m tests.bench.readers PORT TOKEN`: many who follow the events, told what to do on stdin.

`connect N` answers `{"connected": N}` when all are told their position. `report N` answers when each
was told N events: how many each was at the least and at the most, and of a tenth of the readers how
long after it happened each arrived, in ms; and forgets it. `drop` leaves.

It is the server that is measured, and it shares the machine with them: they are one thread on one
epoll, which takes what has come every few milliseconds (by which it tells of each as later than it
was) and counts. Moments are read of the tenth alone.
"""

import json
import os
import re
import select
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

HEAD = (
    "GET /api/v1/events?types=call HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\r\n"
)
POSITION, EVENT = b"retry: ", b"\nevent: call\n"
UPDATED = re.compile(rb'"updated":"([^"]+)"')
ONE_IN, AT_ONCE, PATIENCE_S = 10, 50, 60.0
EVERY_S, MOST = 0.003, 8192


@dataclass
class Reader:
    """`moments` are those of the events that it was told, and when; None where nobody asks."""

    socket: socket.socket
    moments: list[tuple[float, bytes]] | None
    told: int = 0
    connected: bool = False
    rest: bytes = b""  # of what came last: an event may come in two parts


@dataclass
class Readers:
    port: int
    token: str
    all: list[Reader] = field(default_factory=list)
    ways: select.epoll = field(default_factory=select.epoll)
    by_number: dict[int, Reader] = field(default_factory=dict)
    connected: int = 0

    def connect(self, many: int) -> dict[str, int]:
        end = time.monotonic() + PATIENCE_S
        while len(self.all) < many:
            for _ in range(AT_ONCE):
                one = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
                one.sendall(HEAD.format(self.token).encode())
                one.setblocking(False)
                reader = Reader(one, None if len(self.all) % ONE_IN else [])
                self.all.append(reader)
                self.by_number[one.fileno()] = reader
                self.ways.register(one, select.EPOLLIN)
            while self.connected < len(self.all):
                if time.monotonic() > end:
                    raise TimeoutError(f"{self.connected} of {len(self.all)} are connected")
                self.read(1)
        return {"connected": self.connected}

    def read(self, timeout: float | None) -> bool:
        """Take what has come. True where somebody says something on stdin."""
        asked = False
        time.sleep(EVERY_S)
        for number, _ in self.ways.poll(timeout):
            if number == 0:
                asked = True
                continue
            reader = self.by_number[number]
            with suppress(BlockingIOError):
                if not (data := reader.socket.recv(MOST)):
                    raise ConnectionError(f"a reader was let go of after {reader.told} events")
                data = reader.rest + data
                reader.rest = data[-len(EVENT) + 1 :]
                if not reader.connected and POSITION in data:
                    reader.connected = True
                    self.connected += 1
                if told := data.count(EVENT):
                    reader.told += told
                    if reader.moments is not None:
                        reader.moments.append((time.time(), data))
        return asked

    def report(self, events: int) -> dict[str, object]:
        end = time.monotonic() + PATIENCE_S
        while any(reader.told < events for reader in self.all) and time.monotonic() < end:
            self.read(1)
        late = [
            at - datetime.fromisoformat(moment.decode()).timestamp()
            for reader in self.all
            for at, data in reader.moments or ()
            for moment in UPDATED.findall(data)
        ]
        told = sorted(reader.told for reader in self.all)
        for reader in self.all:
            reader.told = 0
            if reader.moments is not None:
                reader.moments.clear()
        return {
            "told": [told[0], told[-1]],
            "late_ms": [round(1000 * one, 1) for one in sorted(late)],
        }

    def drop(self) -> dict[str, int]:
        for reader in self.all:
            self.ways.unregister(reader.socket)
            reader.socket.close()
        self.all.clear()
        self.by_number.clear()
        self.connected = 0
        return {}


def main(port: int, token: str) -> None:
    readers = Readers(port, token)
    readers.ways.register(0, select.EPOLLIN)
    while True:
        if not readers.read(None):
            continue
        said = os.read(0, 1000).decode().split()  # one line: an answer is waited for
        if not said:
            return
        match said:
            case ["connect", many]:
                answer: object = readers.connect(int(many))
            case ["report", events]:
                answer = readers.report(int(events))
            case _:
                answer = readers.drop()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
