"""Confirmation through the client: asking its user, in either era, and going on from the answer.

It is a courtesy and never an approval. What is asked about is one parked call with one digest; the
gate lets a call be confirmed once, so an answer that is sent again finds out what became of it.
"""

import json
from typing import Any

import anyio
from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)

from server.doors.mcp_text import cut, plan_text
from tools.calls import Caller, Gate, Outcome, Progress, State
from tools.errors import Code

ASK_S = 900.0  # how long the user of an earlier client is waited for
QUESTION = "confirm"
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {QUESTION: {"type": "boolean", "title": "Carry this out", "default": False}},
    "required": [QUESTION],
}
# The first version whose requests carry their own questions and answers.
IN_BAND = "2026-07-28"
DECLINED = "The user did not confirm it in their client, so it still waits."


def can_ask(ctx: ServerRequestContext[Any, Any]) -> bool:
    capabilities = ctx.session.client_capabilities
    asked = capabilities.elicitation if capabilities else None
    if asked is None or (asked.form is None and asked.url is not None):
        return False
    return ctx.protocol_version >= IN_BAND or ctx.session.can_send_request


def question(outcome: Outcome) -> ElicitRequestFormParams:
    why = f"\n\nWhy you are asked: {outcome.why}" if outcome.why else ""
    return ElicitRequestFormParams(message=cut(f"{plan_text(outcome)}{why}"), requested_schema=FORM)


def ask_in_band(outcome: Outcome) -> InputRequiredResult:
    """The question as the answer to the call; the client sends the call again with the answer."""
    return InputRequiredResult(
        input_requests={QUESTION: ElicitRequest(params=question(outcome))},
        request_state=json.dumps({"call": outcome.call_id, "digest": outcome.digest}),
    )


async def ask_now(ctx: ServerRequestContext[Any, Any], outcome: Outcome) -> bool | None:
    """Ask in the middle of the call. None where nobody could be asked."""
    form = question(outcome)
    with anyio.move_on_after(ASK_S):
        try:
            return accepted(
                await ctx.session.elicit_form(form.message, FORM, related_request_id=ctx.request_id)
            )
        except MCPError:
            return None
    return False


def accepted(answer: Any) -> bool:
    return (
        isinstance(answer, ElicitResult)
        and answer.action == "accept"
        and (answer.content or {}).get(QUESTION) is True
    )


async def go_on(
    gate: Gate, caller: Caller, call_id: str, digest: str, yes: bool, progress: Progress | None
) -> Outcome:
    """Confirm the parked call, or leave it parked; either way, what has become of it."""
    if not yes:
        outcome = await became(gate, caller, call_id)
        if outcome.state is State.AWAITING_CONFIRMATION:
            return outcome.model_copy(update={"why": f"{DECLINED} {outcome.why}".strip()})
        return outcome
    elicited = caller.model_copy(update={"door": "mcp-elicitation"})
    outcome = await gate.call(
        elicited, "call_confirm", {"id": call_id, "digest": digest}, progress=progress
    )
    if outcome.error and outcome.error.code is Code.FAILED_PRECONDITION:
        now = await became(gate, caller, call_id)  # it was confirmed, or decided, before
        return now if now.call_id == call_id and not now.state.waiting else outcome
    return outcome


async def became(gate: Gate, caller: Caller, call_id: str) -> Outcome:
    """The call as it is now."""
    shown = await gate.call(caller, "call_get", {"id": call_id})
    found = (shown.answer or {}).get("call", {}).get("outcome")
    return Outcome.model_validate(found) if found else shown
