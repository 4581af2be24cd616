"""What does not fit a kind, as a real API server was heard to say it."""

from typing import Any

import pytest

from server.sandbox.schema import object_shape
from server.sandbox.typed import misfits

CONTAINERS = ".spec.template.spec.containers"


def with_containers(*containers: Any) -> dict[str, Any]:
    return {"template": {"spec": {"containers": list(containers)}}}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (3, ".spec: expected map, got &{3}"),
        ([], ".spec: expected map, got &{[]}"),
        ({"replcas": 3}, ".spec.replcas: field not declared in schema"),
        ({"replicas": "x"}, ".spec.replicas: expected numeric (int or float), got string"),
        ({"replicas": True}, ".spec.replicas: expected numeric (int or float), got bool"),
        ({"paused": "x"}, ".spec.paused: expected boolean, got &{x}"),
        ({"selector": {"matchLabels": {"a": 1}}}, ".spec.selector.matchLabels.a: expected string, got &value.valueUnstructured{Value:1}"),
        ({"template": {"spec": {"containers": {}}}}, f"{CONTAINERS}: expected list, got &{{map[]}}"),
        (with_containers(3), f"{CONTAINERS}: element 0: associative list with keys may not have non-map elements"),
        (with_containers(None), f"{CONTAINERS}: element 0: associative list with keys may not have a null element"),
        (with_containers({"name": "a"}, {"name": "a"}), f'{CONTAINERS}: duplicate entries for key [name="a"]'),
        (with_containers({"name": "a", "command": "x"}), f'{CONTAINERS}[name="a"].command: expected list, got &{{x}}'),
        (with_containers({"name": "a", "command": [1]}), f'{CONTAINERS}[name="a"].command[0]: expected string, got &value.valueUnstructured{{Value:1}}'),
    ],
)  # fmt: skip
def test_a_misfit_is_told_by_its_path(spec: Any, said: str) -> None:
    assert list(misfits(object_shape("Deployment"), {"spec": spec})) == [said]


def test_what_fits_and_what_is_null_is_no_misfit() -> None:
    fits = {"metadata": {"labels": {"a": None}}, "spec": with_containers({"name": "a"})}
    assert list(misfits(object_shape("Deployment"), fits | {"status": None})) == []
