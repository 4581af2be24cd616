"""What makes room for what a tenant's plan has refused: a bigger plan, where one is enough."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

from tools.backends.kubernetes.quantities import number
from tools.errors import ToolError
from tools.holdings import Step
from tools.tiers import Tier

# In the words of the API's own admission, for what a plan sets: the ResourceQuota `plan`, and the
# LimitRange beside it.
OVER = re.compile(r"exceeded quota: plan, requested: (\S+), used: (\S+), limited: \S+")
TOO_BIG = re.compile(
    r"maximum ([\w./-]+) usage per Container is [^,]+, but (?:limit|request) is ([\w.]*\w)"
)


def step(error: ToolError, tenant: str, tiers: Mapping[str, Tier]) -> Step | None:
    """The call after which the refused one is possible, or None where no plan is big enough or
    something else is in the way."""
    quota, container = _over(error.message), _too_big(error.message)
    if not (tenant and (quota or container)):
        return None
    enough = {
        name: _size(quota, tier.quota) + _size(container, tier.max)
        for name, tier in tiers.items()
        if _fits(quota, tier.quota) and _fits(container, tier.max)
    }
    if not enough:
        return None
    plan = min(enough, key=lambda name: enough[name])
    which = {"tenant": tenant, "plan": plan}
    return Step(title=f"Change {tenant} to plan {plan}", tool="tenant_update", arguments=which)


def name_the_step(error: ToolError, tenant: str, tiers: Mapping[str, Tier]) -> None:
    """Have a refusal's hint say which call that is."""
    if found := step(error, tenant, tiers):
        error.hint = f"{found.call} makes room (operators may); or ask for less, or free some."


def _over(said: str) -> dict[str, Decimal]:
    """What a quota would have to allow, by resource."""
    if not (found := OVER.search(said)):
        return {}
    asked, used = (
        {what: number(much) or Decimal(0) for what, _, much in _pairs(part)}
        for part in found.groups()
    )
    return {what: much + used.get(what, Decimal(0)) for what, much in asked.items()}


def _pairs(part: str) -> Iterable[tuple[str, str, str]]:
    return (pair.partition("=") for pair in part.split(","))


def _too_big(said: str) -> dict[str, Decimal]:
    """What one container would have to be allowed, by resource."""
    return {what: number(much) or Decimal(0) for what, much in TOO_BIG.findall(said)}


def _fits(wanted: Mapping[str, Decimal], allowed: Mapping[str, str]) -> bool:
    bounds = _size(wanted, allowed)
    return all(much <= bound for much, bound in zip(wanted.values(), bounds, strict=True))


def _size(wanted: Mapping[str, Decimal], allowed: Mapping[str, str]) -> tuple[Decimal, ...]:
    """What is allowed of what is wanted; what is not bounded is endless."""
    bounds = (number(allowed[what]) if what in allowed else None for what in wanted)
    return tuple(Decimal("Infinity") if bound is None else bound for bound in bounds)
