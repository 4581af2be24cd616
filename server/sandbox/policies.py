"""MutatingAdmissionPolicies: carried out on the new objects that they and their bindings match.

Expressions may use the part of CEL that `cel` understands; a policy that uses more is stored and
otherwise left alone.
"""

from __future__ import annotations

from typing import Any

from .cel import EvaluationError, NotUnderstood, evaluate
from .errors import ApiError, forbidden
from .fields import Path, dotted, field_set, merge
from .kinds import Kind, Kinds
from .patches import json_patch
from .schema import Shape
from .selectors import labels_match
from .store import Store

Object = dict[str, Any]


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
            if policy is None:
                continue
            constraints = policy.object["spec"].get("matchConstraints", {})
            chosen = spec.get("matchResources")
            if _matches(constraints, kind, obj, namespace) and (
                not chosen or _matches(chosen, kind, obj, namespace)
            ):
                self._mutate(policy.object, record.object, kind, obj, namespace)

    def _mutate(
        self, policy: Object, binding: Object, kind: Kind, obj: Object, namespace: Object | None
    ) -> None:
        spec = policy["spec"]
        try:
            for condition in spec.get("matchConditions", ()):
                if not evaluate(condition["expression"], _known(obj, namespace)):
                    return
            for mutation in spec.get("mutations", ()):
                _carry_out(mutation, kind, obj, _known(obj, namespace))
        except NotUnderstood:
            return
        except (EvaluationError, ApiError) as wrong:
            if spec.get("failurePolicy") == "Ignore":
                return
            named = f"{policy['metadata']['name']}' with binding '{binding['metadata']['name']}"
            why = f"policy '{named}' denied request: {wrong}"
            raise forbidden(kind, obj["metadata"].get("name", ""), why) from wrong


def _known(obj: Object, namespace: Object | None) -> Object:
    return {"object": obj, "oldObject": None, "namespaceObject": namespace}


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


def _carry_out(mutation: Object, kind: Kind, obj: Object, variables: Object) -> None:
    if mutation.get("patchType") == "ApplyConfiguration":
        applied = evaluate(mutation["applyConfiguration"]["expression"], variables)
        if atomic := [
            dotted(path) for path in field_set(kind.shape, applied) if _is_atomic(kind.shape, path)
        ]:
            raise EvaluationError(
                "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
                + ", ".join(atomic)
            )
        obj.update(merge(kind.shape, obj, applied))
    elif mutation.get("patchType") == "JSONPatch":
        obj.update(json_patch(obj, evaluate(mutation["jsonPatch"]["expression"], variables)))


def _is_atomic(shape: Shape, path: Path) -> bool:
    for element in path:
        shape = (shape.item or shape) if element[0] == "k" else shape.child(element[2:])
    return shape.atomic or (shape.form == "list" and not shape.keys)
