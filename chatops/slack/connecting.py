"""Slack for as long as we run: connected in the background, and said plainly where it is not."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from chatops.house import House
from chatops.slack.app import Config, bolt
from chatops.slack.cards import Cards
from chatops.slack.desk import Desk
from chatops.slack.presses import Presses
from chatops.slack.receiving import PATH, connected, receive
from tools.errors import Code, ToolError

if TYPE_CHECKING:
    from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
    from slack_sdk.http_retry.async_handler import AsyncRetryHandler
    from starlette.routing import Route

log = structlog.get_logger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
CONNECT_S = 60.0
LONGEST_WAIT_S = 60  # that Slack may tell us to wait while somebody waits for us
HOLDS_S = 30.0  # how long an answer about its health holds
REFUSED = ("account_inactive", "invalid_auth", "missing_scope", "not_allowed_token_type",
           "not_authed", "token_expired", "token_revoked")  # fmt: skip


class Slack:
    """`ready` is set once Slack has let us in; until then, `wrong` says what is the matter."""

    def __init__(self, config: Config, desk: Desk) -> None:
        self.config = config
        self.desk = desk
        self.cards = Cards(desk)
        desk.refresh = self.cards.refresh
        self.bolt = bolt(config, desk, Presses(desk, self.cards))
        self.ready = asyncio.Event()
        self.wrong = "Slack is being connected to."
        self._socket: AsyncSocketModeHandler | None = None
        self._asked = 0.0

    def routes(self, stranger: Callable[[str], Awaitable[None]]) -> "list[Route]":
        """For HTTP, where there is a secret to know Slack by. `stranger` is told the address of
        whoever comes unsigned, and raises where they come too often."""
        from starlette.routing import Route

        if not self.config.signing_secret:
            return []
        return [Route(PATH, partial(receive, self, stranger), methods=["POST"])]

    async def check(self) -> None:
        """Raises `ToolError` where Slack is not well."""
        if self.wrong:
            raise _unwell(self.wrong)
        if self._socket is not None and not await self._socket.client.is_connected():
            raise _unwell("The socket to Slack is gone, and is opened anew.")
        if time.monotonic() - self._asked > HOLDS_S:
            try:
                await self.desk.client.auth_test()
            except Exception as error:
                raise _unwell(why(error)) from error
            self._asked = time.monotonic()

    async def stay(self) -> None:
        """Connect, and try again as long as that fails. Goes on until it is cancelled."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                async with AsyncExitStack() as stack:
                    async with asyncio.timeout(CONNECT_S):
                        await self._connect(stack)
                    await asyncio.Future()
            except Exception as error:
                if (wrong := why(error)) != self.wrong:
                    log.warning("slack: not connected; trying on", why=wrong)
                self.wrong = wrong
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _connect(self, stack: AsyncExitStack) -> None:
        desk, config = self.desk, self.config
        desk.me = dict((await desk.client.auth_test()).data)  # type: ignore[arg-type]
        if config.app_token:
            self._socket = await connected(self.bolt, desk.client, config.app_token, stack)
        for work in (self.cards.follow(), self.cards.make_up()):
            task = asyncio.create_task(work, name="slack-cards")
            stack.push_async_callback(_ended, task)
        self.wrong, self._asked = "", time.monotonic()
        self.ready.set()
        log.info("slack: connected", team=desk.me.get("team"))


@asynccontextmanager
async def opened(config: Config, house: House) -> AsyncIterator[Slack]:
    """Returns at once, whether or not Slack can be reached."""
    import aiohttp
    from slack_sdk.web.async_client import AsyncWebClient

    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client = AsyncWebClient(
            token=config.bot_token,
            base_url=config.url,
            session=session,
            retry_handlers=_retries(),
        )
        slack = Slack(config, Desk(house, client, config.command))
        staying = asyncio.create_task(slack.stay(), name="slack")
        try:
            yield slack
        finally:
            await _ended(staying)
            await slack.desk.jobs.stop()


def why(error: Exception) -> str:
    """What is the matter with Slack, for an operator."""
    from slack_sdk.errors import SlackApiError

    if not isinstance(error, SlackApiError):
        return f"Slack cannot be reached: {error or type(error).__name__}."
    said = error.response.get("error") or f"status {error.response.status_code}"
    which = "app" if "connections" in error.response.api_url else "bot"
    if said in REFUSED:
        return f"Slack does not take slack.{which}_token: {said}."
    return f"Slack answers: {said}."


def _unwell(wrong: str) -> ToolError:
    hint = "docs/chatops.md says how it is set up. All else works without Slack."
    return ToolError(Code.UNAVAILABLE, wrong, hint)


def _retries() -> "list[AsyncRetryHandler]":
    from slack_sdk.http_retry.builtin_async_handlers import (
        AsyncConnectionErrorRetryHandler,
        AsyncRateLimitErrorRetryHandler,
        AsyncServerErrorRetryHandler,
    )

    class Bounded(AsyncRateLimitErrorRetryHandler):
        """Waits as long as Slack says, unless that is longer than anybody would."""

        async def _can_retry_async(self, *, response: Any = None, **given: Any) -> bool:
            if not await super()._can_retry_async(response=response, **given):
                return False
            headers = {name.lower(): value for name, value in response.headers.items()}
            return int(headers.get("retry-after", ["1"])[0]) <= LONGEST_WAIT_S

    return [
        AsyncConnectionErrorRetryHandler(max_retry_count=2),
        Bounded(max_retry_count=4),
        AsyncServerErrorRetryHandler(max_retry_count=2),
    ]


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
