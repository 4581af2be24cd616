"""The demo with its people, and a browser, for all tests of the page."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import pytest_asyncio

from server.demo import Demo, running
from tests.browsing import browser, need_chromium

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demo() -> AsyncIterator[Demo]:
    """Entered and left in one task, which a fixture of its own is not."""
    started: asyncio.Future[Demo] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def run() -> None:
        try:
            async with running(0) as demo:
                started.set_result(demo)
                await over.wait()
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise

    # All of these tests come from one address.
    with mock.patch.dict(os.environ, {"PILOTHOUSE_LIMITS__SIGN_INS_PER_MINUTE": "0"}):
        task = asyncio.create_task(run())
        found = await started
    yield found
    over.set()
    await task


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> "AsyncIterator[Browser]":
    need_chromium()
    async with browser() as started:
        yield started


@pytest.fixture
def call(demo: Demo) -> Any:
    """Calls a tool as one of the demo's people, over REST."""
    import httpx

    async def do(who: str, tool: str, /, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {demo.tokens[who]}"}
        async with httpx.AsyncClient(base_url=demo.url, headers=headers, timeout=60) as client:
            answer = await client.post(f"/api/v1/tools/{tool}", json=arguments)
            return answer.json()

    return do
