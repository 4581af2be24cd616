"""Reviews: who somebody is and what they may do, answered and not stored."""

from __future__ import annotations

from typing import Any

from . import fields, managers
from .api import Api, Ask
from .clock import stamp
from .errors import bad_request
from .identity import User
from .kinds import Kind
from .managers import Manager
from .rbac import Attributes

Object = dict[str, Any]


def review(api: Api, kind: Kind, body: Object, ask: Ask) -> Object:
    """The answer to a review."""
    if kind.kind == "SelfSubjectReview":
        return _self(api, kind, ask)
    spec = body.get("spec") or {}
    if kind.kind == "SelfSubjectRulesReview":
        status = _rules(api, ask.user, spec.get("namespace", ""))
    else:
        user = ask.user if kind.kind == "SelfSubjectAccessReview" else _subject(spec)
        status = _access(api, user, spec)
    manager = Manager(ask.manager, "Update", kind.api_version)
    shown: Object = {"kind": kind.kind, "apiVersion": kind.api_version, "spec": spec}
    entries = managers.updated(kind.shape, {}, shown, manager, stamp(api.clock.now()))
    meta = {"managedFields": entries} if fields.from_json(entries[0]["fieldsV1"]) else {}
    return {
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "metadata": meta,
        "spec": spec,
        "status": status,
    }


def _self(api: Api, kind: Kind, ask: Ask) -> Object:
    user = ask.user
    info: Object = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
    info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return {
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "metadata": {"creationTimestamp": stamp(api.clock.now())},
        "status": {"userInfo": {part: value for part, value in info.items() if value}},
    }


def _subject(spec: Object) -> User:
    if not spec.get("user") and not spec.get("groups"):
        raise bad_request("spec: at least one of user or group must be specified")
    return User(spec.get("user", ""), tuple(spec.get("groups", ())))


def _access(api: Api, user: User, spec: Object) -> Object:
    if asked := spec.get("resourceAttributes"):
        resource, _, sub = asked.get("resource", "").partition("/")
        wanted = Attributes(
            asked.get("verb", ""),
            asked.get("group", ""),
            resource,
            asked.get("subresource", sub),
            asked.get("namespace", ""),
            asked.get("name", ""),
        )
    elif asked := spec.get("nonResourceAttributes"):
        wanted = Attributes(asked.get("verb", ""), path=asked.get("path", ""))
    else:
        raise bad_request("exactly one of nonResourceAttributes or resourceAttributes must be set")
    reason = api.authorizer.reason(user, wanted)
    if reason is None:
        return {"allowed": False}
    return {"allowed": True} | ({"reason": reason} if reason else {})


def _rules(api: Api, user: User, namespace: str) -> Object:
    if not namespace:
        raise bad_request("no namespace on request")
    rules = api.authorizer.rules(user, namespace)
    return {
        "resourceRules": [rule for rule in rules if not rule.get("nonResourceURLs")],
        "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
        "incomplete": False,
    }
