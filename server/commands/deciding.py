"""Calls that wait: shown and decided about; and all carrying out, frozen and resumed."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.prompt import Confirm

from server.commands.calling import Telling, show
from server.commands.running import FAILED, caller, connected, given_token, must_have
from server.commands.show import err, show_answer, show_change, show_json, show_rows
from tools.calls import Gate
from tools.errors import Code, ToolError
from tools.plan import Preview


async def calls(id: str | None, filters: Mapping[str, Any], json: bool, **where: Any) -> int:
    async with connected(strict=False, **where) as gate:
        if id:
            record = await _record(gate, id)
            (show_json if json else _show_record)(record)
            return 0
        answer = must_have(await gate.call(caller(), "call_list", filters))
    if not json and answer.get("frozen"):
        err.print(f"Frozen, nothing is carried out until `pilothouse resume`. {answer['frozen']}")
    if json:
        show_json(answer)
    elif answer.get("calls"):
        show_rows([{n: v for n, v in row.items() if n != "may"} for row in answer["calls"]])
        if answer.get("next"):
            err.print(f"There are more: --next {answer['next']}", style="dim")
    else:
        err.print("No calls.", style="dim")
    return 0


async def decide(tool: str, id: str, reason: str, yes: bool, json: bool, **where: Any) -> int:
    """Approve, confirm or reject what was shown, and nothing else: by its digest."""
    must_be_person(where["token"])
    async with connected(strict=False, **where) as gate:
        record = await _record(gate, id)
        if sys.stdin.isatty() and not yes and not json:
            _show_record(record)
            verb = tool.removeprefix("call_").capitalize()
            if not Confirm.ask(f"{verb} it?", console=err, default=False):
                return FAILED
        arguments = {"id": record["id"]}
        if tool != "call_reject":
            arguments["digest"] = record["outcome"].get("digest", "")
        if reason:
            arguments["reason"] = reason
        with Telling() as progress:
            decided = await gate.call(caller(), tool, arguments, progress=progress)
    return show(decided, json)


async def plainly(tool: str, arguments: Mapping[str, Any], said: str, **where: Any) -> int:
    """A decision that has no diff."""
    must_be_person(where["token"])
    async with connected(strict=False, **where) as gate:
        outcome = await gate.call(caller(), tool, arguments)
    if outcome.error or outcome.call_id:
        return show(outcome, False)
    err.print(said)
    return 0


def must_be_person(token: str | None) -> None:
    """Raises `ToolError` where there is no token: whoever is logged in here decides nothing."""
    if not given_token(token):
        raise ToolError(
            Code.UNAUTHENTICATED,
            "Deciding takes a person's token.",
            "Set PILOTHOUSE_TOKEN or give --token. The first one is made with "
            "`pilothouse token create --subject NAME --operator`.",
        )


async def _record(gate: Gate, id: str) -> dict[str, Any]:
    record: dict[str, Any] = must_have(await gate.call(caller(), "call_get", {"id": id}))["call"]
    return record


def _show_record(record: Mapping[str, Any]) -> None:
    rest, outcome = dict(record), dict(record["outcome"])
    del rest["outcome"]
    changes = [Preview.model_validate(c) for c in outcome.pop("changes", [])]
    problem = outcome.pop("error", None)
    show_answer({"call": rest.pop("id"), "state": outcome.pop("state", ""), **rest})
    show_answer({k: v for k, v in outcome.items() if k not in ("tool", "call_id")})
    for change in changes:
        show_change(change)
    if problem:
        show_answer({"error": problem})
