"""`pilothouse chat` in a terminal of its own, before a server whose Claude is a stand-in."""

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from server.doors.http import Guard
from server.doors.rest import Inside, rest_app
from server.serving import listen, served
from tests.chatops.anthropic_server import Answer, AnthropicServer, anthropic_server, says, uses
from tests.chatops.talking import ANN, GET, Scripted, talking
from tools.calls import Caller

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROOT = Path(__file__).parents[3]
CHAT = [sys.executable, "-m", "server.start", "chat"]


class Served:
    def __init__(self, url: str, gate: Scripted, claude: AnthropicServer) -> None:
        self.gate, self.claude = gate, claude
        self.env = os.environ | {
            "PILOTHOUSE_URL": url, "PILOTHOUSE_TOKEN": "of-ann", "TERM": "xterm", "COLUMNS": "200",
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Served]:
    async def who(token: str, door: str, tool: str) -> Caller | None:
        return ANN if token == "of-ann" else None

    async def nothing() -> object:
        return {}

    gate = Scripted()
    async with anthropic_server() as claude:
        agent = talking(gate, claude).agent
        inside = Inside(gate, who, nothing, nothing, "1", conversations=agent)  # type: ignore[arg-type]
        listener = listen("127.0.0.1", 0)
        app = Guard(rest_app(inside), hosts=("127.0.0.1",), origins=(), most_body=1 << 20)
        async with served(app, listener, 1):
            yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", gate, claude)
        await agent.stop()


class Terminal:
    """A command in a terminal, and what was written there."""

    def __init__(self, env: dict[str, str]) -> None:
        self.master, inner = pty.openpty()
        self.process = subprocess.Popen(
            CHAT, stdin=inner, stdout=inner, stderr=inner, env=env, start_new_session=True, cwd=ROOT,
            preexec_fn=lambda: os.close(self.master),
        )  # fmt: skip
        os.close(inner)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    async def until(self, pattern: str) -> str:
        """What was written up to this, which is then forgotten."""
        end = time.monotonic() + 20
        while not (found := re.search(pattern, self.seen)):
            assert time.monotonic() < end, (pattern, self.seen)
            await asyncio.to_thread(self._read)
        seen, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return seen

    def _read(self) -> None:
        if select.select([self.master], [], [], 0.1)[0]:
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:  # it has closed its end
                time.sleep(0.05)

    async def ended(self) -> int:
        while self.process.poll() is None:
            await asyncio.to_thread(self._read)
        os.close(self.master)
        return self.process.returncode


async def test_a_conversation_goes_on_and_ctrl_c_ends_one_answer_only(server: Served) -> None:
    held = asyncio.Event()
    server.claude.play(uses(GET, text="I look."), says("Acme is fine."),
                       Answer("A very long", hold=held), says("Short."))  # fmt: skip
    terminal = Terminal(server.env)
    await terminal.until("> ")
    terminal.type("How is acme?\n")
    shown = await terminal.until(r"1 calls, .* written")
    assert "I look." in shown
    assert "→ tenant_get tenant=acme" in shown
    assert "Acme is fine." in shown
    await terminal.until("> ")
    terminal.type("Tell me more\n")
    await terminal.until("A very long")
    os.killpg(terminal.process.pid, signal.SIGINT)
    await terminal.until("Ended.")
    held.set()
    await terminal.until("> ")
    terminal.type("Shorter\n")
    await terminal.until("Short.")
    roles = [m["role"] for m in server.claude.requests[-1]["messages"]]
    assert roles.count("assistant") >= 2  # the same conversation
    await terminal.until("> ")
    terminal.type("\x04")
    assert await terminal.ended() == 0


async def test_ctrl_c_at_the_prompt_leaves(server: Served) -> None:
    terminal = Terminal(server.env)
    await terminal.until("> ")
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert await terminal.ended() == 0


async def test_one_question_may_stand_on_the_command_line(server: Served) -> None:
    server.claude.play(says("Fine."), says("Fine."))
    run = asyncio.create_subprocess_exec
    for words, wanted in ((["How?"], b"Fine."), (["How?", "--json"], b'"text": "Fine."')):
        process = await run(*CHAT, *words, env=server.env, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
        out, _ = await process.communicate()
        assert process.returncode == 0
        assert wanted in out
