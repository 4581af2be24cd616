"""Slack from the command line: the app to install there, and saying who one is."""

from typing import Any

from server.commands.running import FAILED, caller, connected, must_have
from server.commands.show import err, out


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
