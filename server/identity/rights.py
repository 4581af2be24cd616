"""What somebody may: a role over the platform, or one in each of some tenants."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.calls import Grant, Role
from tools.errors import Code, ToolError
from tools.holdings import Directory


@dataclass(frozen=True)
class Rights:
    operator: bool = False
    grants: Mapping[str, Grant] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.operator or bool(self.grants)

    def __or__(self, other: "Rights") -> "Rights":
        """Both together. Of two tenants that had one name, the other's is meant."""
        grants = dict(self.grants)
        for tenant, grant in other.grants.items():
            own = grants.get(tenant)
            if own is None or own.uid != grant.uid or grant.role.covers(own.role):
                grants[tenant] = grant
        return Rights(self.operator or other.operator, grants)

    def within(self, limits: Iterable["Rights"]) -> "Rights":
        """These, each at most what one of the limits gives in the same tenant."""
        limits = list(limits)
        kept = {}
        for tenant, grant in self.grants.items():
            roles = [Role.OPERATOR for limit in limits if limit.operator]
            roles += [
                g.role for one in limits if (g := one.grants.get(tenant)) and g.uid == grant.uid
            ]
            if roles:
                best = max(roles, key=list(Role).index)
                kept[tenant] = grant if best.covers(grant.role) else Grant(role=best, uid=grant.uid)
        return Rights(self.operator and any(limit.operator for limit in limits), kept)

    def stored(self) -> dict[str, list[str]]:
        """The grants as they are kept: `{tenant: [role, uid]}`."""
        return {tenant: [grant.role.value, grant.uid] for tenant, grant in self.grants.items()}


def rights_of(row: Mapping[str, Any]) -> Rights:
    """What a row's `operator` and `grants` say."""
    grants = {t: Grant(role=Role(role), uid=uid) for t, (role, uid) in row["grants"].items()}
    return Rights(row["operator"], grants)


async def granted(directory: Directory, tenants: Mapping[str, Role]) -> dict[str, Grant]:
    """Roles in tenants that are there now. Raises `ToolError` for one that is not."""
    if Role.OPERATOR in tenants.values():
        raise ToolError(
            Code.INVALID_ARGUMENT,
            "`operator` is no role in a tenant.",
            "Use viewer, user or admin there, or make them an operator.",
        )
    grants = {}
    for tenant, role in tenants.items():
        found = await directory.find(tenant)
        if found is None:
            raise ToolError(
                Code.NOT_FOUND,
                f"There is no tenant {tenant}.",
                "tenant_list shows those there are; tenant_create makes one.",
            )
        grants[tenant] = Grant(role=role, uid=found.uid)
    return grants
