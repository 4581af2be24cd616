"""What chat is handed by whoever starts it: all that it knows of the rest of Pilothouse. A server's
own is one (`server/chat.py`), a client of a running server is another (`server/remote_chat.py`)."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypeAlias

from chatops.conversation import Conversations
from chatops.store import Card, Short, User
from tools.alerts import Incident
from tools.calls import Caller, Gate
from tools.errors import Code, ToolError
from tools.holdings import CallRecord

# What there is to show anew: the id of a call, or alerts. None once it is listened, from where on
# nothing is missed.
Change: TypeAlias = str | Incident | None


class House(Protocol):
    """Every method raises `ToolError`. Who somebody is, the house finds out by itself: it is told
    who they are in chat, and never whom to take them for."""

    @property
    def gate(self) -> Gate: ...

    @property
    def conversations(self) -> Conversations: ...

    @property
    def by_email(self) -> bool:
        """May somebody be known by their address?"""
        ...

    async def person(self, user: User) -> Caller | None:
        """Who they are here, with the rights of now; None for nobody that is known."""
        ...

    async def recognize(self, user: User, email: str) -> Caller | None:
        """The same for who is not linked yet, by an address that is known to be theirs."""
        ...

    async def login(self, user: User, called: Short) -> str:
        """A one-time code that ties them to whoever redeems it; `called` is what that one is
        shown."""
        ...

    async def logout(self, user: User) -> None: ...

    async def users(self, person: Short) -> Sequence[str]:
        """Who somebody is in chat."""
        ...

    async def bound(self, channel: Short) -> str:
        """The tenant that a channel is about, `*` for the platform, or nothing: also where the
        tenant is gone, and another has its name."""
        ...

    async def bind(self, user: User, channel: Short, tenant: Short) -> None:
        """As an operator says; to nothing, if no tenant is named."""
        ...

    async def channels_of(self, tenant: Short) -> Sequence[str]:
        """Those that are about the tenant that has this name now, or about `*`."""
        ...

    async def call(self, id: Short) -> CallRecord:
        """A call as its card shows it."""
        ...

    async def waiting(self) -> Sequence[str]:
        """The ids of the calls that wait for a decision."""
        ...

    async def alerts(self) -> Sequence[Incident]:
        """The latest."""
        ...

    def watch(self) -> AsyncIterator[Change]: ...

    async def cards(self, call_id: Short = "") -> Sequence[Card]:
        """The messages that show one call; or the latest of all."""
        ...

    async def keep_card(self, card: Card) -> None: ...

    async def showed(self, card: Card, shown: Short) -> None:
        """What a card shows now; nothing where it is gone."""
        ...


def must_be_operator(caller: Caller | None) -> None:
    """Raises `ToolError` for whoever may not say what a channel is about."""
    if caller is None or not caller.operator or caller.agent:
        raise ToolError(
            Code.PERMISSION_DENIED,
            "Only an operator of Pilothouse says what a channel is about.",
            "Ask one.",
        )
