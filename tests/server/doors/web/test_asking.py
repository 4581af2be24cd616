"""The Ask view in a browser, before a server whose Claude is a stand-in."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from server.app import App
from server.commands.serving import serving
from server.identity import new_token
from tests.browsing import signed_in
from tests.chatops.anthropic_server import (
    KEY,
    Answer,
    AnthropicServer,
    anthropic_server,
    says,
    uses,
)
from tests.house import OLIVIA, settings

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")
LOOK = ("tenant_list", {})


@dataclass
class Served:
    app: App
    url: str
    claude: AnthropicServer
    browser: "Browser"
    token: str

    async def page(self, **options: Any) -> "Page":
        page = await signed_in(self.browser, self.url, self.token, **options)
        await page.get_by_role("link", name="Ask").click()
        return page


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(
    chromium: "Browser", practice: Any, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    folder: Path = tmp_path_factory.mktemp("ask")
    practice.kubeconfig(path=folder / "kubeconfig")
    started: asyncio.Future[Served] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def run() -> None:
        async with anthropic_server() as claude:
            chat = {"api_key": KEY, "base_url": claude.url}
            with pytest.MonkeyPatch.context() as patched:
                patched.setenv("AWS_ACCESS_KEY_ID", "practice")
                patched.setenv("AWS_SECRET_ACCESS_KEY", "practice")
                where = str(folder / "kubeconfig")
                found = settings(folder / "state", where, moto_url, port=0, chat=chat)
                async with serving(found) as (app, url):
                    token, sha256 = new_token()
                    await app.identity.tokens.create(
                        OLIVIA, sha256=sha256, subject="olivia", tenants={}, operator=True,
                        agent=False, person="", expires_days=None,
                    )  # fmt: skip
                    started.set_result(Served(app, url, claude, chromium, token))
                    await over.wait()

    task = asyncio.create_task(run())
    done, _ = await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
    if task in done:
        task.result()
    yield started.result()
    over.set()
    await task


async def test_tool_calls_and_words_are_shown_as_they_come(served: Served) -> None:
    page, held = await served.page(), asyncio.Event()
    served.claude.play(uses(LOOK, text="I look."), Answer("There are none.", hold=held))
    await page.get_by_label("What do you want").fill("Which tenants are there?")
    await page.keyboard.press("Enter")
    await page.get_by_text("There are none.").wait_for()
    assert await page.locator(".used").get_by_text("tenant_list").is_visible()
    assert await page.get_by_role("button", name="Stop").is_visible()
    held.set()
    await page.get_by_text("1 tool call").wait_for()
    assert "/ask/" in page.url
    served.claude.play(says("Nothing else."))
    await page.get_by_label("What do you want").fill("And else?")
    await page.get_by_role("button", name="Ask").click()
    await page.get_by_text("Nothing else.").wait_for()
    await page.reload()  # it is one conversation, and it is kept
    assert await page.locator(".turn").count() == 2
    await page.context.close()


async def test_an_answer_is_stopped(served: Served) -> None:
    page, held = await served.page(), asyncio.Event()
    served.claude.play(Answer("This will take", hold=held))
    await page.get_by_label("What do you want").fill("Tell me all")
    await page.get_by_role("button", name="Ask").click()
    await page.get_by_text("This will take").wait_for()
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_text("You ended it.").wait_for()
    held.set()
    await page.context.close()


async def test_without_a_script_the_form_is_sent_and_the_answer_comes_back(served: Served) -> None:
    page = await served.page(java_script_enabled=False)
    served.claude.play(uses(LOOK), says("None, <b>it seems</b>."))
    await page.get_by_label("What do you want").fill("Which tenants are there?")
    await page.get_by_role("button", name="Ask").click()
    await page.get_by_text("None, <b>it seems</b>.").wait_for()  # text, and no markup
    served.claude.play(says("Going on."))
    await page.get_by_label("Go on").fill("Go on")
    await page.get_by_role("button", name="Ask").click()
    await page.get_by_text("Going on.").wait_for()
    assert await page.locator(".turn").count() == 2
    await page.context.close()
