"""How much one caller, or one address, may ask: so that one who is greedy, or stuck, costs the
others nothing.

Who asks a little too often is served evenly, as often as they may. Who asks far too often is
refused, and that late: a client that asks again at once would otherwise take as much of the server
as one that is served.
"""

import asyncio
import ipaddress
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from server.metering import metered, metering
from server.settings import Limits
from tools.calls import Caller, Gate, Outcome, Problem, Progress, State, ToolInfo
from tools.errors import Code, ToolError

# Of each who asks too often, so many requests are held before they are refused: so long, or up to
# twice that, or they would all come back at once.
MOST_HELD, HELD_S = 1024, 1.0
# Who may ask again so soon is served then.
SOON_S = 1.0
BURST_S = 5
MOST_KNOWN = 10_000
MOST_COST_S = 10.0
SIGNING_IN = ("/api/v1/auth/", "/signin", "/register")


class Rate:
    """So many in a second, and a burst of so many at once: a bucket that leaks (GCRA), of which
    all that is kept is the moment at which it is empty again."""

    def __init__(
        self, per_s: float, burst: int, said: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.said = said
        self._each_s = 1 / per_s
        self._full_s = (burst - 1) / per_s
        self._clock = clock
        self._empty: dict[str, float] = {}

    def take(self, who: str, soon_s: float = SOON_S) -> tuple[bool, float]:
        """Whether they may, and in how many seconds: what may go soon has its place."""
        now = self._clock()
        empty = max(self._empty.get(who, now), now)
        wait_s = max(empty - self._full_s - now, 0.0)
        if wait_s > soon_s:
            return False, wait_s
        if len(self._empty) >= MOST_KNOWN:
            self._empty = {name: at for name, at in self._empty.items() if at > now}
        self._empty[who] = empty + self._each_s
        return True, wait_s

    def charge(self, who: str, cost_s: float) -> None:
        """What they asked for took as much as so many seconds of asking do."""
        more_s = min(cost_s, MOST_COST_S) - self._each_s
        if more_s > 0:
            now = self._clock()
            self._empty[who] = max(self._empty.get(who, now), now) + more_s


class Rates:
    """How often callers and addresses may ask, and sign in."""

    def __init__(self, settings: Limits, signed: Collection[str] = ()) -> None:
        """`signed` are the paths that requests come to signed, all from the few addresses of one
        service: whoever takes them counts by address what is not."""
        self._signed = signed
        a_second, signing = settings.calls_per_second, settings.sign_ins_per_minute
        address = settings.address_per_second
        # A page with all that is on it comes in one burst.
        self._caller = a_second and Rate(a_second, a_second * BURST_S, "You ask too often.")
        self._address = address and Rate(address, address, "Your address asks too often.")
        self._signing = signing and Rate(
            signing / 60, signing, "Too many sign in from your address."
        )
        self._share = settings.share
        self._held: Counter[str] = Counter()
        # Who asked last, and who of the others did.
        self._last = self._other = ("", float("-inf"))

    async def caller(self, subject: str) -> None:
        """Returns once the caller may ask. Raises `ToolError`, late, for one who asks too often."""
        if self._last[0] != subject:
            self._other = self._last
        self._last = subject, time.monotonic()
        await self._take(self._caller, subject)

    def charge(self, subject: str, spent_s: float) -> None:
        """A call took so much of the server's time. Who asks alone may have all of it."""
        _, asked = self._last if self._last[0] != subject else self._other
        if isinstance(self._caller, Rate) and time.monotonic() - asked < SOON_S:
            self._caller.charge(subject, spent_s / self._share)

    async def address(self, address: str, method: str, path: str) -> None:
        """The same for an address, for what is asked without a caller, too. The machine itself
        is held back only in signing in."""
        if method == "POST" and path.startswith(SIGNING_IN):
            await self._take(self._signing, address)
        if path not in self._signed:
            await self.stranger(address)

    async def stranger(self, address: str) -> None:
        """Whatever it asks for."""
        if not _is_local(address):
            await self._take(self._address, address)

    async def _take(self, rate: Rate | int, who: str) -> None:
        if isinstance(rate, int):
            return
        taken, wait_s = rate.take(who)
        if taken:
            if wait_s:
                await asyncio.sleep(wait_s)
            return
        if self._held[who] < MOST_HELD:
            self._held[who] += 1
            try:
                await asyncio.sleep(HELD_S * (1 + self._held[who] % 32 / 32))
            finally:
                self._held[who] -= 1
                if not self._held[who]:
                    del self._held[who]
        raise ToolError(
            Code.RESOURCE_EXHAUSTED,
            rate.said,
            "Ask again later, and less often. An operator sets how often one may: `limits`.",
            retry_after=math.ceil(wait_s),
        )


class Bulkhead:
    """A `Gate` in which one caller has so many calls under way, and no more, and is charged with
    what they take of the server's time."""

    def __init__(
        self, gate: Gate, concurrent: int, charge: Callable[[str, float], None] | None = None
    ) -> None:
        """0 is as many as one likes. `charge` is told a subject and seconds."""
        self._gate = gate
        self._most = concurrent
        self._charge = charge
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
            with self._place(caller), metering() as spent:
                call = self._gate.call(
                    caller,
                    tool,
                    arguments,
                    key=key,
                    preview=preview,
                    wait_s=wait_s,
                    progress=progress,
                )
                try:
                    return await metered(call, spent)
                finally:
                    if self._charge:
                        self._charge(caller.subject, spent.s)
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


@lru_cache(1024)
def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # a socket of this user's has no address
        return True
