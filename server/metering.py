"""What a call costs: the time that it takes of the event loop, with all the tasks that it begins.

Nobody else is served in that time, so it is what callers are charged with.
"""

import asyncio
import types
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import thread_time
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Spent:
    """Seconds of CPU."""

    s = 0.0


_spent: ContextVar[Spent | None] = ContextVar("spent", default=None)


@contextmanager
def metering() -> Iterator[Spent]:
    """What tasks that are begun in here take is added up, while they are run by `task`."""
    spent = Spent()
    token = _spent.set(spent)
    try:
        yield spent
    finally:
        _spent.reset(token)


async def metered(work: Coroutine[Any, Any, T], spent: Spent) -> T:
    """Awaits `work`, and adds up what its steps take."""
    return await _steps(work, spent)


@types.coroutine
def _steps(work: Coroutine[Any, Any, T], spent: Spent) -> Generator[Any, Any, T]:
    sent: Any = None
    thrown: BaseException | None = None
    while True:
        began = thread_time()
        try:
            awaited = work.throw(thrown) if thrown else work.send(sent)
        except StopIteration as end:
            return cast(T, end.value)
        finally:
            spent.s += thread_time() - began
        try:
            sent, thrown = (yield awaited), None
        except BaseException as error:
            sent, thrown = None, error


def task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
    """The factory of a loop whose tasks are metered."""
    if (spent := _spent.get()) and asyncio.iscoroutine(work):
        work = metered(work, spent)
    return asyncio.Task(work, loop=loop, **options)
