"""Chat, wired to this process: its tables in the journal, its people, and what changes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from chatops.house import House
from chatops.store import Store
from server.events import Dropped, Subscription
from server.journal import Journal
from server.settings import Settings
from tools.calls import Caller
from tools.errors import Code, ToolError

if TYPE_CHECKING:
    from chatops.slack.connecting import Slack
    from server.app import App

log = structlog.get_logger(__name__)

FOLLOW_S = 60.0
MOST_ALERTS, ALERTS_LIVE = 50, timedelta(days=1)


async def make_store(
    journal: Journal, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Store:
    store = Store(journal.run, clock)
    await store.open()
    return store


class Links:
    """Who is who in chat, for the tools: `tools.context.Chat`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def code(self, code: str) -> tuple[str, str]:
        found = await self.store.code(code)
        if found is None:
            raise _no_such_code()
        return found

    async def link(self, code: str, caller: Caller) -> tuple[str, str]:
        if caller.agent or caller.person != caller.subject:
            raise ToolError(
                Code.PERMISSION_DENIED,
                "An agent is nobody in chat.",
                f"{caller.person} does this with a token of their own.",
            )
        found = await self.code(code)
        if await self.store.redeem(code, caller.subject) is None:
            raise _no_such_code()
        return found


def _no_such_code() -> ToolError:
    return ToolError(
        Code.NOT_FOUND,
        "That code is unknown, used, or older than ten minutes.",
        "Say `/pilot login` in Slack for a new one.",
    )


@asynccontextmanager
async def slack_of(app: "App") -> AsyncIterator["Slack | None"]:
    """Slack, where it is configured; connected in the background."""
    if not app.settings.slack.bot_token.get_secret_value():
        yield None
        return
    from chatops.slack.connecting import opened
    from chatops.slack.desk import READER

    links = app.local_gate.chat
    assert isinstance(links, Links)
    settings = app.settings

    async def person(name: str) -> Caller | None:
        found = await app.identity.person(name, "slack")
        toolsets = None if settings.toolsets is None else frozenset(settings.toolsets)
        offered = {"read_only": settings.read_only, "toolsets": toolsets}
        return found and found.model_copy(update=offered)

    async def watch() -> AsyncIterator[str]:
        with suppress(Dropped), Subscription(app.events, READER, ["call"]) as reader:
            while True:
                for event in await reader.more(FOLLOW_S):
                    yield event.data["id"]

    async def tenant_uid(name: str) -> str | None:
        found = await app.local_gate.tenants.find(name)
        return found.uid if found else None

    async def by_email(email: str) -> str | None:
        return app.identity.subject_by_email(email)

    house = House(
        gate=app.gate,
        store=links.store,
        person=person,
        watch=watch,
        tenant_uid=tenant_uid,
        subject_by_email=by_email if settings.slack.by_email else None,
        conversations=app.agent,
    )
    async with opened(config_of(settings), house) as slack:
        app.health.extras["slack"] = slack.check
        showing = asyncio.create_task(_show_alerts(app, slack))
        try:
            yield slack
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)


async def _show_alerts(app: "App", slack: "Slack") -> None:
    """In Slack, too, from when it is there: also those that have come before."""
    from chatops.slack.alerting import AlertBoard

    await slack.ready.wait()
    board = AlertBoard(slack.desk)
    app.alerts.boards.append(board)
    since = (datetime.now(UTC) - ALERTS_LIVE).isoformat()
    kept = await app.alerts.list(None, "firing", MOST_ALERTS)
    for incident in (one for one in kept if one.updated > since):
        try:
            await board.show(incident)
        except Exception:
            log.exception("slack: an alert was not shown", incident=incident.id)


def config_of(settings: Settings) -> Any:
    from chatops.slack.app import Config

    slack = settings.slack
    return Config(
        bot_token=slack.bot_token.get_secret_value(),
        signing_secret=slack.signing_secret.get_secret_value(),
        app_token=slack.app_token.get_secret_value(),
        approvers=slack.approvers,
        channels=tuple(slack.channels.items()),
        command=slack.command,
        url=slack.api,
    )
