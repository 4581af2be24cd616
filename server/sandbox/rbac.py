"""Who may do what: roles and bindings, impersonation, and no giving of rights one has not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .errors import ApiError, forbidden
from .identity import MASTERS, User, service_account
from .kinds import Kind, Kinds
from .selectors import labels_match
from .store import Store

Object = dict[str, Any]
AUTHENTICATION = "authentication.k8s.io"


@dataclass(frozen=True)
class Attributes:
    """What somebody wants to do: to a resource, or to a path that is none."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full(self) -> str:
        """`pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Authorizer:
    """Decides by the roles and bindings that are in the store now."""

    def __init__(self, store: Store, kinds: Kinds) -> None:
        self._store = store
        self._role = kinds.named("Role")
        self._cluster_role = kinds.named("ClusterRole")
        self._binding = kinds.named("RoleBinding")
        self._cluster_binding = kinds.named("ClusterRoleBinding")

    def reason(self, user: User, wanted: Attributes) -> str | None:
        """Why it is allowed, or None where it is not."""
        if MASTERS in user.groups:
            return ""
        for binding, subject, rules in self._grants(user, wanted.namespace):
            if any(rule_allows(rule, wanted) for rule in rules):
                return _because(binding, subject)
        return None

    def allowed(self, user: User, wanted: Attributes) -> bool:
        """Whether it is allowed."""
        return self.reason(user, wanted) is not None

    def rules(self, user: User, namespace: str) -> list[Object]:
        """All rules that hold for a user in a namespace."""
        if MASTERS in user.groups:
            return [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                {"verbs": ["*"], "nonResourceURLs": ["*"]},
            ]
        return [rule for _, _, rules in self._grants(user, namespace) for rule in rules]

    def check(self, user: User, wanted: Attributes, kind: Kind | None) -> None:
        """Refuse what is not allowed."""
        if not self.allowed(user, wanted):
            raise denial(user, wanted, kind)

    def check_impersonation(
        self, user: User, other: User, wanted: Attributes, kind: Kind | None
    ) -> None:
        """Refuse to act as somebody whom the user may not impersonate, in every part."""
        account = service_account(other.name)
        asks = [Attributes("impersonate", resource="users", name=other.name)]
        mode = "user-info"
        if account:
            mode = "serviceaccount"
            asks = [
                Attributes(
                    "impersonate", resource="serviceaccounts", namespace=account[0], name=account[1]
                )
            ]
        given = set() if account else {"system:authenticated"}
        if account:
            given = {
                "system:authenticated",
                "system:serviceaccounts",
                f"system:serviceaccounts:{account[0]}",
            }
        asks += [
            Attributes("impersonate", resource="groups", name=group)
            for group in other.groups
            if group not in given
        ]
        if other.uid:
            asks.append(Attributes("impersonate", AUTHENTICATION, "uids", name=other.uid))
        asks += [
            Attributes("impersonate", AUTHENTICATION, "userextras", key, name=value)
            for key, values in other.extra.items()
            for value in values
        ]
        if not all(self.allowed(user, ask) for ask in asks):
            refused = replace(wanted, verb=f"impersonate-on:{mode}:{wanted.verb}")
            raise denial(user, refused, kind)

    def check_grant(self, user: User, kind: Kind, obj: Object) -> None:
        """Refuse a role or binding that gives what the giver has not."""
        namespace = obj["metadata"].get("namespace", "")
        name = obj["metadata"]["name"]
        if kind.kind in ("Role", "ClusterRole"):
            verb, rules = "escalate", obj.get("rules") or []
            asked = Attributes(verb, kind.group, kind.plural, "", namespace, name)
        else:
            ref = obj["roleRef"]
            plural = "roles" if ref["kind"] == "Role" else "clusterroles"
            asked = Attributes("bind", kind.group, plural, "", namespace, ref["name"])
            if self.allowed(user, asked):
                return
            found = self._role_object(ref, namespace)
            if found is None:
                role = self._role if ref["kind"] == "Role" else self._cluster_role
                raise ApiError(
                    404,
                    "NotFound",
                    f'{role.resource} "{ref["name"]}" not found',
                    {"name": ref["name"], "group": role.group, "kind": role.plural},
                )
            rules = self._rules_of(found)
        held = self.rules(user, namespace)
        missing = [rule for rule in rules if not _covered(rule, held)]
        if missing and not self.allowed(user, asked):
            groups = " ".join(f'"{group}"' for group in user.groups)
            lines = "\n".join(_shown(rule) for rule in missing)
            why = (
                f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions '
                f"not currently held:\n{lines}"
            )
            raise forbidden(kind, name, why)

    def _grants(self, user: User, namespace: str) -> Iterator[tuple[Object, Object, list[Object]]]:
        bindings = self._store.objects(self._cluster_binding)
        if namespace:
            local = self._store.objects(self._binding, namespace)
            bindings = itertools.chain(bindings, local)
        for binding in bindings:
            space = binding["metadata"].get("namespace", "")
            for subject in binding.get("subjects") or ():
                if _is(subject, user, space):
                    role = self._role_object(binding["roleRef"], space)
                    if role:
                        yield binding, subject, self._rules_of(role)
                    break

    def _role_object(self, ref: Object, namespace: str) -> Object | None:
        kind = self._role if ref["kind"] == "Role" else self._cluster_role
        record = self._store.get(kind, namespace if kind.namespaced else "", ref["name"])
        return record.object if record else None

    def _rules_of(self, role: Object) -> list[Object]:
        rules = list(role.get("rules") or ())
        for selector in role.get("aggregationRule", {}).get("clusterRoleSelectors", ()):
            for other in self._store.objects(self._cluster_role):
                if labels_match(selector, other["metadata"].get("labels")) and other is not role:
                    rules += other.get("rules") or ()
        return rules


def rule_allows(rule: Object, wanted: Attributes) -> bool:
    """Whether one rule allows it."""
    if not _has(rule.get("verbs"), wanted.verb):
        return False
    if wanted.path:
        return any(
            url in ("*", wanted.path) or (url.endswith("*") and wanted.path.startswith(url[:-1]))
            for url in rule.get("nonResourceURLs") or ()
        )
    resources = rule.get("resources") or ()
    return (
        _has(rule.get("apiGroups"), wanted.group)
        and (
            "*" in resources
            or wanted.full in resources
            or bool(wanted.subresource and f"*/{wanted.subresource}" in resources)
        )
        and (not rule.get("resourceNames") or wanted.name in rule["resourceNames"])
    )


def denial(user: User, wanted: Attributes, kind: Kind | None) -> ApiError:
    """The refusal that names who, what and where."""
    if wanted.path:
        why = f'forbidden: User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
        return ApiError(403, "Forbidden", why, {})
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    why = (
        f'User "{user.name}" cannot {wanted.verb} resource "{wanted.full}" in API group '
        f'"{wanted.group}" {where}'
    )
    assert kind is not None
    return forbidden(kind, wanted.name, why)


def _has(choices: Any, value: str) -> bool:
    return bool(choices) and ("*" in choices or value in choices)


def _is(subject: Object, user: User, namespace: str) -> bool:
    name = subject["name"]
    match subject["kind"]:
        case "User":
            return bool(name == user.name)
        case "Group":
            return name in user.groups
        case "ServiceAccount":
            space = subject.get("namespace") or namespace
            return service_account(user.name) == (space, name)
    return False


def _because(binding: Object, subject: Object) -> str:
    meta, ref = binding["metadata"], binding["roleRef"]
    space = meta.get("namespace")
    sort, shown = (
        ("RoleBinding", f"{meta['name']}/{space}")
        if space
        else ("ClusterRoleBinding", meta["name"])
    )
    who = f'"{subject["name"]}"'
    if subject["kind"] == "ServiceAccount":
        who = f'"{subject["name"]}/{subject.get("namespace") or space}"'
    return (
        f'RBAC: allowed by {sort} "{shown}" of {ref["kind"]} "{ref["name"]}" '
        f"to {subject['kind']} {who}"
    )


def _covered(rule: Object, held: list[Object]) -> bool:
    """Whether the held rules allow all that the rule allows."""
    if rule.get("nonResourceURLs"):
        return all(
            any(rule_allows(own, Attributes(verb, path=url)) for own in held)
            for verb, url in itertools.product(rule["verbs"], rule["nonResourceURLs"])
        )
    names = rule.get("resourceNames") or [""]
    parts = itertools.product(
        rule.get("verbs") or (), rule.get("apiGroups") or (), rule.get("resources") or (), names
    )
    return all(
        any(rule_allows(own, Attributes(verb, group, *_split(resource), "", name)) for own in held)
        for verb, group, resource, name in parts
    )


def _split(resource: str) -> tuple[str, str]:
    first, _, second = resource.partition("/")
    return first, second


def _shown(rule: Object) -> str:
    def listed(values: Any) -> str:
        return "[" + ", ".join(f'"{value}"' for value in values) + "]"

    names = {
        "apiGroups": "APIGroups",
        "resources": "Resources",
        "resourceNames": "ResourceNames",
        "nonResourceURLs": "NonResourceURLs",
        "verbs": "Verbs",
    }
    parts = [f"{names[key]}:{listed(rule[key])}" for key in names if rule.get(key)]
    return "{" + ", ".join(parts) + "}"
