"""A plan made ready to be shown: looked at, freed of what is already so, and tried out dry."""

import asyncio
from collections.abc import Callable

from tools.errors import Code, ToolError
from tools.looking import Looks
from tools.plan import Change, Plan, Preview, Ref, canonical, in_order

SIDE_BY_SIDE = 16
MOST_CHANGES = 500


async def previewed(plan: Plan, looks: Callable[[Ref], Looks]) -> tuple[Plan, list[Preview]]:
    """The plan with what each change finds there, without changes that would change nothing, and a
    preview of each one that is left.

    Raises `ToolError` with a backend's own words where it would refuse a change.
    """
    if len(plan.changes) > MOST_CHANGES:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"That would be {len(plan.changes)} changes at once; {MOST_CHANGES} are allowed.",
            "Ask for less at a time.",
        )
    in_order(plan.changes)
    slots = asyncio.Semaphore(SIDE_BY_SIDE)

    async def observed(change: Change) -> Change | None:
        async with slots:
            look = looks(change.ref)
            seen = change.seen or await look.observe(change)
            there = seen.value is not None or change.after is None
            same = there and canonical(seen.value) == canonical(look.intended(change))
            return None if same else change.model_copy(update={"seen": seen})

    found = await asyncio.gather(*(observed(c) for c in plan.changes))
    left = {c.id: c for c in found if c is not None}
    kept = plan.only(left.keys())
    plan = kept.model_copy(
        update={"changes": tuple(left[c.id].model_copy(update={"needs": c.needs})
                                 for c in kept.changes)}
    )  # fmt: skip

    async def preview(change: Change) -> Preview:
        async with slots:
            return await looks(change.ref).preview(change, plan)

    return plan, list(await asyncio.gather(*(preview(c) for c in plan.changes)))
