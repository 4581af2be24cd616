"""Talking to the agent in tests: over a gate that is scripted, or over a real one."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from chatops.agent import Agent, Limits
from chatops.claude import Model
from chatops.conversation import Done, Event, Reply
from chatops.memory import Memory, metadata
from server.masking import mask_text
from server.vault import Vault
from tests.chatops.anthropic_server import KEY, AnthropicServer
from tools.calls import Caller, Gate, Outcome, State, ToolInfo
from tools.tool import catalog

ANN = Caller.of("ann", operator=True, door="rest")
BOB = Caller.of("bob", operator=True, door="rest")


class Scripted:
    """A gate: `tenant_get` and the like answer at once, or when `go` is set."""

    def __init__(self) -> None:
        self.calls: list[tuple[Caller, str, dict[str, Any], dict[str, Any]]] = []
        self.running = self.most = 0
        self.go: asyncio.Event | None = None
        self.started = asyncio.Event()
        self.answer: Callable[[str], Any] = lambda tool: {"name": "acme"}

    async def tools(self, caller: Caller) -> list[ToolInfo]:
        return [t.info() for t in catalog().values() if not (caller.agent and t.people_only)]

    async def call(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any], **options: Any
    ) -> Outcome:
        self.calls.append((caller, tool, dict(arguments), options))
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.set()
        try:
            if self.go:
                await self.go.wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        return Outcome(state=State.SUCCEEDED, tool=tool, answer=self.answer(tool))

    async def stream(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        self.calls.append((caller, tool, dict(arguments), {}))
        for number in range(3):
            yield {"pod": "web-1", "line": f"line {number}"}
        yield {"done": True, "status": "ended"}


GET = ("tenant_get", {"tenant": "acme"})
SCALE = ("workload_scale", {"tenant": "acme", "name": "web", "replicas": 3})


@dataclass
class Talking:
    """Asks as somebody, and keeps what came."""

    agent: Agent
    events: list[Event]

    async def ask(self, who: Caller, message: str = "Hello", **options: Any) -> Reply:
        self.events = [event async for event in self.agent.ask(who, message, **options)]
        last = self.events[-1]
        assert isinstance(last, Done)
        return last.reply


def talking(gate: Gate, claude: AnthropicServer, **limits: Any) -> Talking:
    model = Model("claude-test", KEY, claude.url, pause_s=0.01)
    return Talking(Agent(gate, model, mask_text, memory(), Limits(**limits)), [])


def memory(clock: Callable[[], datetime] = lambda: datetime.now(UTC), **options: Any) -> Memory:
    """One that ends with the test."""
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    metadata.create_all(engine)

    async def run(work: Callable[[sa.Connection], Any]) -> Any:
        with engine.begin() as connection:
            return work(connection)

    return Memory(run, Vault([os.urandom(32)]), clock, **options)
