"""How much one caller, or one address, may ask: so that one who is greedy, or stuck, costs the
others nothing.

Who asks more often than is allowed is answered late as well as refused: a client that asks again at
once would otherwise take as much of the server as one that is served.
"""

import asyncio
import ipaddress
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from server.settings import Limits
from tools.calls import Caller, Gate, Outcome, Problem, Progress, State, ToolInfo
from tools.errors import Code, ToolError

# Of each who asks too often, so many requests are held until they may ask again.
MOST_HELD, LONGEST_HOLD_S = 256, 1.0
BURST_S = 5
SIGNING_IN = ("/api/v1/auth/", "/signin", "/register")


class Rates:
    """Requests in a window of time, by caller and by address."""

    def __init__(self, settings: Limits, signed: Collection[str] = ()) -> None:
        """`signed` are the paths that requests come to signed, all from the few addresses of one
        service: whoever takes them counts by address what is not."""
        self._signed = signed
        self._rates = MovingWindowRateLimiter(MemoryStorage())
        # A page with all that is on it comes in one burst.
        most = settings.calls_per_second * BURST_S
        self._caller = _item(RateLimitItemPerSecond, most, "caller", BURST_S)
        self._address = _item(RateLimitItemPerSecond, settings.address_per_second, "address")
        self._signing = _item(RateLimitItemPerMinute, settings.sign_ins_per_minute, "signing")
        self._held: Counter[str] = Counter()

    async def caller(self, subject: str) -> None:
        """Raises `ToolError` for a caller who asks too often, once they may ask again."""
        await self._hit(self._caller, subject, "You ask too often.")

    async def address(self, address: str, method: str, path: str) -> None:
        """The same for an address, for what is asked without a caller, too. The machine itself
        is held back only in signing in."""
        if method == "POST" and path.startswith(SIGNING_IN):
            await self._hit(self._signing, address, "Too many sign in from your address.")
        if path not in self._signed:
            await self.stranger(address)

    async def stranger(self, address: str) -> None:
        """Whatever it asks for."""
        if not _is_local(address):
            await self._hit(self._address, address, "Your address asks too often.")

    async def _hit(self, item: RateLimitItem | None, who: str, said: str) -> None:
        if item is None or await self._rates.hit(item, who):
            return
        window = await self._rates.get_window_stats(item, who)
        wait_s = max(window.reset_time - time.time(), 0.05)
        held = f"{item.namespace}:{who}"
        if self._held[held] < MOST_HELD:
            self._held[held] += 1
            try:
                await asyncio.sleep(min(wait_s, LONGEST_HOLD_S))
            finally:
                self._held[held] -= 1
                if not self._held[held]:
                    del self._held[held]
        raise ToolError(
            Code.RESOURCE_EXHAUSTED,
            said,
            "Ask again later, and less often. An operator sets how often one may: `limits`.",
            retry_after=math.ceil(wait_s),
        )


class Bulkhead:
    """A `Gate` in which one caller has so many calls under way, and no more."""

    def __init__(self, gate: Gate, concurrent: int) -> None:
        """0 is as many as one likes."""
        self._gate = gate
        self._most = concurrent
        self._under_way: Counter[str] = Counter()

    async def tools(self, caller: Caller) -> list[ToolInfo]:
        return await self._gate.tools(caller)

    async def call(
        self,
        caller: Caller,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        key: str | None = None,
        preview: bool = False,
        wait_s: float | None = None,
        progress: Progress | None = None,
    ) -> Outcome:
        try:
            with self._place(caller):
                return await self._gate.call(
                    caller,
                    tool,
                    arguments,
                    key=key,
                    preview=preview,
                    wait_s=wait_s,
                    progress=progress,
                )
        except ToolError as error:
            return Outcome(state=State.FAILED, tool=tool[:64], error=Problem.of(error))

    async def stream(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        with self._place(caller):
            async for piece in self._gate.stream(caller, tool, arguments):
                yield piece

    @contextmanager
    def _place(self, caller: Caller) -> Iterator[None]:
        who = caller.subject
        if self._most and self._under_way[who] >= self._most:
            raise ToolError(
                Code.RESOURCE_EXHAUSTED,
                f"You have {self._most} calls under way already.",
                "Wait for one of them to end (a followed log is one, too).",
                retry_after=1,
            )
        self._under_way[who] += 1
        try:
            yield
        finally:
            self._under_way[who] -= 1
            if not self._under_way[who]:
                del self._under_way[who]


def _item(
    kind: type[RateLimitItem], most: int, name: str, multiples: int = 1
) -> RateLimitItem | None:
    return kind(most, multiples, namespace=name) if most else None


@lru_cache(1024)
def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # a socket of this user's has no address
        return True
