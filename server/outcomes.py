"""What the gate's answers are made of: why something waits, how it failed, and nothing secret."""

from server.admission import Asked
from server.masking import mask, spotless
from tools.calls import Caller, Outcome, Problem, State
from tools.errors import Code, ToolError
from tools.plan import Plan, Preview, Undo

BROKE_DOWN = ToolError(Code.INTERNAL, "The tool broke down.", "The server's log says why.")


def for_nobody(caller: Caller) -> bool:
    """An agent of the house, for which nobody can confirm anything."""
    return caller.agent and caller.door == "internal"


def why(asked: Asked, plan: Plan, alone: bool) -> str:
    """Why a call waits; `alone` where the person whose agent asked may let it go ahead."""
    caller = asked.caller
    if alone:
        return f"An agent asked for it: {caller.person} confirms what it changes."
    if for_nobody(caller):
        return f"Nobody asked for it: {caller.subject} thinks that it is needed."
    if asked.tool.scope == "platform":
        return f"It changes the platform, so somebody other than {caller.person} approves it."
    what = {
        Undo.NONE: "It cannot be undone",
        Undo.RECREATES: "It deletes, and an undo only makes it anew",
        Undo.EXACT: "It is destructive",
    }[plan.undo]
    return f"{what}, so somebody other than {caller.person} approves it."


def failure(tool: str, asked: Asked | None, error: ToolError) -> Outcome:
    """A call that came to nothing; `asked` is None where it was not let in."""
    refused = error.code in (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED) or (
        asked is None and error.code is Code.NOT_FOUND
    )
    state = State.DENIED if refused else State.FAILED
    name = tool[:64].encode(errors="replace").decode()  # half a surrogate pair is no text
    return masked(Outcome(state=state, tool=name, error=Problem.of(error)))


def masked(outcome: Outcome) -> Outcome:
    """The outcome as it may leave the process."""
    if spotless(outcome.model_dump_json()):
        return outcome
    # Most of many changes have nothing to hide, and looking is many times quicker than masking.
    rest = Outcome.model_validate(mask(outcome.model_dump(mode="json", exclude={"changes"})))
    return rest.model_copy(update={"changes": [_masked(change) for change in outcome.changes]})


def _masked(change: Preview) -> Preview:
    if spotless(change.model_dump_json()):
        return change
    return Preview.model_validate(mask(change.model_dump(mode="json")))
