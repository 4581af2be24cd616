"""What a form asks for: a call of a tool through the gate, or several decisions at once."""

import asyncio
import shlex
from contextlib import suppress
from typing import Any

from server.doors.web.visits import Visit
from tools.calls import Outcome, Problem
from tools.errors import Code
from tools.tool import Effect, Tool, catalog

# Longer than that, and the call's own page shows how it goes on.
SHOWN_S = 1.5
DECIDES = ("call_approve", "call_confirm", "call_reject", "call_retry")
# Whose answer takes as long as it takes is not waited for here, but it goes on.
_going_on: set[asyncio.Task[Outcome]] = set()


async def act(visit: Visit) -> tuple[str | None, str]:
    """Where to go on, and what is to be said there; None where the form's page shows what came."""
    form = visit.form
    name = form.one("tool")
    tool = catalog().get(name)
    if tool is None:
        visit.refused = Problem(
            code=Code.NOT_FOUND, message=f"There is no tool {name[:64]!r}.", hint="Load it again."
        )
        return None, ""
    if form.every("call"):
        return await _several(visit, tool)
    arguments = _arguments(tool, form.arguments())
    preview = bool(form.one("preview")) and tool.effect is Effect.WRITE
    outcome = await _called(visit, tool, arguments, preview)
    if outcome is None:
        return f"/calls/{arguments['id']}", ""
    if outcome.error and not outcome.call_id:
        if tool.name in DECIDES and await _did_so(visit, arguments["id"]):
            return f"/calls/{arguments['id']}", ""
        visit.refused = outcome.error
        return None, ""
    if preview:
        visit.previewed = outcome
        return None, ""
    if outcome.call_id:
        return f"/calls/{outcome.call_id}", ""
    return form.one("then") or visit.request.url.path, _said(tool, outcome.answer or {})


async def _called(
    visit: Visit, tool: Tool, arguments: dict[str, Any], preview: bool = False
) -> Outcome | None:
    """None for a decision whose call still runs."""
    key = visit.form.one("key") if tool.effect is Effect.WRITE else None
    task = asyncio.create_task(
        visit.web.gate.call(
            visit.caller, tool.name, arguments, key=key, preview=preview, wait_s=SHOWN_S
        )
    )
    _going_on.add(task)
    task.add_done_callback(_going_on.discard)
    waits = SHOWN_S if tool.name in DECIDES and "id" in arguments else None
    await asyncio.wait({task}, timeout=waits)
    return task.result() if task.done() else None


async def _several(visit: Visit, tool: Tool) -> tuple[str | None, str]:
    """Approve or reject each that was ticked, `id.digest`, as it was shown."""
    said = []
    done = 0
    for ticked in visit.form.every("call"):
        id, _, digest = ticked.partition(".")
        given = visit.form.arguments() | {"id": id, "digest": digest}
        outcome = await _called(visit, tool, _arguments(tool, given))
        if outcome and outcome.error and not outcome.call_id:
            said.append(f"{id}: {outcome.error.message}")
        else:
            done += 1
    verb = "rejected" if tool.name == "call_reject" else "approved"
    return visit.request.url.path, " ".join([f"{done} {verb}.", *said])


async def _did_so(visit: Visit, id: str) -> bool:
    """A button pressed twice: it was this very person who decided, a moment ago."""
    found = await visit.find("call_get", id=id)
    return bool(found.answer.get("call", {}).get("decided_by") == visit.caller.subject)


def _arguments(tool: Tool, given: dict[str, str]) -> dict[str, Any]:
    """What the tool takes of a form that may have buttons for several tools."""
    fields = tool.arguments.model_fields
    arguments: dict[str, Any] = {n: v for n, v in given.items() if n in fields}
    if "command" in arguments:
        with suppress(ValueError):  # the tool says that it is no list
            arguments["command"] = shlex.split(given["command"])
    return arguments


def _said(tool: Tool, answer: dict[str, Any]) -> str:
    if tool.name == "recommendation_analyze":
        new = answer.get("opened", 0) + answer.get("replaced", 0)
        return f"Looked at {answer.get('workloads', 0)} workloads: {new} new recommendations."
    return {
        "recommendation_reject": "Turned down. It stays away until the evidence has changed.",
        "recommendation_snooze": "Put off. It comes back if it still holds then.",
        "calls_freeze": "Frozen: nothing is carried out until you resume.",
        "calls_resume": "Carrying out goes on.",
    }.get(tool.name, f"{tool.title}: done.")
