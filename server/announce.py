"""Telling others that a call waits for them, or has ended: one outbound webhook.

Signed as the Standard Webhooks specification has it (`webhook-id`, `webhook-timestamp` and
`webhook-signature: v1,<base64 of HMAC-SHA256 over id.timestamp.body>`).
"""

import asyncio
import base64
import hashlib
import hmac
import json
from contextlib import suppress
from typing import Any

import structlog

from server.masking import mask
from server.records import Call

log = structlog.get_logger(__name__)

MOST_HELD = 1000
TRIES = 6
TIMEOUT_S = 10


class Announcer:
    """Posts calls to a URL, one after the other, without ever holding a call up."""

    def __init__(self, url: str, key: bytes = b"", first_pause_s: float = 1) -> None:
        self._url = url
        self._key = key
        self._pause_s = first_pause_s
        self._held: asyncio.Queue[Call] = asyncio.Queue(MOST_HELD)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._url:
            self._task = asyncio.create_task(self._post_all(), name="webhook")

    async def stop(self, grace_s: float = 2) -> None:
        if self._task:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._held.join()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def announce(self, call: Call) -> None:
        if self._task is None:
            return
        try:
            self._held.put_nowait(call)
        except asyncio.QueueFull:
            log.warning("webhook too slow: a call is not announced", call=call.id)

    async def _post_all(self) -> None:
        import httpx

        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client:
            while True:
                call = await self._held.get()
                try:
                    await self._post(client, call)
                except Exception:
                    log.exception("webhook failed", call=call.id)
                finally:
                    self._held.task_done()

    async def _post(self, client: Any, call: Call) -> None:
        import httpx

        body = message(call)
        pause = self._pause_s
        why = ""
        for tried in range(TRIES):
            if tried:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 60)
            headers = self._headers(f"{call.id}.{call.state.value}", body)
            try:
                answer = await client.post(self._url, content=body, headers=headers)
                if answer.is_success:
                    return
                why = f"answered {answer.status_code}"
                if answer.status_code < 500 and answer.status_code != 429:
                    break
            except httpx.HTTPError as error:
                why = str(error) or type(error).__name__
        log.warning("webhook not delivered", call=call.id, why=why)

    def _headers(self, id: str, body: bytes) -> dict[str, str]:
        from time import time

        headers = {"content-type": "application/json", "webhook-id": id}
        headers["webhook-timestamp"] = stamp = str(int(time()))
        if self._key:
            signed = f"{id}.{stamp}.".encode() + body
            mac = hmac.new(self._key, signed, hashlib.sha256).digest()
            headers["webhook-signature"] = "v1," + base64.b64encode(mac).decode()
        return headers


def message(call: Call) -> bytes:
    """What is posted: `call.waiting` or `call.ended`, and the call as doors show it."""
    kind = "call.waiting" if call.state.waiting else "call.ended"
    record = call.record().model_dump(mode="json", exclude_defaults=True)
    return json.dumps(
        {"type": kind, "timestamp": call.updated.isoformat(), "data": mask(record)}
    ).encode()
