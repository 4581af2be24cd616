"""Slack from the command line: by itself, the app to install there, and saying who one is."""

import asyncio
import os
from typing import TYPE_CHECKING, Any

from server.commands.running import DONE, FAILED, caller, connected, given_token, must_have
from server.commands.show import err, out
from tools.errors import Code, ToolError

if TYPE_CHECKING:
    import ssl

    from server.remote_chat import RemoteHouse
    from server.settings_slack import SlackConfig

LINGER_S = 0.3  # what was just asked is still acknowledged
HINT = "docs/chatops.md says how Slack is run by itself."


async def run(*, token: str | None, url: str | None, **options: Any) -> int:
    """Until it is stopped, or the server lets it in no more."""
    import structlog

    from chatops.slack.connecting import opened
    from server.chat import config_of
    from server.commands.serving import stop_signals
    from server.logs import set_up
    from server.remote_chat import RemoteHouse
    from server.seat import SOCKET
    from server.settings import load

    settings = load(**options)
    set_up(settings)
    _check(settings.slack, token := given_token(token))
    stop, log = stop_signals(), structlog.get_logger("pilothouse")
    where = url or os.environ.get("PILOTHOUSE_URL") or settings.state / SOCKET
    house = RemoteHouse(where, token, _tls(settings.slack))
    try:
        await _meet(house, where, log)
        async with opened(config_of(settings.slack), house) as slack:
            log.info("slack: runs by itself", server=str(where))
            waits = [asyncio.ensure_future(e.wait()) for e in (stop, house.gate.refused)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(LINGER_S)
            await slack.desk.jobs.stop()
    finally:
        await house.close()
    if stop.is_set():
        return DONE
    raise _refused()


def _check(slack: "SlackConfig", token: str) -> None:
    """Raises `ToolError`."""
    if not (slack.bot_token.get_secret_value() and slack.app_token.get_secret_value()):
        wrong = "By itself it connects to Slack: set slack.bot_token and slack.app_token."
    elif slack.by_email:
        wrong = "slack.by_email is for a server that runs Slack itself: leave it out."
    elif not token:
        wrong = "A token is needed: `pilothouse token create --slack`, then PILOTHOUSE_TOKEN."
    else:
        return
    raise ToolError(Code.FAILED_PRECONDITION, wrong, HINT)


def _tls(slack: "SlackConfig") -> "ssl.SSLContext | bool":
    """Raises `ToolError`."""
    if not (slack.server_ca or slack.client_cert):
        return True
    import ssl

    try:
        context = ssl.create_default_context(cafile=slack.server_ca or None)
        if slack.client_cert:
            context.load_cert_chain(slack.client_cert, slack.client_key or None)
    except OSError as error:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"The certificate, its key or the server's CA cannot be used: {error}.",
            "Check slack.client_cert, slack.client_key and slack.server_ca.",
        ) from None
    return context


async def _meet(house: "RemoteHouse", where: object, log: Any) -> None:
    """Is it let in? Raises `ToolError`, but not for a server that is not there yet."""
    try:
        await house.users("")
    except ToolError as error:
        if house.gate.refused.is_set():
            raise _refused() from None
        if error.code is not Code.UNAVAILABLE:
            raise
        log.warning("slack: the server does not answer yet; trying on", server=str(where))


def _refused() -> ToolError:
    return ToolError(
        Code.UNAUTHENTICATED,
        "The server does not take this token: it is none for Slack, or expired or revoked.",
        "An operator makes one with `pilothouse token create --slack`; set it as PILOTHOUSE_TOKEN.",
    )


def manifest(url: str, *, config: Any = None) -> int:
    import json

    from chatops.slack.manifest import manifest as made
    from server.settings import load

    slack = load(config).slack
    out.out(json.dumps(made(slack.command, url, emails=slack.by_email), indent=2), highlight=False)
    return 0


async def link(code: str, yes: bool, **where: Any) -> int:
    """Look whose code it is before becoming them known as us: it may have been sent by anybody."""
    import typer

    async with connected(strict=False, **where) as gate:
        whose = must_have(await gate.call(caller(), "chat_code", {"code": code}))
        question = f"Shall {whose['called']} be you in Slack, with all that you may?"
        if not yes and not typer.confirm(question):
            err.print("Nothing was changed.")
            return FAILED
        must_have(await gate.call(caller(), "chat_link", {"code": code}))
    err.print(f"{whose['called']} is you in Slack from now on.")
    return 0
