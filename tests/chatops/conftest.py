"""A house with the agent in it, and the stand-in that the agent asks."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chatops.anthropic_server import AnthropicServer, anthropic_server
from tests.conftest import Kube
from tests.lodging import Lodging, lodging


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
