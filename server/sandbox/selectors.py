"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .errors import bad_request

Object = dict[str, Any]
Labels = dict[str, str]
Test = Callable[[Object], bool]

REQUIREMENT = re.compile(
    r"\s*(?:(?P<absent>!)\s*)?(?P<key>[A-Za-z0-9_./-]+)\s*"
    r"(?:(?P<op>==|=|!=|>|<)\s*(?P<value>[A-Za-z0-9_.-]*)"
    r"|(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?\s*(?:,|$)"
)
FIELDS = ("metadata.name", "metadata.namespace")
FIELDS_OF_KIND = {
    "Pod": ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "status.phase",
            "spec.serviceAccountName", "status.podIP", "status.nominatedNodeName",
            "spec.hostNetwork"),
    "Event": ("involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
              "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
              "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"),
    "Namespace": ("status.phase",),
    "Secret": ("type",),
    "Node": ("spec.unschedulable",),
    "Job": ("status.successful",),
    "ReplicaSet": ("status.replicas",),
}  # fmt: skip


def labels_match(selector: Object | None, labels: Labels | None) -> bool:
    """Whether a LabelSelector selects these labels; an empty one selects all, none selects none."""
    if selector is None:
        return False
    have = labels or {}
    if any(have.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_expression(e, have) for e in selector.get("matchExpressions", ()))


def _expression(expression: Object, labels: Labels) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", ())
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and int(value) > int(values[0])
        case "Lt":
            return value is not None and int(value) < int(values[0])
    return False


def label_test(text: str) -> Test:
    """The test that a `labelSelector` parameter stands for."""
    expressions = parse_labels(text)

    def test(obj: Object) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(_expression(expression, labels) for expression in expressions)

    return test


def parse_labels(text: str) -> list[Object]:
    """A `labelSelector` parameter as a list of expressions."""
    found: list[Object] = []
    at = 0
    while at < len(text):
        match = REQUIREMENT.match(text, at)
        if not match or match.end() == at:
            raise bad_request(f'unable to parse requirement: found "{text[at:]}"')
        at = match.end()
        found.append(_requirement(match))
    return found


def _requirement(match: re.Match[str]) -> Object:
    key = match["key"]
    if match["absent"]:
        return {"key": key, "operator": "DoesNotExist"}
    if match["set"]:
        operator = "In" if match["set"] == "in" else "NotIn"
        values = [value.strip() for value in match["values"].split(",")]
        return {"key": key, "operator": operator, "values": values}
    if not match["op"]:
        return {"key": key, "operator": "Exists"}
    names = {"=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt"}
    return {"key": key, "operator": names[match["op"]], "values": [match["value"]]}


def selector_text(selector: Object) -> str:
    """A LabelSelector in the text form that Scale and tables show."""
    parts = [f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items())]
    for expression in selector.get("matchExpressions", ()):
        key, values = expression["key"], ",".join(sorted(expression.get("values", ())))
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[expression["operator"]]
        )
    return ",".join(parts)


def field_test(kind: str, text: str) -> Test:
    """The test that a `fieldSelector` parameter stands for."""
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", part)
        if not match:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        known = match[1] in FIELDS + FIELDS_OF_KIND.get(kind, ())
        if not known:
            raise bad_request(f"field label not supported: {match[1]}")
        tests.append((match[1], match[2] != "!=", match[3]))

    def test(obj: Object) -> bool:
        return all((_field(obj, path) == value) is wanted for path, wanted, value in tests)

    return test


def _field(obj: Object, path: str) -> str:
    if path == "source":
        return str(obj.get("source", {}).get("component", ""))
    value: Any = obj
    if path == "status.successful":
        value, path = obj, "status.succeeded"
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
