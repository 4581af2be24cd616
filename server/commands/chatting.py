"""`pilothouse chat`: the conversation in a terminal. The server has it, and the key for Claude;
here it is read, shown, and ended with Ctrl-C."""

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any

from pydantic import TypeAdapter
from rich.text import Text as Line

from chatops.conversation import Again, Begun, Called, Calling, Done, Event, Reply, Text
from server.commands.running import DONE, FAILED, INTERRUPTED, WAITS, caller, connected
from server.commands.show import clean, err, out, show_change, show_error, show_json, show_outcome
from server.connection import Connection
from server.remote import RemoteGate
from tools.errors import ToolError

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
PATH = "/api/v1/chat"
STOPPED = {
    "budget": "It stopped there: this question has used up its budget. Say `go on` for more.",
    "cancelled": "Ended.",
    "too_long": "It stopped there: the answer got too long. Say `go on` for the rest.",
    "refused": "Claude declined to answer that.",
}


async def chat(message: str | None, json: bool, **where: Any) -> int:
    async with _server(**where) as server:
        talk = Talk(server)
        if message is not None:
            reply = await talk.ask(message, quiet=json)
            if json and reply:
                show_json(reply.model_dump(mode="json", exclude_none=True))
            return _code(reply)
        if err.is_terminal:
            err.print(
                "Ask, or say what is to be done. Ctrl-C ends an answer, Ctrl-D all.", style="dim"
            )
        async for words in lines():
            try:
                await talk.ask(words)
            except ToolError as error:
                show_error(error)
    return DONE


class Talk:
    """One conversation, as it is shown."""

    def __init__(self, server: RemoteGate) -> None:
        self._server = server
        self._id = ""

    async def ask(self, words: str, *, quiet: bool = False) -> Reply | None:
        """None where it was ended by Ctrl-C. Raises `ToolError`."""
        task = asyncio.ensure_future(self._turn(words, quiet))
        with _interrupts(task), suppress(asyncio.CancelledError):
            return await task
        out.print()
        err.print(STOPPED["cancelled"], style="yellow")
        return None

    async def _turn(self, words: str, quiet: bool) -> Reply | None:
        body = {"message": words, "conversation": self._id}
        reply = None
        events: Any = self._server.events(PATH, caller(), body)
        async with aclosing(events):
            async for plain in events:
                event = EVENT.validate_python(plain)
                if isinstance(event, Begun):
                    self._id = event.conversation
                if isinstance(event, Done):
                    reply = event.reply
                if not quiet:
                    show(event)
        return reply


def show(event: Event) -> None:
    match event:
        case Text():
            out.print(Line("\n".join(map(clean, event.text.split("\n")))), end="")
        case Calling():
            given = " ".join(f"{k}={clean(str(v))[:60]}" for k, v in event.arguments.items())
            preview = " (preview)" if event.preview else ""
            out.print(Line(f"\n  → {clean(event.tool)} {given}{preview}", "dim"), end="")
        case Called() if event.outcome.error:
            out.print(Line(f"\n    {clean(event.outcome.error.message)}", "yellow"), end="")
        case Again():
            why = f"\n  {event.why}; asking again in {event.wait_s:.0f} s …\n"
            out.print(Line(clean(why.strip()), "yellow"))
        case Done():
            _show_end(event.reply)


def _show_end(reply: Reply) -> None:
    out.print()
    for made in reply.configuration:
        out.print(Line("\n" + "\n".join(map(clean, made.manifest.strip().split("\n"))), "cyan"))
        for change in made.changes:
            show_change(change, fields=False)
        if made.error:
            show_error(made.error)
    for outcome in reply.waiting:
        out.print()
        show_outcome(outcome)
    if reply.error:
        show_error(reply.error)
    elif reply.stopped:
        err.print(STOPPED.get(reply.stopped, reply.stopped), style="yellow")
    spent = reply.spent
    cached = 100 * spent.cached_tokens / max(1, spent.input_tokens)
    tokens = f"{spent.input_tokens:,} tokens read ({cached:.0f} % from the cache)"
    err.print(f"{spent.calls} calls, {tokens}, {spent.output_tokens:,} written", style="dim")


def _code(reply: Reply | None) -> int:
    if reply is None:
        return INTERRUPTED
    if reply.error:
        return FAILED
    return WAITS if reply.waiting else DONE


@asynccontextmanager
async def _server(**where: Any) -> AsyncIterator[RemoteGate]:
    """Whoever has the conversations: the server at the URL, or the owner of the state."""
    async with connected(strict=False, **where) as gate:
        if isinstance(gate, RemoteGate):
            yield gate
            return
        assert isinstance(gate, Connection)
        owner = await gate.owner()
        try:
            yield owner
        finally:
            await owner.close()


@contextmanager
def _interrupts(task: "asyncio.Future[Any]") -> Iterator[None]:
    """Ctrl-C ends this task instead of everything."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)


async def lines() -> AsyncIterator[str]:
    """What is typed, line by line, until Ctrl-D (or Ctrl-C) at the prompt."""
    with suppress(ImportError):
        import readline  # noqa: F401  editing, and what was typed before

    loop = asyncio.get_running_loop()
    with _terminal_as_it_was():
        while True:
            typed: asyncio.Future[str | None] = loop.create_future()
            threading.Thread(target=_read, args=(loop, typed), name="prompt", daemon=True).start()
            loop.add_signal_handler(signal.SIGINT, _settle, typed, None)
            try:
                line = await typed
            finally:
                loop.remove_signal_handler(signal.SIGINT)
            if line is None:
                return
            if line.strip():
                yield line


def _read(loop: asyncio.AbstractEventLoop, typed: "asyncio.Future[str | None]") -> None:
    """In a thread that ends with the process: nothing can wake it."""
    try:
        line: str | None = input("\n> " if sys.stdin.isatty() else "")
    except (EOFError, ValueError):
        line = None
    with suppress(RuntimeError):  # the loop is closed: we have left
        loop.call_soon_threadsafe(_settle, typed, line)


def _settle(typed: "asyncio.Future[str | None]", line: str | None) -> None:
    if not typed.done():
        typed.set_result(line)


@contextmanager
def _terminal_as_it_was() -> Iterator[None]:
    """A line that is being edited when we leave has the terminal's echo off."""
    if not sys.stdin.isatty():
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
