"""Who else has a hand in the fields that a change writes."""

from typing import Any

import pytest

from tools.backends.kubernetes.managers import controllers, other_managers
from tools.backends.kubernetes.masks import mask_of

MASK = mask_of({"spec": {"replicas": 2, "template": {"spec": {"nodeName": "n"}}}})


def live(manager: str, **more: Any) -> dict[str, Any]:
    entry = {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    return {"metadata": {"managedFields": [entry | more]}}


@pytest.mark.parametrize(
    ("manager", "name"),
    [
        ("argocd-controller", "Argo CD"), ("kustomize-controller", "Flux"),
        ("helm-controller", "Flux"), ("helm", "Helm"), ("Terraform", "Terraform"),
    ],
)  # fmt: skip
def test_those_that_put_things_back_are_named(manager: str, name: str) -> None:
    (line,) = other_managers(live(manager), MASK)
    assert line.startswith(f"{name} ({manager}) manages spec.replicas, and may put it back")


def test_a_person_with_kubectl_is_told_and_no_more() -> None:
    assert other_managers(live("kubectl-edit"), MASK) == ["kubectl-edit has set spec.replicas."]


def test_we_the_status_and_other_fields_are_no_news() -> None:
    assert other_managers(live("pilothouse"), MASK) == []
    assert other_managers(live("kubelet", subresource="status"), MASK) == []
    assert other_managers(live("argocd-controller"), mask_of({"metadata": {"labels": {}}})) == []


def test_the_controller_of_an_object_is_named() -> None:
    owner = {"kind": "Rollout", "name": "web", "controller": True}
    owned = {"metadata": {"ownerReferences": [owner, owner | {"controller": False}]}}
    assert controllers(owned) == ["Rollout web controls it, and may put it back."]
