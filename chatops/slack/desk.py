"""What every part of the Slack door needs, and who somebody there is."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from chatops.house import House
from chatops.slack.jobs import Jobs, Once
from chatops.store import PLATFORM
from tools.calls import Caller, Outcome
from tools.errors import Code, ToolError
from tools.holdings import CallRecord

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient
    from slack_sdk.webhook.async_client import AsyncWebhookClient

log = structlog.get_logger(__name__)

RETRIED_S = 3600.0  # longer than Slack sends an event again


@dataclass
class Desk:
    """`me` is who Slack says we are; `command` is what we are called;
    `refresh` brings the cards of a call up to date; `talks` are the conversations in which a turn
    is under way, by who asked, in which channel and thread."""

    house: House
    client: "AsyncWebClient"
    command: str = "/pilot"
    me: dict[str, Any] = field(default_factory=dict)
    jobs: Jobs = field(default_factory=Jobs)
    once: Once = field(default_factory=lambda: Once(RETRIED_S))
    refresh: Callable[[str], Coroutine[Any, Any, None]] | None = None
    talks: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def team(self) -> str:
        """This workspace."""
        return str(self.me["team_id"])

    @property
    def bot(self) -> str:
        """Our user in it."""
        return str(self.me["user_id"])

    def known_as(self, user: str) -> str:
        """One of this workspace, as the house knows them."""
        return f"{self.team}/{user}"

    async def bound(self, channel: str) -> str:
        """What a channel is about; nothing, too, where that cannot be found out."""
        try:
            return await self.house.bound(channel)
        except ToolError as error:
            log.warning("slack: what a channel is about is not known", why=str(error))
            return ""

    async def users(self, person: str) -> Sequence[str]:
        """Who somebody is in this workspace."""
        found = [user.partition("/") for user in await self.house.users(person)]
        return [user for team, _, user in found if team == self.team]

    def at(self, url: str) -> "AsyncWebhookClient":
        """Answers at the address that Slack sent along with a command or a press."""
        from slack_sdk.webhook.async_client import AsyncWebhookClient

        client = self.client
        return AsyncWebhookClient(url, session=client.session, retry_handlers=client.retry_handlers)

    async def caller(self, user: str) -> Caller | None:
        """Who a Slack user is here, with the rights of now; None for nobody that is known. What
        they may do in Slack counts for nothing."""
        who = self.known_as(user)
        found = await self.house.person(who)
        if found is None and self.house.by_email and (email := await self._email(user)):
            return await self.house.recognize(who, email)
        return found

    async def _email(self, user: str) -> str:
        """Their address in this workspace, where it is confirmed; else nothing."""
        info = await self.client.users_info(user=user)
        found: dict[str, Any] = info.get("user") or {}
        foreign = found.get("team_id") != self.team or found.get("is_stranger")
        if foreign or found.get("deleted") or not found.get("is_email_confirmed"):
            return ""
        return str(found.get("profile", {}).get("email", ""))

    async def read(self, caller: Caller, tool: str, **arguments: Any) -> dict[str, Any]:
        """The answer of a read. Raises `ToolError`."""
        return answered(await self.house.gate.call(caller, tool, arguments))

    async def record(self, caller: Caller, id: str) -> CallRecord:
        """A call as this caller may see it. Raises `ToolError`."""
        found = await self.read(caller, "call_get", id=id)
        return CallRecord.model_validate(found["call"])


async def places_for(desk: Desk, tenant: str) -> list[str]:
    """The channels in which a call of this tenant (or of the platform) waits for approval."""
    own = await desk.house.channels_of(tenant) if tenant else []
    return list(own or await desk.house.channels_of(PLATFORM))


def answered(outcome: Outcome) -> dict[str, Any]:
    if outcome.error:
        raise ToolError(outcome.error.code, outcome.error.message, outcome.error.hint)
    return outcome.answer or {}


def unknown_user(command: str) -> ToolError:
    return ToolError(
        Code.UNAUTHENTICATED,
        "I do not know who you are in Pilothouse, so there is nothing that I may tell you.",
        f"Say `{command} login`; it takes a minute.",
    )
