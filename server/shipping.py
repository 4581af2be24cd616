"""The audit trail, shipped to Loki. What is yet to be shipped is what lies in the journal behind a
cursor, so that nothing is held in memory and nothing waits: after Loki was away it is caught up."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
import structlog

from server.chain import COLUMNS
from server.journal import audit
from server.records import Records
from server.settings import LokiConfig

log = structlog.get_logger(__name__)

PUSH = "/loki/api/v1/push"
CURSOR = "loki_shipped"
EVERY_S = 2.0
LONGEST_PAUSE_S = 60.0
AT_ONCE = 1000
TIMEOUT_S = 10.0


class Shipper:
    """Ships in the background while it is started."""

    def __init__(self, records: Records, config: LokiConfig, every_s: float = EVERY_S) -> None:
        self._records = records
        self._config = config
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._config.url:
            self._task = asyncio.create_task(self._ship_all(), name="loki")

    async def stop(self) -> None:
        """What is not shipped by now is when we are back."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _ship_all(self) -> None:
        import httpx

        pause = self._every_s
        async with httpx.AsyncClient(
            timeout=TIMEOUT_S, follow_redirects=False, auth=self._login(), headers=self._headers()
        ) as client:
            while True:
                why = ""
                try:
                    while await self._ship(client.post):
                        pause = self._every_s
                except httpx.HTTPError as error:
                    why = str(error) or type(error).__name__
                except Exception as error:
                    log.exception("audit trail not shipped")
                    why = type(error).__name__
                if why:
                    log.warning("Loki does not take the audit trail", why=why, again_s=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S) if why else self._every_s

    async def _ship(self, post: Callable[..., Any]) -> bool:
        """Ship what comes next; is there perhaps more? Raises `httpx.HTTPError`."""
        shipped = await self._records.get_meta(CURSOR) or 0
        query = sa.select(audit).where(audit.c.seq > shipped).order_by(audit.c.seq).limit(AT_ONCE)
        rows = await self._records.journal.run(lambda c: c.execute(query).mappings().all())
        if not rows:
            return False
        answer = await post(self._config.url.rstrip("/") + PUSH, content=self._pushed(rows))
        if answer.status_code == 400:
            # It takes what it can of a batch and never the rest (records that are too old for it).
            log.warning("Loki left out records", why=answer.text[:300], to=rows[-1]["seq"])
        else:
            answer.raise_for_status()
        await self._records.set_meta(CURSOR, rows[-1]["seq"])
        return len(rows) == AT_ONCE

    def _pushed(self, rows: Sequence[sa.RowMapping]) -> bytes:
        labels = {"service_name": "pilothouse", "kind": "audit", **self._config.labels}
        values = [[str(_nanoseconds(row)), _line(row)] for row in rows]
        return json.dumps({"streams": [{"stream": labels, "values": values}]}).encode()

    def _login(self) -> tuple[str, str] | None:
        password = self._config.password.get_secret_value()
        return (self._config.user, password) if self._config.user else None

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        if self._config.tenant:
            headers["x-scope-orgid"] = self._config.tenant
        if token := self._config.token.get_secret_value():
            headers["authorization"] = f"Bearer {token}"
        return headers


def _nanoseconds(row: sa.RowMapping) -> int:
    return int(round(row["time"].timestamp() * 1e6) * 1000)


def _line(row: sa.RowMapping) -> str:
    plain = {name: row[name] for name in (*COLUMNS, "hash") if row[name] != ""}
    return json.dumps(plain | {"time": row["time"].isoformat()}, separators=(",", ":"))
