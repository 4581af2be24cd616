"""Who asks: users by token, and whom they impersonate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from .errors import ApiError

AUTHENTICATED = "system:authenticated"
MASTERS = "system:masters"
SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class User:
    """A name and the groups it is in."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
ADMIN = User("kubernetes-admin", (MASTERS, AUTHENTICATED))


def service_account(name: str) -> tuple[str, str] | None:
    """Namespace and name of a user that is a ServiceAccount."""
    parts = name.removeprefix(SERVICE_ACCOUNT).split(":")
    if name.startswith(SERVICE_ACCOUNT) and len(parts) == 2:
        return parts[0], parts[1]
    return None


def with_groups(user: User) -> User:
    """The user with the groups that everybody of its sort is in."""
    if user.name == ANONYMOUS.name:
        return user
    groups = list(user.groups)
    if account := service_account(user.name):
        groups += ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
    groups.append(AUTHENTICATED)
    return User(user.name, tuple(dict.fromkeys(groups)), user.uid, user.extra)


def users_by_token(tokens: Mapping[str, User | str]) -> dict[str, User]:
    """The table of tokens; a user without groups may be given as its name."""
    users = {t: User(who) if isinstance(who, str) else who for t, who in tokens.items()}
    return {token: with_groups(user) for token, user in users.items()}


def authenticate(headers: Mapping[str, str], users: Mapping[str, User]) -> User:
    """The user whose token the request carries; none is anonymous, an unknown one is refused."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return ANONYMOUS
    user = users.get(token.strip())
    if user is None:
        raise ApiError(401, "Unauthorized", "Unauthorized")
    return user


def impersonated(headers: Any) -> User | None:
    """The user that the request wants to be, from its Impersonate headers."""
    name = headers.get("impersonate-user", "")
    groups = tuple(headers.getlist("impersonate-group"))
    uid = headers.get("impersonate-uid", "")
    extra: dict[str, tuple[str, ...]] = {}
    for key, value in headers.items():
        if key.startswith("impersonate-extra-"):
            extra_key = unquote(key.removeprefix("impersonate-extra-"))
            extra[extra_key] = (*extra.get(extra_key, ()), value)
    if not name:
        if groups or uid or extra:
            raise ApiError(500, "InternalError", "impersonation headers without a user")
        return None
    if groups:
        anonymous = name == ANONYMOUS.name or "system:unauthenticated" in groups
        groups = groups if anonymous or AUTHENTICATED in groups else (*groups, AUTHENTICATED)
        return User(name, groups, uid, extra)
    return with_groups(User(name, (), uid, extra))
