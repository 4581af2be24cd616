"""`pilothouse` as processes of their own."""

import asyncio
import ctypes
import json
import multiprocessing
import os
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from server import start

ROOT = Path(__file__).parents[1]
START_S = 60


def environment(**variables: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PILOTHOUSE_", "KUBE"))}
    return clean | {"PYTHONPATH": str(ROOT), "PILOTHOUSE_LOG__FORMAT": "json"} | variables


@dataclass
class Ran:
    code: int
    said: str


def run(log: Path, *words: str, **variables: str) -> Ran:
    """A command to its end, in a process that is forked: a fresh one takes a second. Its exit code,
    and all that it wrote."""
    forked = fork(log, *words, **variables)
    forked.process.join(START_S)
    return forked.ran()


@dataclass
class Forked:
    """A command that goes on, in a process that is forked: a fresh one takes a second or two."""

    process: Any
    log: Path

    @property
    def goes_on(self) -> bool:
        return self.process.exitcode is None

    def ran(self) -> Ran:
        assert not self.goes_on, "it did not end"
        return Ran(self.process.exitcode, self.log.read_text())

    async def until(self, holds: Callable[[], Any]) -> Any:
        """What `holds` gives, once it is something."""
        async with asyncio.timeout(START_S):
            while not (found := holds()):
                await asyncio.sleep(0.02)
        return found

    async def serving(self) -> str:
        """The URL that a `serve` answers at."""

        def said() -> str:
            assert self.goes_on, self.log.read_text()
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            line = next((line for line in lines if '"serving"' in line), "")
            return json.loads(line)["mcp"].removesuffix("/mcp") if line.endswith("}") else ""

        return str(await self.until(said))

    async def ended(self, number: int = 0) -> Ran:
        """Its end, told to stop by a signal or by itself."""
        if number and self.goes_on:
            os.kill(self.process.pid, number)
        await self.until(lambda: not self.goes_on)
        return self.ran()


def fork(log: Path, *words: str, **variables: str) -> Forked:
    process = _forks.Process(target=_main, args=(str(log), words, environment(**variables)))
    process.start()
    return Forked(process, log)


_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    [
        "tests.processes",
        "server.app",
        "server.cli",
        "server.commands.serving",
        "server.commands.show",
        "server.doors.mcp_serving",
        "duckdb_engine",
    ]
)


def _main(log: str, words: tuple[str, ...], variables: dict[str, str]) -> None:
    if os.geteuid() == 0:
        _be_no_exception()
    out = os.open(log, os.O_WRONLY | os.O_CREAT)
    for number in (1, 2):
        os.dup2(out, number)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(variables["HOME"])
    sys.argv = ["pilothouse", *words]
    start.main()


def _be_no_exception() -> None:
    """Give up what lets root write to what is read-only: all of its capabilities."""
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, of this process
    if ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)):
        raise OSError(ctypes.get_errno(), "capset")


@dataclass
class Server:
    """A `pilothouse serve` that answers at `url`."""

    process: asyncio.subprocess.Process
    url: str
    said: list[str]
    reading: "asyncio.Task[None]"

    async def call(self, token: str, tool: str, query: str = "", /, **arguments: Any) -> Any:
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60) as http:
            return (await http.post(f"/api/v1/tools/{tool}{query}", json=arguments)).json()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it as a supervisor would; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), START_S)
        await self.reading
        assert "Traceback" not in "".join(self.said), "".join(self.said)
        return code


async def serve(*words: str, **variables: str) -> Server:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server.start", "serve", "--port", "0", *words,
        env=environment(**variables), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said: list[str] = []
    answers: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def read() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            said.append(line.decode())
            if b'"serving"' in line and not answers.done():
                answers.set_result(json.loads(line)["mcp"].removesuffix("/mcp"))
        if not answers.done():
            answers.set_exception(AssertionError("it did not serve:\n" + "".join(said)))

    reading = asyncio.create_task(read())
    return Server(process, await asyncio.wait_for(answers, START_S), said, reading)
