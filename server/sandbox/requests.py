"""What a request is about, read from its method, path and query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import method_not_allowed, no_such_path
from .kinds import Kind, Kinds
from .rbac import Attributes

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
NAMESPACE_PARTS = ("status", "finalize")


@dataclass(frozen=True)
class Target:
    """A collection, an object or a subresource, and what is to happen to it."""

    verb: str
    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def attributes(self) -> Attributes:
        """As the authorizer sees it."""
        kind = self.kind
        return Attributes(
            self.verb, kind.group, kind.plural, self.subresource, self.namespace, self.name
        )


def is_resource(path: str) -> bool:
    """Whether a path is that of objects, and not of discovery or health."""
    parts = path.strip("/").split("/")
    return (parts[0] == "api" and len(parts) > 2) or (parts[0] == "apis" and len(parts) > 3)


def target(kinds: Kinds, method: str, path: str, query: Mapping[str, str]) -> Target:
    """What the request is about, or the refusal that there is no such thing."""
    parts = path.strip("/").split("/")
    group, version, rest = (
        ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
    )
    namespace = ""
    if (
        rest[0] == "namespaces"
        and len(rest) > 2
        and not (len(rest) == 3 and rest[2] in NAMESPACE_PARTS)
    ):
        namespace, rest = rest[1], rest[2:]
    kind = kinds.at(group, version, rest[0])
    if kind is None or len(rest) > 3 or (namespace and not kind.namespaced):
        raise no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and subresource not in kind.subresources:
        raise no_such_path()
    if name and kind.namespaced and not namespace:
        raise no_such_path()
    verb = _verb(method, name, query)
    misplaced = verb == "create" and (bool(name) or (kind.namespaced and not namespace))
    if not subresource and (verb not in kind.verbs or misplaced):
        raise method_not_allowed()
    if kind.kind == "Namespace" and name:
        # Rights on a Namespace may be given in the Namespace itself.
        namespace = name
    return Target(verb, kind, namespace, name, subresource)


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method in ("GET", "HEAD"):
        if query.get("watch") in ("1", "true"):
            return "watch"
        return "get" if name else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    if method not in VERBS or (method != "POST" and not name):
        raise method_not_allowed()
    return VERBS[method]
