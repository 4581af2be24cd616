"""A change as the request that brings it about."""

from typing import Any

import pytest

from tools.backends.kubernetes import Api
from tools.backends.kubernetes.writing import request_for
from tools.plan import Apply, Create, Delete, Patch, PutPrefix, Ref, Scale

LIVE = {"metadata": {"uid": "u", "resourceVersion": "7", "labels": {"a": "1"}}}


@pytest.fixture
def api() -> Api:
    return Api("test", "never-read")


def ref(kind: str = "apps/v1/Deployment", namespace: str = "acme") -> Ref:
    return Ref(at="test", kind=kind, name="web", namespace=namespace)


async def test_applying_names_the_object_and_the_moment_it_was_looked_at(api: Api) -> None:
    change = Apply(id="a", ref=ref(), body={"metadata": {"labels": {"b": "2"}}}, force=True)
    request = await request_for(api, change, LIVE)
    assert (request.method, request.content_type) == ("PATCH", "application/apply-patch+yaml")
    assert request.path == "/apis/apps/v1/namespaces/acme/deployments/web"
    assert request.query["force"] is True
    assert request.body == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "namespace": "acme",
            "labels": {"b": "2"},
            "uid": "u",
            "resourceVersion": "7",
        },
    }


async def test_a_patch_and_a_scale_send_only_what_they_write(api: Api) -> None:
    moment = {"metadata": {"uid": "u", "resourceVersion": "7"}}
    patch = await request_for(api, Patch(id="p", ref=ref(), fields={"spec": {"a": 1}}), LIVE)
    assert patch.body == moment | {"spec": {"a": 1}}
    assert patch.content_type == "application/strategic-merge-patch+json"
    scale = await request_for(api, Scale(id="s", ref=ref(), replicas=3), LIVE)
    assert scale.path.endswith("/deployments/web/scale")
    assert scale.body == moment | {"spec": {"replicas": 3}}


async def test_a_create_carries_the_call_that_it_is_of(api: Api) -> None:
    body: dict[str, Any] = {"metadata": {"annotations": {"a": "1"}}, "spec": {}}
    request = await request_for(api, Create(id="c", ref=ref(), body=body), None, "call-1")
    assert request.path == "/apis/apps/v1/namespaces/acme/deployments"
    assert request.body["metadata"]["annotations"] == {"a": "1", "pilothouse.dev/call": "call-1"}
    assert body["metadata"]["annotations"] == {"a": "1"}


async def test_a_deletion_is_of_this_one_object(api: Api) -> None:
    change = Delete(id="d", ref=ref("v1/Namespace", ""), propagation="Foreground")
    request = await request_for(api, change, LIVE)
    assert request.path == "/api/v1/namespaces/web"
    assert request.body["preconditions"] == {"uid": "u"}
    assert request.body["propagationPolicy"] == "Foreground"


async def test_a_change_to_aws_is_none_to_a_cluster(api: Api) -> None:
    aws = Ref(backend="aws", at="1/eu", kind="v1/ConfigMap", name="b", namespace="acme")
    with pytest.raises(TypeError):
        await request_for(api, PutPrefix(id="x", ref=aws), None)
