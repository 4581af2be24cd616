"""Asking the agent: a conversation as a page. A form is enough for it; with a script each tool call
is shown as it runs (static/ask.js)."""

from typing import Any

from chatops.findings import heading, lines
from server.doors.web.acting import act
from server.doors.web.visits import Visit
from tools.alerts import Finding
from tools.calls import Problem
from tools.errors import Code, ToolError

RECENT = 5


async def view(visit: Visit) -> dict[str, Any]:
    talks = _conversations(visit)
    id = visit.request.path_params.get("id", "")
    alerts = await visit.find("alert_list", limit=RECENT)
    return {
        "conversation": id,
        "turns": await talks.turns(visit.caller, id) if id else [],
        "missing": talks.ready,
        "alerts": [_with_lines(incident) for incident in alerts.answer.get("incidents", ())],
    }


async def say(visit: Visit) -> tuple[str | None, str]:
    """What a form of this page asks for: an answer, which is waited for, or a call."""
    if visit.form.one("tool"):
        return await act(visit)
    events = _conversations(visit).ask(
        visit.caller,
        visit.form.one("message"),
        conversation=visit.request.path_params.get("id", ""),
    )
    try:
        begun = await anext(events)
        async for _ in events:
            pass
    except ToolError as error:
        visit.refused = Problem.of(error)
        return None, ""
    return f"/ask/{begun.conversation}#end", ""


def _with_lines(incident: dict[str, Any]) -> dict[str, Any]:
    found = [Finding.model_validate(one) for one in incident.get("found", ())]
    return incident | {"found": [(heading(one), lines(one)) for one in found]}


def _conversations(visit: Visit) -> Any:
    if visit.web.conversations is None:
        raise ToolError(Code.NOT_FOUND, "There is no agent here.", "Go by the other pages.")
    return visit.web.conversations
