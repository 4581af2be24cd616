"""What the door is handed, and who calls."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from chatops.conversation import Conversations
from server.events import Hub
from tools.calls import AGENT_DOORS, Caller, Gate
from tools.errors import Code, ToolError

if TYPE_CHECKING:
    from server.identity.signing_in import SignIn

JSON = "application/json"
# Who calls, by token, door and tool: None where that is nobody.
Who = Callable[[str, str, str], Awaitable[Caller | None]]


@dataclass
class Inside:
    """What the door is handed: the gate, and how to ask after the process it stands in.

    `ready` gives, for each backend, `ok`, `ms` and perhaps `error`. `local` has what only a
    socket of this user's is told (and does). `origins` are those whose pages may read answers.
    `signed_in` gives the caller of a browser with a session on the page, or None.
    `sign_in` lets people sign in who have no identity provider. `spoken_for` says, at chat's own
    door, in whose name somebody else's token speaks; nobody comes in there otherwise.
    """

    gate: Gate
    who: Who
    ready: Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]]
    metrics: Callable[[], Awaitable[bytes]]
    version: str
    most_body: int = 1 << 20
    local: "Local | None" = None
    origins: Sequence[str] = ()
    signed_in: Callable[[HTTPConnection], Awaitable[Caller | None]] | None = None
    conversations: Conversations | None = None
    events: Hub | None = None
    sign_in: "SignIn | None" = None
    spoken_for: Callable[[HTTPConnection], Awaitable[Caller]] | None = None


@dataclass
class Local:
    """For the other processes of the same user: who holds the state, and to ask for it."""

    about: Callable[[], dict[str, Any]]
    hand_over: Callable[[], Awaitable[bool]]
    backup: Callable[[], Awaitable[Path]]
    rotate_key: Callable[[], Awaitable[int]]


def token_of(request: HTTPConnection) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def caller_of(inside: Inside, request: HTTPConnection, tool: str = "") -> Caller:
    if inside.spoken_for:
        return _narrowed(await inside.spoken_for(request), request)
    token = token_of(request)
    if not token and inside.signed_in and (person := await inside.signed_in(request)):
        return _narrowed(person, request)
    door = request.headers.get("x-pilothouse-door", "rest")
    if not inside.local:
        # From afar a door is believed only where it makes the caller less.
        door = next((d for d in AGENT_DOORS if door.startswith(d)), "rest")
    caller = await inside.who(token, door, tool)
    if caller is None:
        raise unknown_caller(token)
    return _narrowed(caller, request)


def unknown_caller(token: str) -> ToolError:
    said = "This token lets nobody in: it is unknown, expired or revoked."
    return ToolError(
        Code.UNAUTHENTICATED,
        said if token else "A token is needed.",
        "An operator makes one with `pilothouse token create`. Set it as PILOTHOUSE_TOKEN, or "
        "send `Authorization: Bearer ph_…`.",
    )


def _narrowed(caller: Caller, request: HTTPConnection) -> Caller:
    """A connection may ask for less than its token allows."""
    read_only = request.headers.get("x-pilothouse-read-only", "").lower() in ("1", "true", "yes")
    words = request.headers.get("x-pilothouse-toolsets")
    toolsets = frozenset(words.split(",")) if words is not None else None
    return narrow(caller, read_only, toolsets)


def narrow(caller: Caller, read_only: bool, toolsets: frozenset[str] | None) -> Caller:
    if not read_only and toolsets is None:
        return caller
    if toolsets is not None and caller.toolsets is not None:
        toolsets &= caller.toolsets
    return caller.model_copy(
        update={
            "read_only": caller.read_only or read_only,
            "toolsets": caller.toolsets if toolsets is None else toolsets,
        }
    )
