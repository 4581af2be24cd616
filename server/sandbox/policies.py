"""MutatingAdmissionPolicies, as far as they only write down values.

An expression made of literals (`Object{spec: Object.spec{nodeSelector: {"pool": "a"}}}`, or a list
of `JSONPatch{...}`) is carried out on the objects that its policy and binding match. Anything that
would have to be evaluated is stored and otherwise left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .errors import ApiError
from .fields import merge
from .kinds import Kind, Kinds
from .patches import json_patch
from .selectors import labels_match
from .store import Store

Object = dict[str, Any]
TOKENS = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?)"""
    r"""|(?P<name>[A-Za-z_][\w.]*)|(?P<sign>[{}\[\]:,]))"""
)
WORDS = {"true": True, "false": False, "null": None}


class MutatingPolicies:
    """The policies that are in the store now."""

    def __init__(self, store: Store, kinds: Kinds) -> None:
        self._store = store
        self._policy = kinds.named("MutatingAdmissionPolicy")
        self._binding = kinds.named("MutatingAdmissionPolicyBinding")

    def mutate(self, kind: Kind, obj: Object, namespace: Object | None) -> None:
        """Carry out what is bound and matches a new object."""
        for record in self._store.records(self._binding):
            spec = record.object["spec"]
            policy = self._store.get(self._policy, "", spec.get("policyName", ""))
            if policy is None or policy.object["spec"].get("matchConditions"):
                continue
            constraints = policy.object["spec"].get("matchConstraints", {})
            chosen = spec.get("matchResources")
            if _matches(constraints, kind, obj, namespace) and (
                not chosen or _matches(chosen, kind, obj, namespace)
            ):
                for mutation in policy.object["spec"].get("mutations", ()):
                    _carry_out(mutation, kind, obj)


def _matches(match: Object, kind: Kind, obj: Object, namespace: Object | None) -> bool:
    labels = namespace["metadata"].get("labels") if namespace else None
    if not labels_match(match.get("namespaceSelector", {}), labels):
        return False
    if not labels_match(match.get("objectSelector", {}), obj["metadata"].get("labels")):
        return False
    if any(_rule_matches(rule, kind) for rule in match.get("excludeResourceRules", ())):
        return False
    rules = match.get("resourceRules")
    return rules is None or any(_rule_matches(rule, kind) for rule in rules)


def _rule_matches(rule: Object, kind: Kind) -> bool:
    def has(field: str, value: str) -> bool:
        return bool({"*", value} & set(rule.get(field, ())))

    return (
        has("operations", "CREATE")
        and has("apiGroups", kind.group)
        and has("apiVersions", kind.version)
        and has("resources", kind.plural)
    )


def _carry_out(mutation: Object, kind: Kind, obj: Object) -> None:
    if mutation.get("patchType") == "ApplyConfiguration":
        applied = literal(mutation["applyConfiguration"]["expression"])
        if isinstance(applied, dict):
            # What an apply would replace in an atomic list is added to here: tolerations.
            extra = applied.get("spec", {}).get("tolerations", [])
            have = obj.get("spec", {}).get("tolerations", [])
            merged = merge(kind.shape, obj, applied)
            if extra:
                merged["spec"]["tolerations"] = have + [t for t in extra if t not in have]
            obj.update(merged)
    elif mutation.get("patchType") == "JSONPatch":
        steps = literal(mutation["jsonPatch"]["expression"])
        if isinstance(steps, list):
            try:
                obj.update(json_patch(obj, steps))
            except ApiError:
                return


def literal(expression: str) -> Any:
    """The value of an expression that is only literals, or None."""
    try:
        tokens = _tokens(expression)
        value = _value(tokens)
        return None if next(tokens, None) else value
    except (ValueError, StopIteration):
        return None


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = text.strip()
    while at < len(text):
        match = TOKENS.match(text, at)
        if not match or match.lastgroup is None:
            raise ValueError(text[at:])
        at = match.end()
        yield match.lastgroup, match[match.lastgroup]


def _value(tokens: Iterator[tuple[str, str]]) -> Any:
    sort, text = next(tokens)
    if sort == "text":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if sort == "number":
        return float(text) if "." in text else int(text)
    if sort == "name":
        if text in WORDS:
            return WORDS[text]
        sort, text = next(tokens)
    if text == "{":
        return _map(tokens)
    if text == "[":
        return _list(tokens)
    raise ValueError(text)


def _map(tokens: Iterator[tuple[str, str]]) -> Object:
    found: Object = {}
    while (token := next(tokens)) != ("sign", "}"):
        if token == ("sign", ","):
            continue
        key = token[1][1:-1] if token[0] == "text" else token[1]
        if next(tokens) != ("sign", ":"):
            raise ValueError(key)
        found[key] = _value(tokens)
    return found


def _list(tokens: Iterator[tuple[str, str]]) -> list[Any]:
    found: list[Any] = []
    pending = list(_until_closed(tokens))
    inner = iter(pending)
    while True:
        try:
            found.append(_value(inner))
        except StopIteration:
            return found
        if next(inner, None) is None:
            return found


def _until_closed(tokens: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    depth = 1
    for token in tokens:
        depth += {"[": 1, "]": -1}.get(token[1], 0) if token[0] == "sign" else 0
        if not depth:
            return
        yield token
    raise ValueError("a list that does not end")
