"""Who somebody is, and what a channel is about: what is said to Slack's own door, and no tool."""

from collections.abc import Awaitable, Callable

from chatops import messages
from chatops.blocks import code as literal
from chatops.blocks import context, escape
from chatops.house import must_be_operator
from chatops.messages import Message
from chatops.slack.desk import unknown_user
from chatops.slack.places import Place
from chatops.store import PLATFORM
from tools.errors import Code, ToolError


async def _login(place: Place, rest: str) -> Message:
    info = await place.desk.client.users_info(user=place.user)
    user = info.get("user") or {}
    if user.get("is_stranger") or user.get("team_id", place.desk.team) != place.desk.team:
        raise ToolError(
            Code.PERMISSION_DENIED,
            "Only members of this workspace can be known here.",
            "Ask from your own Pilothouse.",
        )
    called = f"{user.get('real_name') or user.get('name', '')} ({place.user})"
    code = await place.desk.house.login(place.desk.known_as(place.user), called[:200])
    return messages.said(
        "To tell me who you are, run this as yourself within ten minutes (it works once):",
        literal(f"pilothouse slack link {code}"),
        context("Tell nobody: whoever runs it makes you them in Pilothouse's eyes."),
        about=None,
    )


async def _logout(place: Place, rest: str) -> Message:
    await place.desk.house.logout(place.desk.known_as(place.user))
    return messages.said("I do not know you any more.", about=None)


async def _whoami(place: Place, rest: str) -> Message:
    caller = await place.desk.caller(place.user)
    if caller is None:
        raise unknown_user(place.desk.command)
    roles = [f"{grant.role.value} in {tenant}" for tenant, grant in caller.grants.items()]
    rights = "operator" if caller.operator else ", ".join(roles) or "no rights"
    return messages.said(f"You are *{escape(caller.subject)}*: {rights}.", about=None)


async def _bind(place: Place, rest: str) -> Message:
    """An operator says what a channel is about: a tenant, or `platform`."""
    must_be_operator(await place.desk.caller(place.user))
    if place.own or place.channel.startswith("D"):
        raise ToolError(
            Code.INVALID_ARGUMENT, "This is a direct message.", "Say it in the channel."
        )
    if not rest:
        where = place.bound or "nothing"
        return messages.said(f"This channel is bound to {where}. `bind acme`, `bind platform`.")
    tenant = PLATFORM if rest in ("platform", PLATFORM) else rest
    await place.desk.house.bind(place.desk.known_as(place.user), place.channel, tenant)
    what = "the platform: all may be told here" if tenant == PLATFORM else f"tenant {tenant}"
    return messages.said(f"This channel is bound to {escape(what)}.")


async def _unbind(place: Place, rest: str) -> Message:
    await place.desk.house.bind(place.desk.known_as(place.user), place.channel, "")
    return messages.said("This channel is bound to nothing: answers go to whoever asks.")


BUILT_IN: dict[str, Callable[[Place, str], Awaitable[Message]]] = {
    "login": _login,
    "logout": _logout,
    "whoami": _whoami,
    "bind": _bind,
    "unbind": _unbind,
}
