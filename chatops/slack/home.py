"""The Home tab: what waits, what is recommended, and what ran, as the one who opens it may see."""

from typing import Any

from chatops.blocks import Block, actions, button, context, divider, escape, fit, header, section
from chatops.slack.desk import Desk
from tools.calls import Caller, State
from tools.errors import ToolError

ROWS = 8
STATES = {s.value for s in State if s.ended}


async def publish(desk: Desk, user: str) -> None:
    caller = await desk.caller(user)
    blocks = await _blocks(desk, caller) if caller else _stranger(desk)
    view = {"type": "home", "blocks": fit(blocks, 100)}
    await desk.client.views_publish(user_id=user, view=view)


def _stranger(desk: Desk) -> list[Block]:
    return [
        header("Pilothouse"),
        section(f"I do not know who you are yet. Say `{desk.command} login`; it takes a minute."),
        actions(button("Log in", "say:login", {"text": "login"}, "primary")),
    ]


async def _blocks(desk: Desk, caller: Caller) -> list[Block]:
    waiting = (await desk.read(caller, "call_list", state="waiting", limit=50))["calls"]
    ran = (await desk.read(caller, "call_list", limit=30))["calls"]
    blocks = [header("Waits for a decision")]
    blocks += [_call(row) for row in waiting[:ROWS]] or [context("Nothing waits.")]
    blocks += [divider(), header("Recommended"), *await _advice(desk, caller)]
    ended = [row for row in ran if row["state"] in STATES][:ROWS]
    blocks += [divider(), header("Ran lately")]
    blocks += [_call(row) for row in ended] or [context("Nothing ran yet.")]
    help = button("What can be said?", "say:help", {"text": "help"})
    return [*blocks, divider(), actions(help), context(f"You are {escape(caller.subject)}.")]


def _call(row: dict[str, Any]) -> Block:
    show = button("Show", f"say:{row['id']}", {"text": f"call get {row['id']}"})
    about = f"`{row['id']}` · {row['state'].replace('_', ' ')} · asked for by {row['requester']}"
    return section(f"{escape(row['summary'] or row['tool'])}\n{escape(about)}", show)


async def _advice(desk: Desk, caller: Caller) -> list[Block]:
    try:
        found = await desk.read(caller, "recommendation_list", limit=ROWS)
    except ToolError as error:
        return [context(escape(str(error)))]
    rows = [
        section(
            f"{escape(row['title'])}\n`{row['id']}` · {escape(row['workload'])} in "
            f"*{escape(row['tenant'])}*",
            button("Why?", f"say:{row['id']}", {"text": f"why {row['id']}"}),
        )
        for row in found["recommendations"]
    ]
    return rows or [context("Nothing is recommended.")]
