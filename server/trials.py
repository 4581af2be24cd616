"""Whether what is recommended would be refused as things are: tried out dry, and known for a moment
to all who ask at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from tools.errors import Code, ToolError

if TYPE_CHECKING:
    from recommender.suggestions import Recommendation as Stored

log = structlog.get_logger(__name__)

HOLDS_S = 15.0
SIDE_BY_SIDE = 8
# Nobody waits longer for it; what is not known by then is left unsaid, and known soon after.
WAIT_S = 3.0
# What a refusal says of the thing itself, whoever asks.
TELLING = (
    Code.RESOURCE_EXHAUSTED, Code.FAILED_PRECONDITION, Code.NOT_FOUND, Code.INVALID_ARGUMENT,
)  # fmt: skip

# Why a tool would be refused with these arguments, or None.
Trying = Callable[[str, Mapping[str, Any]], Awaitable[ToolError | None]]


class Trials:
    """Tries what is open, a few at a time."""

    def __init__(self, trying: Trying, clock: Callable[[], float] = monotonic) -> None:
        self._trying = trying
        self._clock = clock
        self._slots = asyncio.Semaphore(SIDE_BY_SIDE)
        self._known: dict[str, tuple[float, str, ToolError | None]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._forgotten = 0

    async def of(self, some: "Iterable[Stored]") -> dict[str, ToolError]:
        """The refusals, by the recommendation's id."""
        wanted = {one.id: one for one in some if one.state == "open" and one.suggestion.tool}
        now = self._clock()
        self._known = {id: known for id, known in self._known.items() if known[0] > now}
        for id in wanted.keys() - self._known.keys() - self._tasks.keys():
            self._tasks[id] = asyncio.create_task(self._try(wanted[id]))
        if asked := [self._tasks[id] for id in wanted if id in self._tasks]:
            await asyncio.wait(asked, timeout=WAIT_S)
        found = {id: self._known[id][2] for id in wanted if id in self._known}
        return {id: refused for id, refused in found.items() if refused}

    def forget(self, tenant: str) -> None:
        """Something was changed there. What is being tried may not know of it."""
        self._forgotten += 1
        self._known = {id: known for id, known in self._known.items() if known[1] != tenant}

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _try(self, one: "Stored") -> None:
        about, forgotten = one.suggestion, self._forgotten
        try:
            async with self._slots:
                refused = await self._trying(about.tool, about.arguments)
            telling = refused if refused and not refused.passing else None
            if telling and telling.code not in TELLING:
                telling = None
            holds = HOLDS_S if forgotten == self._forgotten else 0.0
            self._known[one.id] = self._clock() + holds, about.subject.namespace, telling
        except Exception:
            log.exception("recommendation not tried", id=one.id)
        finally:
            del self._tasks[one.id]
