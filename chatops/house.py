"""What chatops is handed by whoever starts it: all that it knows of the rest of Pilothouse."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from chatops.conversation import Conversations
from chatops.store import Store
from tools.calls import Caller, Gate

# The ids of calls as they come to wait or to an end. Whoever hears of one reads the call itself.
Watch = Callable[[], AsyncIterator[str]]


@dataclass(frozen=True)
class House:
    """`person` gives somebody the rights that they have now, or None; `tenant_uid` the uid of the
    tenant that has a name now; `subject_by_email` is whom the identity provider knows by a
    verified address."""

    gate: Gate
    store: Store
    person: Callable[[str], Awaitable[Caller | None]]
    watch: Watch
    tenant_uid: Callable[[str], Awaitable[str | None]]
    subject_by_email: Callable[[str], Awaitable[str | None]] | None = None
    conversations: Conversations | None = None
