"""The plan that takes a call back, and what is said before of what it cannot bring back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from server.carrier import Reach, stale
from server.executor.ledger import Step
from server.records import Call
from tools.calls import State
from tools.errors import Code, ToolError
from tools.looking import Cluster
from tools.placing import inside, told
from tools.plan import HOLDERS, Change, DropPrefix, Plan, Undo
from tools.provisioning import NAMESPACE, is_tenant, spec_of
from tools.tenant_state import must_not_be_protected


async def undo_plan(call: Call, steps: Mapping[str, Step], reach: Reach) -> Plan:
    """`steps` say how the call left what it changed. Raises `ToolError` where there is nothing to
    undo, or somebody has changed it since."""
    if call.state is not State.SUCCEEDED or call.plan is None:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Call {call.id} is {call.state.value}: there is nothing to undo.",
            "Only what succeeded can be undone, once.",
        )
    await _must_be_as_left(call.id, call.plan, steps, reach)
    lost = [c for c in call.plan.changes if c.undoable is Undo.NONE]
    kept = call.plan.only({c.id for c in call.plan.changes} - _tied(call.plan, lost))
    changes = kept.inverse()
    if not changes:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Nothing of call {call.id} can be brought back"
            + (f": {', '.join(str(c.ref) for c in lost[:5])} is gone for good." if lost else "."),
            "What it removed has to be made anew.",
        )
    notes = [f"{c.ref} cannot be brought back" for c in lost]
    notes += [note for change in changes for note in await _goes_along(change, reach)]
    notes += [
        f"{c.ref} is made anew: its uid and status are new"
        for c in kept.changes
        if c.undoable is Undo.RECREATES
    ]
    return Plan.of(f"undo of {call.id}: {call.plan.summary}", changes, notes=tuple(notes))


async def _must_be_as_left(id: str, plan: Plan, steps: Mapping[str, Step], reach: Reach) -> None:
    left = tuple(
        c.model_copy(update={"seen": steps[c.id].seen if c.id in steps else c.seen})
        for c in plan.changes
    )
    if moved := await stale(plan.model_copy(update={"changes": left}), reach.looks):
        which = "; ".join(str(change.ref) for change, _ in moved[:5])
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Changed by somebody since call {id} was carried out: {which}.",
            "Undo gives back what was there before only where nothing came after. "
            "Make the change that you want instead.",
        )


def _tied(plan: Plan, lost: Sequence[Change]) -> set[str]:
    """The changes that were made for a lost one, or because of it: a deleted tenant's role alone
    would be an orphan, and what a tenant moved into is all that is left of it."""
    tied = {c.id for c in lost}
    while more := set(_beside(plan, tied)) - tied:
        tied |= more
    return tied


def _beside(plan: Plan, ids: set[str]) -> Iterator[str]:
    for change in plan.changes:
        if change.id in ids:
            yield from change.needs
        elif ids.intersection(change.needs):
            yield change.id


async def _goes_along(change: Change, reach: Reach) -> list[str]:
    """What there is by now in what is about to be removed."""
    backend: Any = reach.looks(change.ref)
    if isinstance(change, DropPrefix):
        objects, size = await backend.prefix_usage(change.ref)
        stays = f"{objects} objects ({size:,} bytes) stay at s3://{change.ref.name}"
        return [stays] if objects else []
    if change.after is not None or change.ref.kind not in HOLDERS:
        return []
    notes = [f"All that is in {change.ref} by now goes with it"]
    if change.ref.kind == NAMESPACE:
        cluster = cast(Cluster, backend)
        namespace = await cluster.find(change.ref)
        if namespace and is_tenant(namespace):
            must_not_be_protected(spec_of(namespace, cluster.name))
        if counts := await inside(cluster, change.ref.name):
            notes = [f"{notes[0]}: {told(counts)}"]
    return notes
