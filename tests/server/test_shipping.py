"""The audit trail, shipped to a stand-in for Loki over a socket."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from server.audit import Audit
from server.journal import Journal
from server.records import Records
from server.settings import LokiConfig
from server.shipping import CURSOR, Shipper
from tools.calls import Caller, Outcome, State

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Loki:
    """Holds a push to what its API asks for; answers with the next of `says`, then with 204."""

    url: str = ""
    says: list[int] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    tried: int = 0

    async def push(self, request: web.Request) -> web.Response:
        self.tried += 1
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        assert request.content_type == "application/json"
        body = await request.read()
        pushed = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        status = self.says.pop(0) if self.says else 204
        if status != 204:
            return web.Response(status=status, text="entry too far behind")
        for stream in pushed["streams"]:
            self.labels = stream["stream"]
            assert all(isinstance(v, str) for v in self.labels.values())
            for nanoseconds, line in stream["values"]:
                assert isinstance(nanoseconds, str)
                assert len(nanoseconds) == 19
                self.lines.append(json.loads(line))
        return web.Response(status=204)

    async def has(self, number: int) -> list[int]:
        async with asyncio.timeout(20):
            while len(self.lines) < number:
                await asyncio.sleep(0.005)
        return [line["seq"] for line in self.lines]


@pytest.fixture
async def loki() -> AsyncIterator[Loki]:
    loki = Loki()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/loki/api/v1/push", loki.push)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    loki.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield loki
    await runner.cleanup()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = await Journal.open(f"duckdb:///{tmp_path / 'state.duckdb'}")
    yield journal
    await journal.close()


def shipper(journal: Journal, loki: Loki, **config: Any) -> Shipper:
    made = Shipper(Records(journal, lambda: NOON), LokiConfig(url=loki.url, **config), 0.01)
    made.start()
    return made


async def called(journal: Journal, times: int) -> None:
    audit = Audit(journal, lambda: NOON)
    for _ in range(times):
        outcome = Outcome(state=State.SUCCEEDED, tool="tenant_list")
        audit.note(
            caller=Caller.of("olivia", door="cli"), tool="tenant_list", tenant="", outcome=outcome,
            policy="p", duration_ms=1,
        )  # fmt: skip
    await audit.flush()


async def test_each_record_is_shipped_once_and_in_order(journal: Journal, loki: Loki) -> None:
    await called(journal, 2500)
    at_work = shipper(journal, loki, tenant="ops", token=SecretStr("t"), labels={"cluster": "eu"})
    await loki.has(2500)
    await called(journal, 10)
    assert await loki.has(2510) == list(range(1, 2511))
    await at_work.stop()
    assert loki.headers["x-scope-orgid"] == "ops"
    assert loki.headers["authorization"] == "Bearer t"
    assert loki.labels == {"service_name": "pilothouse", "kind": "audit", "cluster": "eu"}
    first = loki.lines[0]
    assert (first["subject"], first["policy"], len(first["hash"])) == ("olivia", "p", 64)


async def test_what_came_while_it_was_away_is_caught_up(journal: Journal, loki: Loki) -> None:
    loki.says = [503, 500, 429]
    at_work = shipper(journal, loki)
    for _ in range(5):
        await called(journal, 3)
    assert await loki.has(15) == list(range(1, 16))
    assert loki.tried >= 4
    await at_work.stop()


async def test_a_restart_goes_on_where_it_was(journal: Journal, loki: Loki) -> None:
    await called(journal, 5)
    at_work = shipper(journal, loki)
    await loki.has(5)
    records = Records(journal, lambda: NOON)
    async with asyncio.timeout(10):
        while await records.get_meta(CURSOR) != 5:
            await asyncio.sleep(0.005)
    await at_work.stop()
    await called(journal, 5)
    at_work = shipper(journal, loki)
    assert await loki.has(10) == list(range(1, 11))
    await at_work.stop()


async def test_what_it_will_never_take_does_not_hold_up_the_rest(
    journal: Journal, loki: Loki
) -> None:
    loki.says = [400]
    await called(journal, 3)
    at_work = shipper(journal, loki)
    async with asyncio.timeout(10):
        while not loki.tried:
            await asyncio.sleep(0.005)
    await called(journal, 2)
    assert (await loki.has(1))[0] >= 4 or loki.lines[-1]["seq"] == 5
    await at_work.stop()
