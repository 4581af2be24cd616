"""Small objects that the tests put on a cluster, and ways to put them there."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tools.backends.kubernetes import KubeCluster
from tools.backends.kubernetes.writing import PATCHES, request_for, send
from tools.plan import Apply, Change, Ref

QUOTA = {"requests.cpu": "1", "limits.cpu": "2", "pods": "10"}


def container(name: str, cpu: str = "50m", command: str = "sleep 3600") -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": "32Mi"}
    return {
        "name": name,
        "image": "busybox:1.37",
        "command": ["sh", "-c", command],
        "resources": {"requests": amounts, "limits": amounts},
    }


def deployment(replicas: int = 1, cpu: str = "50m") -> dict[str, Any]:
    labels = {"app": "web"}
    return {
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container("web", cpu, "trap exit TERM; sleep 3600 & wait")],
                },
            },
        }
    }


def job(cpu: str = "50m", command: str = "echo hello") -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [container("job", cpu, command)]}
    return {"spec": {"backoffLimit": 0, "template": {"spec": pod}}}


async def make(cluster: KubeCluster, change: Change) -> Any:
    """Bring a change about without any of the executor's care."""
    return (await send(cluster.api, await request_for(cluster.api, change, None))).body


async def by(cluster: KubeCluster, ref: Ref, manager: str, body: dict[str, Any]) -> Any:
    """Apply as somebody else."""
    request = await request_for(cluster.api, Apply(id="x", ref=ref, body=body, force=True), None)
    reply = await cluster.api.request(
        "PATCH",
        request.path,
        {"fieldManager": manager, "force": True},
        request.body,
        content_type=PATCHES["apply"],
    )
    return reply.body


async def prepared(
    cluster: KubeCluster, namespace: str, body: dict[str, Any], name: str = "web"
) -> Ref:
    """A Deployment that somebody else made."""
    ref = cluster.ref("apps/v1/Deployment", name, namespace)
    await by(cluster, ref, "user", body)
    return ref


async def limited(cluster: KubeCluster, namespace: str, hard: dict[str, str]) -> None:
    """A quota whose use is known, which is when it holds."""
    ref = cluster.ref("v1/ResourceQuota", "plan", namespace)
    await make(cluster, Apply(id="q", ref=ref, body={"spec": {"hard": hard}}))

    async def counted() -> bool:
        return bool(((await cluster.get(ref)).get("status") or {}).get("used"))

    await until(counted)


async def until(holds: Callable[[], Awaitable[bool]], timeout_s: float = 30) -> None:
    ends = time.monotonic() + timeout_s
    while not await holds():
        assert time.monotonic() < ends, "it did not come about in time"
        await asyncio.sleep(0.05)
