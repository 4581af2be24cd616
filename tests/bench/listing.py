"""Five hundred pods through the gate, against fetching them whole and parsing that."""

import asyncio
import json
from typing import Any

from server.doors.mcp import result
from tests.bench.measuring import Figure, in_turns, ratio, timed
from tests.bench.processes import World, applied
from tests.house import OLIVIA, House, opened, settings

PODS, SIDE_BY_SIDE = 500, 16
PAIRS = 15


async def pods(here: World) -> list[Figure]:
    """`resource_list` in one page through the gate, against fetching the same pods whole and parsing
    that; and the first page of the usual length as a client is sent it, its text and its structured
    content together."""
    namespace = f"{here.mark}-pods"
    await _made(here, namespace)
    raw = f"/api/v1/namespaces/{namespace}/pods?limit={PODS}"
    state = here.home / "listing"
    state.mkdir()
    async with opened(settings(state, here.kubeconfig, here.aws_url)) as house:

        async def ours() -> None:
            assert len((await _listed(house, namespace, limit=PODS))["rows"]) == PODS

        async def whole() -> None:
            assert len((await here.admin.request("GET", raw))["items"]) == PODS

        pairs = await in_turns(timed(ours), timed(whole), PAIRS, warm=2)
        asked = {"tenant": namespace, "kind": "Pod"}
        page = result(await house.call(OLIVIA, "resource_list", **asked), write=False)
    sent = page.model_dump(mode="json", by_alias=True, exclude_none=True)
    about = f"{PODS} pods, {here.name}"
    return [
        ratio(f"`resource_list` of {about}", 0.5, pairs),
        Figure(f"first page of {about}", len(_compact(sent)), 10_000, unit=" B"),
    ]


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


async def _listed(house: House, namespace: str, **more: Any) -> dict[str, Any]:
    found = await house.call(OLIVIA, "resource_list", tenant=namespace, kind="Pod", **more)
    assert found.answer is not None, found
    return found.answer


async def _made(here: World, namespace: str) -> None:
    """Pods as they are when they run, though no scheduler looks at these."""
    body = {"apiVersion": "v1", "kind": "Namespace"}
    await applied(here.admin, f"/api/v1/namespaces/{namespace}", body)
    slots = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(n: int) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods/checkout-7d9c5b8f6d-{n:05d}"
        async with slots:
            await applied(here.admin, path, _pod(n))
            await applied(here.admin, f"{path}/status", _running(n))

    await _account(here, namespace)
    await asyncio.gather(*(one(n) for n in range(PODS)))


async def _account(here: World, namespace: str) -> None:
    """A pod is refused until its namespace has a ServiceAccount."""
    async with asyncio.timeout(30):
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        while not (await here.admin.request("GET", path))["items"]:
            await asyncio.sleep(0.05)


def _pod(n: int) -> dict[str, Any]:
    env = [
        {"name": name, "value": f"value-of-{name.lower()}"} for name in ("REGION", "STAGE", "LEVEL")
    ]
    main = {
        "name": "checkout",
        "image": "registry.example/shop/checkout:2026.11.3",
        "env": env,
        "ports": [{"containerPort": 8080}],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "256Mi"},
        },
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
    }
    labels = {"app": "checkout", "pod-template-hash": "7d9c5b8f6d"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": labels},
        "spec": {"schedulerName": "nobody", "containers": [main]},
    }


def _running(n: int) -> dict[str, Any]:
    since = "2026-11-20T08:00:00Z"
    true = {"status": "True", "lastTransitionTime": since}
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    main = {
        "name": "checkout",
        "image": "registry.example/shop/checkout:2026.11.3",
        "imageID": "registry.example/shop/checkout@sha256:" + f"{n:064x}",
        "containerID": "containerd://" + f"{n:064x}",
        "ready": True,
        "started": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": since}},
    }
    ip = f"10.244.{n // 250}.{n % 250 + 1}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "status": {
            "phase": "Running",
            "conditions": [{"type": kind, **true} for kind in kinds],
            "containerStatuses": [main],
            "hostIP": "192.0.2.10",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": since,
        },
    }
