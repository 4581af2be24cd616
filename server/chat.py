"""Chat, wired to this process: its tables in the journal, its people, and what changes."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chatops.house import Change, must_be_operator
from chatops.store import PLATFORM, Short, Store, User
from server.events import Dropped, Event, Hub, Watch
from server.journal import Journal
from server.settings_slack import SlackConfig
from tools.alerts import Incident
from tools.calls import Caller
from tools.errors import Code, ToolError
from tools.holdings import CallRecord

if TYPE_CHECKING:
    from chatops.slack.app import Config
    from chatops.slack.connecting import Slack
    from server.app import App

# Reads what cards show. An agent, so that it can decide nothing.
READER = Caller.of("slack", operator=True, agent=True, read_only=True, door="slack")
ALERT = "alert"  # a kind of event that clients are not told of
FOLLOW_S = 60.0
MOST_WAITING, MOST_ALERTS, ALERTS_LIVE = 200, 50, timedelta(days=1)


async def make_store(journal: Journal, clock: Callable[[], datetime], slack: SlackConfig) -> Store:
    store = Store(journal.run, clock)
    said = slack.channels | ({slack.approvers: PLATFORM} if slack.approvers else {})
    await store.bind_as_set(said)
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


class Chat:
    """This process as `chatops.house.House`. `followed`: is `pilothouse slack` connected?"""

    def __init__(self, app: "App", store: Store) -> None:
        self._app = app
        self._store = store
        self.gate = app.gate
        self.conversations = app.agent
        self.followed = False
        self.by_email = app.settings.slack.by_email
        self.login, self.logout, self.users = store.new_code, store.unlink, store.users
        self.cards, self.keep_card, self.showed = store.cards, store.keep_card, store.showed

    async def person(self, user: str) -> Caller | None:
        """Raises `ToolError` for who asks too often."""
        found = await self.linked(user)
        if found:
            await self._app.rates.caller(found.subject)
        return found

    async def linked(self, user: str) -> Caller | None:
        """The same, not counted."""
        subject = await self._store.subject(user)
        found = await self._app.identity.person(subject, "slack") if subject else None
        return found and self._app.offered(found)

    async def recognize(self, user: str, email: str) -> Caller | None:
        subject = self._app.identity.subject_by_email(email) if self.by_email else None
        if subject and await self._store.subject(user) is None:
            await self._store.link(user, subject)
        return await self.linked(user)

    async def bound(self, channel: Short) -> str:
        tenant = await self._store.tenant_of(channel)
        if tenant in ("", PLATFORM):
            return tenant
        return tenant if channel in await self.channels_of(tenant) else ""

    async def channels_of(self, tenant: Short) -> Sequence[str]:
        """For none where its cluster is away."""
        if tenant == PLATFORM:
            return await self._store.channels_of(tenant)
        with suppress(ToolError):
            if uid := await self._uid(tenant):
                return await self._store.channels_of(tenant, uid)
        return []

    async def bind(self, user: User, channel: Short, tenant: Short) -> None:
        caller = await self.linked(user)
        must_be_operator(caller)
        uid = ""
        if tenant not in ("", PLATFORM):
            assert caller is not None
            await self._read(caller, "tenant_get", tenant=tenant)
            uid = await self._uid(tenant)
        await self._store.bind(channel, tenant, uid)

    async def call(self, id: str) -> CallRecord:
        found = await self._read(READER, "call_get", id=id)
        return CallRecord.model_validate(found["call"])

    async def waiting(self) -> Sequence[str]:
        found = await self._read(READER, "call_list", state="waiting", limit=MOST_WAITING)
        return [row["id"] for row in found["calls"]]

    async def alerts(self) -> Sequence[Incident]:
        since = (datetime.now(UTC) - ALERTS_LIVE).isoformat()
        kept = await self._app.alerts.list(None, "", MOST_ALERTS)
        return [one for one in kept if one.updated > since and await self._is_there(one)]

    async def check(self) -> None:
        """Raises `ToolError` where nobody runs Slack."""
        if not self.followed:
            raise ToolError(
                Code.UNAVAILABLE,
                "No `pilothouse slack` is connected.",
                "Start it; docs/chatops.md says how.",
            )

    def listen(self) -> Watch:
        """To what there is to show anew."""
        return Watch(self._app.events, ("call", ALERT))

    async def watch(self) -> AsyncIterator[Change]:
        watch = self.listen()
        with suppress(Dropped):
            yield None
            while True:
                for event in await watch.more(FOLLOW_S):
                    if change := await self.change(event):
                        yield change

    async def change(self, event: Event) -> Change:
        """What an event is to those who show it; None for what is not there any more."""
        if event.kind == "call":
            return str(event.data["id"])
        incident = await self._app.alerts.get(event.data["id"])
        return incident if incident and await self._is_there(incident) else None

    async def shows(self, id: str) -> bool:
        """May a call be told of to any of them?"""
        call = await self._app.local_gate.records.find(id)
        if call is None:
            return False
        return await self.told(call.tenant, call.tenant_uid, call.caller.person)

    async def told(self, tenant: str, uid: str, person: str) -> bool:
        """Is there a channel, or somebody in chat, who may be told of this?"""
        if await self._store.channels_of(PLATFORM) or await self._store.users(person):
            return True
        of_now = tenant and uid == await self._uid(tenant)
        return bool(of_now and await self.channels_of(tenant))

    async def _is_there(self, incident: Incident) -> bool:
        """Whoever has a tenant's name later is not told of it."""
        return not incident.tenant or await self._uid(incident.tenant) == incident.tenant_uid

    async def _uid(self, tenant: str) -> str:
        found = await self._app.local_gate.tenants.find(tenant)
        return found.uid if found else ""

    async def _read(self, caller: Caller, tool: str, **arguments: Any) -> dict[str, Any]:
        outcome = await self.gate.call(caller, tool, arguments)
        if outcome.error:
            raise ToolError(outcome.error.code, outcome.error.message, outcome.error.hint)
        return outcome.answer or {}


class AlertTeller:
    """Tells of alerts as they come, beside the calls. It is `chatops.alerts.Board`."""

    def __init__(self, events: Hub) -> None:
        self._events = events

    async def show(self, incident: Incident) -> None:
        about = {"tenant": incident.tenant, "tenant_uid": incident.tenant_uid}
        self._events.publish(ALERT, {"id": incident.id}, **about)


@asynccontextmanager
async def slack_of(app: "App") -> AsyncIterator["Slack | None"]:
    """Slack, where it is to run in here; connected in the background."""
    if not app.settings.slack.inside:
        if app.settings.slack.apart:
            app.health.extras["slack"] = app.chat.check
        yield None
        return
    from chatops.slack.connecting import opened

    async with opened(config_of(app.settings.slack), app.chat) as slack:
        app.health.extras["slack"] = slack.check
        yield slack


def config_of(slack: SlackConfig) -> "Config":
    from chatops.slack.app import Config

    return Config(
        bot_token=slack.bot_token.get_secret_value(),
        signing_secret=slack.signing_secret.get_secret_value(),
        app_token=slack.app_token.get_secret_value(),
        command=slack.command,
        url=slack.api,
    )
