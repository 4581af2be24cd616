"""One workload: its pods' selector and template."""

from typing import Any

from tools.workload import selector, template


def test_a_selector_is_told_as_a_query_takes_it() -> None:
    rules: list[dict[str, Any]] = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "env", "operator": "NotIn", "values": ["test"]},
        {"key": "x", "operator": "Exists"},
        {"key": "y", "operator": "DoesNotExist"},
    ]
    of = {"matchLabels": {"app": "web"}, "matchExpressions": rules}
    said = "app=web,tier in (a,b),env notin (test),x,!y"
    assert selector({"spec": {"selector": of}}) == said


def test_a_pods_template_is_itself() -> None:
    assert template({"kind": "Pod", "spec": {"a": 1}}) == {"a": 1}
    assert template({"kind": "Deployment", "spec": {"template": {"spec": {"a": 1}}}}) == {"a": 1}
