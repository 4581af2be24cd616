"""A house with a tenant in it that a whole module of tests shares: making one takes a second."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from server.executor.engine import Patience
from tests.conftest import Kube
from tests.house import House, opened, settings
from tools.calls import Caller, Outcome, Role
from tools.errors import Code

# What breaks down in a test is given up soon.
QUICK = Patience(apply_s=2, first_pause_s=0.005, longest_pause_s=0.05, forward_s=3)


@dataclass
class Lodging(House):
    """`tenant` has a Deployment `web` of two replicas and a Job `hello` that has ended; `user` may
    change what is in it."""

    kube: Kube
    tenant: str
    user: Caller

    async def preview(self, tool: str, /, **arguments: Any) -> Outcome:
        return await self.app.gate.call(self.user, tool, arguments, preview=True)


def deployment(name: str = "web", replicas: int = 2, **pod: Any) -> dict[str, Any]:
    """A manifest of pods that run on."""
    container = {"name": "main", "image": "registry.k8s.io/pause:3.10"} | pod
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
        },
    }


@asynccontextmanager
async def lodging(kube: Kube, aws_url: str, state: Path, **options: Any) -> AsyncIterator[Lodging]:
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ACCESS_KEY_ID", "practice")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "practice")
        async with opened(settings(state, kube.kubeconfig, aws_url, **options)) as house:
            house.app.local_gate.carrier.engine.patience = QUICK
            await with_bucket(house)
            await house.done("tenant_create", name=tenant, plan="free")
            await house.done("resource_apply", tenant=tenant, manifest=deployment())
            hello = {"name": "hello", "image": "busybox:1.37", "command": ["echo", "hello"]}
            await house.done("job_create", tenant=tenant, **hello, wait=True)
            user = await house.member(tenant, Role.ADMIN)
            yield Lodging(house.app, kube, tenant, user)
        await kube.api.request("DELETE", f"/api/v1/namespaces/{tenant}")


async def with_bucket(house: House) -> None:
    """Have the tenants' bucket, which another module may have made."""
    where = {"LocationConstraint": "eu-west-1"}
    aws = house.app.backends.aws
    found = await aws.call("s3", "list_buckets")
    if "tenants" not in [bucket["Name"] for bucket in found["Buckets"]]:
        await aws.call("s3", "create_bucket", Bucket="tenants", CreateBucketConfiguration=where)


def refused(outcome: Outcome, code: Code, *said: str) -> None:
    """It was, with this code, these words and a next step."""
    assert outcome.error is not None, outcome
    assert outcome.error.code is code, outcome.error
    assert outcome.error.hint
    for words in said:
        assert words in outcome.error.message
    assert len(outcome.error.message) < 1000
