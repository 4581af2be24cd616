"""Whether what Pilothouse depends on answers, and how long that takes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tools.errors import ToolError

Check = Callable[[], Awaitable[Any]]

# How long an answer holds: a prober must not become a load on the clusters.
HOLDS_S = 1.0
TIMEOUT_S = 5.0


class Health:
    """Checks by name, each of which raises where something is not well. Without what is in
    `checks` Pilothouse is not ready; without what is in `extras` it does less."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self.checks = dict(checks)
        self.extras: dict[str, Check] = {}
        self._until = 0.0
        self._found: dict[str, dict[str, Any]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def ready(self) -> Mapping[str, Mapping[str, Any]]:
        """Of what is needed: `ok`, `ms`, and `error` where it is not."""
        found = await self.all()
        return {name: found[name] for name in self.checks}

    async def all(self) -> Mapping[str, Mapping[str, Any]]:
        """Whoever asks meanwhile waits for the same answers; who goes takes them from nobody."""
        if self._asking is None and time.monotonic() >= self._until:
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None:
            await asyncio.shield(self._asking)
        return self._found

    async def _ask(self) -> None:
        try:
            asks = self.checks | self.extras
            found = await asyncio.gather(*(_asked(ask) for ask in asks.values()))
            self._found = dict(zip(asks, found, strict=True))
            self._until = time.monotonic() + HOLDS_S
        finally:
            self._asking = None


async def _asked(ask: Check) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await ask()
    except TimeoutError:
        error = f"no answer within {TIMEOUT_S:.0f} s"
    except ToolError as failure:
        error = failure.message
    except Exception as failure:
        error = type(failure).__name__
    else:
        error = ""
    took = round((time.perf_counter() - began) * 1000, 1)
    return {"ok": not error, "ms": took} | ({"error": error} if error else {})
