"""A house with the agent in it, and the stand-in that the agent asks."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from chatops.agent import Agent, Limits
from chatops.claude import Model
from chatops.conversation import Done, Event, Reply
from server.masking import mask_text
from tests.chatops.anthropic_server import KEY, AnthropicServer, anthropic_server
from tests.conftest import Kube
from tests.lodging import Lodging, lodging
from tools.calls import Caller, Gate


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def claude() -> AsyncIterator[AnthropicServer]:
    async with anthropic_server() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(
    shared_kube: Kube, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lodging]:
    async with lodging(shared_kube, moto_url, tmp_path_factory.mktemp("chat")) as home:
        yield home


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
    return Talking(Agent(gate, model, mask_text, Limits(**limits)), [])
