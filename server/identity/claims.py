"""What an identity provider's token says of whoever brings it, as the settings read it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.settings_identity import Oidc
from tools.calls import Role
from tools.errors import Code, ToolError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+:|/-]{0,127}")
MOST_GROUPS = 2000


@dataclass(frozen=True)
class Claimed:
    """`tenants` are names: which tenants those are now, only the cluster knows."""

    subject: str
    person: str
    agent: bool
    operator: bool
    tenants: Mapping[str, Role]
    email: str
    name: str


def claimed(claims: Mapping[str, Any], settings: Oidc) -> Claimed:
    """Raises `ToolError` for claims that name nobody."""
    person = _named(claims, settings.subject)
    # A token that was exchanged says who acts for whom (RFC 8693).
    actor = claims.get("act")
    acts = isinstance(actor, dict) and bool(actor.get("sub"))
    client = str(claims.get("azp") or claims.get("client_id") or "")
    tenants: dict[str, Role] = {}
    groups = list(_groups(claims, settings.groups))
    for tenant, role in _roles(groups, settings):
        if tenant not in tenants or role.covers(tenants[tenant]):
            tenants[tenant] = role
    return Claimed(
        subject=_named(actor, "sub") if acts and isinstance(actor, dict) else person,
        person=person,
        agent=acts or client in settings.agents,
        operator=not set(settings.operators).isdisjoint(groups),
        tenants=tenants,
        email=str(claims.get("email", ""))[:254],
        name=str(claims.get("name", ""))[:200],
    )


def _named(claims: Mapping[str, Any], claim: str) -> str:
    name = claims.get(claim)
    if claim == "email" and claims.get("email_verified") is False:
        raise _nobody("its email was never verified")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise _nobody(f"its claim {claim} names nobody")
    return name


def _groups(claims: Mapping[str, Any], path: str) -> Iterator[str]:
    # A claim may have dots in its own name, as a URL has.
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for step in path.split("."):
            found = found.get(step) if isinstance(found, dict) else None
    if isinstance(found, str):
        found = found.split()
    if isinstance(found, list):
        yield from (group for group in found[:MOST_GROUPS] if isinstance(group, str))


def _roles(groups: list[str], settings: Oidc) -> Iterator[tuple[str, Role]]:
    roles = "|".join(role.value for role in Role if role is not Role.OPERATOR)
    form = re.escape(settings.pattern)
    form = form.replace(r"\{tenant\}", "(?P<tenant>[a-z0-9-]{1,63})")
    form = form.replace(r"\{role\}", f"(?P<role>{roles})")
    for group in groups:
        yield from settings.roles.get(group, {}).items()
        if settings.pattern and (found := re.fullmatch(form, group)):
            yield found["tenant"], Role(found["role"])


def _nobody(why: str) -> ToolError:
    return ToolError(
        Code.UNAUTHENTICATED,
        f"This token lets nobody in: {why}.",
        "An operator sets which claim names a caller: oidc.subject.",
    )
