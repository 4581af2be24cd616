"""What the tests of every room share."""

import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass
class Kube:
    """A cluster to test against: its `api` as administrator, and the kubeconfig it was made from."""

    api: Any
    kubeconfig: str


@pytest.fixture(params=["practice", "real"])
async def kube(request: pytest.FixtureRequest) -> AsyncIterator[Kube]:
    """The practice cluster always, and a real one where PILOTHOUSE_TEST_KUBECONFIG names it."""
    from tools.backends.kubernetes import Api

    if request.param == "real":
        kubeconfig = os.environ.get("PILOTHOUSE_TEST_KUBECONFIG", "")
        if not kubeconfig:
            pytest.skip("PILOTHOUSE_TEST_KUBECONFIG names no cluster")
    else:
        kubeconfig = str(request.getfixturevalue("practice").kubeconfig)
    api = Api("test", kubeconfig)
    yield Kube(api, kubeconfig)
    await api.close()


@pytest.fixture
async def namespace(kube: Kube) -> AsyncIterator[str]:
    """A fresh namespace with Pod Security `baseline`, deleted afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await kube.api.request("POST", "/api/v1/namespaces", body=body)
    yield name
    await kube.api.request("DELETE", f"/api/v1/namespaces/{name}")
