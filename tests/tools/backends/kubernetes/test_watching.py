"""Watching a kind: what is there, then what happens."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.tools.backends.kubernetes.bodies import make
from tests.tools.backends.kubernetes.test_connection import kubeconfig
from tools.backends.kubernetes import Api, KubeCluster
from tools.errors import Code, ToolError
from tools.plan import Apply, Delete


@pytest.mark.cluster
async def test_what_is_there_comes_first_and_then_what_happens(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)

    def change(name: str, value: str) -> Apply:
        ref = cluster.ref("v1/ConfigMap", name, namespace)
        return Apply(
            id="a", ref=ref, body={"metadata": {"labels": {"w": "1"}}, "data": {"a": value}}
        )

    await make(cluster, change("one", "1"))
    events = cluster.watch("cm", namespace, labels="w=1", timeout_s=20)
    first = await anext(events)
    assert (first[0], first[1]["metadata"]["name"], first[1]["kind"]) == (
        "ADDED",
        "one",
        "ConfigMap",
    )
    await make(cluster, change("two", "1"))
    await make(cluster, change("one", "2"))
    await make(cluster, Delete(id="d", ref=change("two", "").ref))
    seen = [await anext(events) for _ in range(3)]
    assert [(kind, item["metadata"]["name"]) for kind, item in seen] == [
        ("ADDED", "two"),
        ("MODIFIED", "one"),
        ("DELETED", "two"),
    ]
    await events.aclose()  # type: ignore[attr-defined]


@pytest.mark.cluster
async def test_a_watch_ends_when_its_time_is_up(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    events = cluster.watch("secrets", namespace, timeout_s=0.3)
    async with asyncio.timeout(20):
        assert [event async for event in events] == []


def item(name: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": version}}


async def served(tmp_path: Path, lists: list[Any], watches: list[list[Any]]) -> Any:
    """A cluster that answers lists and watches one after another; after the last, 403."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        watching = "watch" in request.query
        asked.append(request.query.get("resourceVersion", "list"))
        left = watches if watching else lists
        if not left:
            body = {"message": 'User "x" cannot list resource "configmaps"', "reason": "Forbidden"}
            return web.json_response(body, status=403)
        following = left.pop(0)
        if watching:
            return web.Response(text="".join(json.dumps(event) + "\n" for event in following))
        return web.json_response(following)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    return server, Api("test", kubeconfig(tmp_path, str(server.make_url("")))), asked


def listing(version: str, *items: Any) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version}, "items": list(items)}


async def test_a_version_that_the_server_forgot_starts_anew_and_tells_only_what_moved(
    tmp_path: Path,
) -> None:
    gone = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
    server, api, asked = await served(
        tmp_path,
        [
            listing("5", item("a", "1"), item("b", "2"), item("c", "3")),
            listing("9", item("a", "1"), item("b", "8"), item("d", "9")),
        ],
        [[gone], [{"type": "BOOKMARK", "object": item("", "20")}], []],
    )
    events = []

    async def watch() -> None:
        async for event, thing in KubeCluster(api).watch("cm", "acme", timeout_s=20):
            events.append((event, thing["metadata"]["name"]))

    with pytest.raises(ToolError) as ended:
        await watch()
    assert ended.value.code is Code.PERMISSION_DENIED
    assert events == [
        ("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c"),
        ("DELETED", "c"), ("MODIFIED", "b"), ("ADDED", "d"),
    ]  # fmt: skip
    assert asked == ["list", "5", "list", "9", "20", "20"]
    await api.close()
    await server.close()
