"""Which call makes room for what was refused."""

import pytest

from tools.errors import Code, ToolError
from tools.room import name_the_step, step
from tools.tiers import DEFAULT_TIERS

QUOTA = "exceeded quota: plan, requested: {}, used: {}, limited: {}"
SAID = {
    "a little more than free": (
        QUOTA.format("limits.cpu=1", "limits.cpu=4", "limits.cpu=4"), "pro"
    ),
    "two at once, one of which only the biggest has": (
        QUOTA.format("limits.memory=70Gi,pods=1", "limits.memory=1Gi,pods=10",
                     "limits.memory=8Gi,pods=10"), "enterprise"
    ),
    "more than any has": (QUOTA.format("pods=400", "pods=1", "pods=10"), ""),
    "somebody else's quota": (
        QUOTA.format("pods=1", "pods=1", "pods=1").replace("plan", "team"), ""
    ),
    "a container too big for free": (
        'pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 1500m', "pro"
    ),
    "one too big in two ways": (
        'pods "x" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum '
        "memory usage per Container is 2Gi, but limit is 20Gi]", "enterprise"
    ),
    "nothing of the kind": ("Deployment x in acme is not there.", ""),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID)
def test_the_smallest_plan_that_is_enough_is_the_step(what: str) -> None:
    said, plan = SAID[what]
    error = ToolError(Code.RESOURCE_EXHAUSTED, said, "Ask for less.")
    found = step(error, "acme", DEFAULT_TIERS)
    assert (found.arguments["plan"] if found else "") == plan
    name_the_step(error, "acme", DEFAULT_TIERS)
    assert (f"tenant_update tenant=acme plan={plan}" in error.hint) is bool(plan)
    assert "sk for less" in error.hint
