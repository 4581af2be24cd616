"""What a practice container does.

Nothing is ever run on the host. A container's command is read by a tiny interpreter that knows a
few harmless programs (`echo`, `sleep`, `exit`, loops over them, ...); any other program is only
pretended. A container that says no command is a server: it writes that it started, and then a line
about a request every second.

This module is independent of the rest of the practice cluster: give it a command, an environment
and a way to sleep, and it gives the lines that are written and, last, the exit code.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

from .programs import PROGRAMS
from .script import SyntaxTrouble
from .shell import PRETENDED, Exit, Shell, script_of

Sleep = Callable[[float], Awaitable[object]]
Now = Callable[[], datetime]
STARTED = "started: listening on 0.0.0.0:8080"
LONGEST_LINE = 16 * 1024
SHELLS = {"sh", "bash", "ash", "dash"}
CONTROL = {"sleep", "exit"}
PATHS = ("/", "/healthz", "/api/items", "/api/items/42", "/login", "/static/app.js")
STATUSES = (200, 200, 200, 200, 200, 304, 200, 404, 200, 500)


def _utc_now() -> datetime:
    return datetime.now(UTC)


async def run(
    command: Sequence[str],
    args: Sequence[str],
    env: Mapping[str, str],
    *,
    sleep: Sleep,
    now: Now = _utc_now,
    serves: bool = True,
) -> AsyncIterator[str | int]:
    """Do what a container would: lines, and at the end the exit code.

    `serves` says that a program which is only pretended goes on running as a server, as the
    containers of a Deployment do; those of a Job end.
    """
    argv = [filled(word, env) for word in (*command, *args)]
    if is_server(command, args, serves):
        if command or args:
            yield PRETENDED.format(" ".join(argv))[:LONGEST_LINE]
        async for line in serve(sleep):
            yield line
    if not command:
        yield PRETENDED.format(" ".join(["the image", *argv]))[:LONGEST_LINE]
        yield 0
        return
    shell = Shell(env, sleep, now)
    buffered = ""
    code = 0
    try:
        async for piece in shell.program(argv):
            buffered += piece
            *lines, buffered = buffered.split("\n")
            for line in lines:
                yield line[:LONGEST_LINE]
        code = shell.status
    except Exit as ended:
        code = ended.code
    except (SyntaxTrouble, ValueError, IndexError, RecursionError):
        yield PRETENDED.format("a script that it does not understand")
    if buffered:
        yield buffered[:LONGEST_LINE]
    yield code


def is_server(command: Sequence[str], args: Sequence[str], serves: bool = True) -> bool:
    """Whether the container runs until it is stopped."""
    if not serves:
        return False
    return not command or not _understood(command)


def _understood(command: Sequence[str]) -> bool:
    name = command[0].rpartition("/")[2]
    if name in SHELLS:
        return len(command) == 1 or script_of(list(command[1:]))[0] is not None
    return name in PROGRAMS or name in CONTROL


async def serve(sleep: Sleep) -> AsyncIterator[str]:
    """What a server writes, for ever."""
    yield STARTED
    number = 0
    while True:
        await sleep(1)
        yield access_line(number)
        number += 1


def access_line(number: int) -> str:
    """The line about a server's request of that number; the same number gives the same line."""
    dice = zlib.crc32(f"request {number}".encode())
    path, status = PATHS[dice % len(PATHS)], STATUSES[dice // 7 % len(STATUSES)]
    client, took = dice // 64 % 250 + 2, dice // 512 % 180 + 1
    return f'10.244.0.{client} "GET {path} HTTP/1.1" {status} {dice % 4000 + 120} {took}ms'


def filled(word: str, env: Mapping[str, str]) -> str:
    """A word of a command with `$(NAME)` replaced as the kubelet does; `$$(` is left as `$(`."""

    def value(match: re.Match[str]) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        return env.get(match[1], match[0])

    return re.sub(r"\$?\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", value, word)
