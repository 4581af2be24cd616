"""`python -m tests.bench.readers PORT TOKEN`: many who follow the events, told what to do on stdin.

`connect N` answers `{"connected": N}` when all are told their position; `report` answers how long
after it happened each event arrived, in ms, and forgets it; `drop` leaves.
"""

import asyncio
import json
import re
import sys
import time
from datetime import datetime
from typing import Any

UPDATED = re.compile(rb'"updated":"([^"]+)"')


class Reader(asyncio.Protocol):
    """Looks at no more than when what it is told happened: it is the server that is measured."""

    def __init__(self, port: int, token: str, late: list[float]) -> None:
        self.head = (
            f"GET /api/v1/events?types=call HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        )
        self.late = late
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.head.encode())

    def data_received(self, data: bytes) -> None:
        if b"id: " in data and not self.told.done():
            self.told.set_result(None)
        for moment in UPDATED.findall(data):
            self.late.append(time.time() - datetime.fromisoformat(moment.decode()).timestamp())


async def main(port: int, token: str) -> None:
    loop = asyncio.get_running_loop()
    late: list[float] = []
    readers: list[Reader] = []

    async def connect() -> None:
        made = await loop.create_connection(lambda: Reader(port, token, late), "127.0.0.1", port)
        readers.append(made[1])
        await asyncio.wait_for(made[1].told, 60)

    while line := (await asyncio.to_thread(sys.stdin.readline)).split():
        answer: dict[str, Any] = {}
        match line:
            case ["connect", many]:
                for _ in range(int(many) // 50):
                    await asyncio.gather(*(connect() for _ in range(50)))
                answer = {"connected": len(readers)}
            case ["report"]:
                answer = {"late_ms": [round(1000 * one, 1) for one in sorted(late)]}
                late.clear()
            case ["drop"]:
                for reader in readers:
                    reader.transport.close()
                readers.clear()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
