"""Which kinds a cluster has, and where their objects are found."""

from typing import Any

import pytest

from tools.backends.kubernetes import KubeCluster
from tools.backends.kubernetes.kinds import common
from tools.errors import Code, ToolError


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("deploy", "apps/v1/Deployment"), ("Deployment", "apps/v1/Deployment"),
        ("deployments.apps", "apps/v1/Deployment"), ("apps/v1/deployment", "apps/v1/Deployment"),
        (" po ", "v1/Pod"), ("ns", "v1/Namespace"), ("hpa", "autoscaling/v2/HorizontalPodAutoscaler"),
        ("ingresses.v1.networking.k8s.io", "networking.k8s.io/v1/Ingress"),
        ("leases", "coordination.k8s.io/v1/Lease"),
    ],
)  # fmt: skip
async def test_a_kind_is_found_by_what_people_call_it(kube: Any, word: str, kind: str) -> None:
    assert await KubeCluster(kube.api).kind(word) == kind


@pytest.mark.cluster
async def test_a_kind_that_the_cluster_does_not_have_is_refused_with_how_to_write_one(
    kube: Any,
) -> None:
    with pytest.raises(ToolError) as refused:
        await KubeCluster(kube.api).kind("spaceships")
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert "apps/v1/Deployment" in refused.value.hint


@pytest.mark.cluster
async def test_the_common_kinds_are_as_the_cluster_says(kube: Any) -> None:
    for kind in common():
        root = "/apis/" if kind.group else "/api/"
        served = await kube.api.get(root + kind.api_version)
        found = {r["name"]: r for r in served["resources"]}
        if kind.plural not in found:
            continue  # not every cluster has every one
        assert found[kind.plural]["kind"] == kind.word
        assert found[kind.plural]["namespaced"] is kind.namespaced
        assert set(kind.short) <= set(found[kind.plural].get("shortNames") or ())


def test_paths_are_those_of_the_api() -> None:
    kinds = {kind.word: kind for kind in common()}
    assert kinds["Pod"].path("acme", "web-1", "log") == "/api/v1/namespaces/acme/pods/web-1/log"
    assert kinds["Deployment"].path("acme") == "/apis/apps/v1/namespaces/acme/deployments"
    assert kinds["Deployment"].path() == "/apis/apps/v1/deployments"
    assert kinds["Namespace"].path("ignored", "acme") == "/api/v1/namespaces/acme"
    assert kinds["ClusterRole"].path("", "system:node").endswith("/clusterroles/system:node")


@pytest.mark.parametrize(
    "name", ["..", ".", "../secrets", "a/b", "a?b", "a%2fb", "", "é", "a" * 300]
)
def test_a_name_never_leads_to_another_path(name: str) -> None:
    pod = common()[0]
    with pytest.raises(ToolError) as refused:
        pod.path("acme", name or "?")
    assert refused.value.code is Code.INVALID_ARGUMENT
