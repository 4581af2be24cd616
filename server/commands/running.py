"""What every command needs: settings, a gate, and an end that says how it went."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from tools.calls import Caller, Gate, Outcome, State
from tools.errors import Code, ToolError

# How a command ends. A wrong option is 2 as well.
DONE, FAILED, WRONG, WAITS, RUNS, INTERRUPTED = 0, 1, 2, 3, 4, 130


def run(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Run a command and end the process with what it answers."""
    try:
        code = asyncio.run(work)
    except ToolError as error:
        from server.commands.show import show_error

        show_error(error)
        code = WRONG if error.code is Code.INVALID_ARGUMENT else FAILED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read us has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code)


def ended(outcome: Outcome) -> int:
    if outcome.error:
        return WRONG if outcome.error.code is Code.INVALID_ARGUMENT else FAILED
    if outcome.state.waiting:
        return WAITS
    if outcome.state in (State.RUNNING, State.UNKNOWN, State.UNDOING):
        return RUNS
    return DONE if outcome.state in (State.SUCCEEDED, State.PLANNING) else FAILED


def given_token(option: str | None) -> str:
    return option or os.environ.get("PILOTHOUSE_TOKEN", "")


def caller(**fields: Any) -> Caller:
    """Through which door we come. Who we are, the token says."""
    return Caller.of("", **({"door": "cli"} | fields))


@asynccontextmanager
async def connected(
    *,
    token: str | None,
    url: str | None,
    strict: bool = True,
    most_grace_s: float | None = None,
    **options: Any,
) -> AsyncIterator[Gate]:
    """A way to the gate: the server at `url`, else whoever owns the state, else ourselves, who take
    at most `most_grace_s` to finish in."""
    token, url = given_token(token), url or os.environ.get("PILOTHOUSE_URL")
    if url:
        from server.connection import Afar

        remote = Afar(url, token)
        try:
            yield remote
        finally:
            await remote.close()
        return
    from server.connection import Connection
    from server.logs import set_up
    from server.settings import load

    settings = load(**options)
    set_up(settings, least="error")
    if most_grace_s is not None:
        grace = min(settings.limits.grace_s, most_grace_s)
        limits = settings.limits.model_copy(update={"grace_s": grace})
        settings = settings.model_copy(update={"limits": limits})
    async with Connection(settings, token, strict=strict) as connection:
        yield connection


def must_have(outcome: Outcome) -> dict[str, Any]:
    """The answer of a call that the command cannot go on without. Raises `ToolError`."""
    if outcome.error:
        problem = outcome.error
        raise ToolError(problem.code, problem.message, problem.hint)
    return outcome.answer or {}
