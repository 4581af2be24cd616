"""What the cluster itself refuses: told at preview, with the code, in its own words."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import Kube
from tests.lodging import Lodging, deployment, lodging, refused
from tools.errors import Code

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(
    shared_kube: Kube, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lodging]:
    async with lodging(shared_kube, moto_url, tmp_path_factory.mktemp("refused")) as home:
        yield home


# ---- manifests


def misfit(**change: Any) -> dict[str, Any]:
    """A Deployment with one part of its spec replaced."""
    web = deployment("other")
    return web | {"spec": web["spec"] | change}


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (misfit(replcas=3), ".spec.replcas: field not declared in schema"),
        (misfit(replicas="three"), ".spec.replicas: expected numeric"),
        (misfit(replicas=1.5), ""),
        (misfit(template=[]), ".spec.template: expected map"),
        (misfit(template={"spec": {"containers": [3]}}), "associative list with keys"),
        (misfit(selector={}), "spec.selector"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": 1}}, ".data.a"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "../x"}}, "name"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "X"}}, "X"),
        ({"apiVersion": "v1", "kind": "Nothing", "metadata": {"name": "x"}}, "Nothing"),
        ({"apiVersion": "v9", "kind": "ConfigMap", "metadata": {"name": "x"}}, "ConfigMap"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x"}}, "metadata.name"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": []}}, "labels"),
        ("kind: [", "not YAML"),
        ("a: 1\n---\nb: 2\n", "2 objects"),
        ("a: &a [x]\nb: [*a, *a]", "aliases"),
        ("", "0 objects"),
    ],
)  # fmt: skip
async def test_a_manifest_that_does_not_fit_is_refused_with_what_is_wrong_in_it(
    home: Lodging, manifest: Any, said: str
) -> None:
    outcome = await home.call(home.user, "resource_apply", tenant=home.tenant, manifest=manifest)
    assert outcome.error
    code = Code.NOT_FOUND if "here is no kind" in outcome.error.message else Code.INVALID_ARGUMENT
    refused(outcome, code, said)


# ---- what the quota and Pod Security say, at preview

PRIVILEGED = deployment("bad", securityContext={"privileged": True})
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("job_create", {"image": "busybox", "cpu_request": "9", "cpu_limit": "9"}, "cpu"),
    ("job_create", {"image": "busybox", "memory_request": "9Ti", "memory_limit": "9Ti"}, "memory"),
    ("workload_scale", {"name": "web", "replicas": 500}, "exceeded quota: plan"),
    ("workload_resize", {"name": "web", "cpu_limit": "900", "cpu_request": "1m"}, "cpu"),
    ("resource_apply", {"manifest": PRIVILEGED}, 'violates PodSecurity "baseline'),
]


@pytest.mark.parametrize(("tool", "more", "said"), REFUSED)
async def test_what_the_cluster_will_refuse_is_told_at_preview_in_its_own_words(
    home: Lodging, tool: str, more: dict[str, Any], said: str
) -> None:
    outcome = await home.preview(tool, tenant=home.tenant, **more)
    assert outcome.error, outcome
    assert outcome.error.code in (Code.RESOURCE_EXHAUSTED, Code.FAILED_PRECONDITION)
    refused(outcome, outcome.error.code, "forbidden", said)


@pytest.mark.parametrize("what", ["count/jobs.batch", "pods"])
async def test_one_job_too_many_is_refused_at_preview_by_its_count(
    home: Lodging, what: str
) -> None:
    path = f"/api/v1/namespaces/{home.tenant}/resourcequotas/plan"
    how = {"content_type": "application/merge-patch+json"}
    quota = await home.kube.api.get(path)
    hard, used = quota["spec"]["hard"], quota["status"]["used"]
    full = {"spec": {"hard": hard | {what: used[what]}}}
    await home.kube.api.request("PATCH", path, body=full, **how)
    try:
        outcome = await home.preview("job_create", tenant=home.tenant, image="busybox")
        refused(outcome, Code.RESOURCE_EXHAUSTED, "exceeded quota: plan", what)
    finally:
        await home.kube.api.request("PATCH", path, body={"spec": {"hard": hard}}, **how)
