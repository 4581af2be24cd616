"""The practice cluster from outside: the real client, a process of its own, many objects."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from server.sandbox import PracticeCluster

from .conftest import Client, config_map, deployment

ROOT = Path(__file__).parents[3]


async def test_the_real_client_applies_watches_and_reads(cluster: PracticeCluster) -> None:
    pytest.importorskip("kubernetes")
    from kubernetes.aio import client, config
    from kubernetes.aio.dynamic import DynamicClient

    settings = client.Configuration()
    await config.load_kube_config_from_dict(cluster.kubeconfig(), client_configuration=settings)
    async with client.ApiClient(settings) as api:
        kinds = await DynamicClient(api)
        namespaces = await kinds.resources.get(api_version="v1", kind="Namespace")
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "by-client"}}
        await kinds.server_side_apply(namespaces, body=body, field_manager="test")
        deployments = await kinds.resources.get(api_version="apps/v1", kind="Deployment")
        space = {"namespace": "by-client"}
        await kinds.server_side_apply(
            deployments, body=deployment("web", 2), field_manager="test", **space
        )
        async for event in deployments.watch(timeout=60, **space):
            if event["object"].status.readyReplicas == 2:
                break
        core = client.CoreV1Api(api)
        pods = (await core.list_namespaced_pod("by-client")).items
        assert [pod.status.phase for pod in pods] == ["Running"] * 2
        text = await core.read_namespaced_pod_log(pods[0].metadata.name, "by-client")
        assert text.startswith("started")
        await core.delete_namespace("by-client")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "kubeconfig"
    arguments = ["--kubeconfig", str(path), "--token", "t=ada@team", "--speed", "10"]
    started = subprocess.Popen(
        [sys.executable, "-m", "server.sandbox", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout
    url = started.stdout.readline().strip()
    config = yaml.safe_load(path.read_text())
    assert config["clusters"][0]["cluster"]["server"] == url
    yield url
    started.kill()
    started.wait()


def test_it_runs_in_a_process_of_its_own(process: str) -> None:
    kube = Client(process)
    kube.create("/api/v1/namespaces", {"metadata": {"name": "own"}})
    kube.create("/api/v1/namespaces/own/configmaps", config_map("a"))
    assert kube.create("/practice/clock", {"step": 5})["now"]
    refusal = Client(process, "t").refused("GET", "/api/v1/nodes")
    assert 'User "ada" cannot list resource "nodes"' in refusal["message"]


def test_a_thread_that_cannot_start_says_why(cluster: PracticeCluster) -> None:
    with pytest.raises(OSError, match="in use"), PracticeCluster(cluster.port).in_thread():
        pass


def test_time_can_stand_still_until_it_is_moved_on() -> None:
    with PracticeCluster(speed=0).in_thread() as frozen:
        kube = Client(frozen.url)
        path = "/apis/apps/v1/namespaces/default/deployments/web"
        kube.apply(path, deployment("web"))
        kube.until("/api/v1/namespaces/default/pods", lambda listed: listed["items"])
        assert "readyReplicas" not in kube.get(path)["status"]
        kube.until(path, lambda d: frozen.step(0.1) or d["status"].get("readyReplicas"))


def test_five_thousand_objects_are_listed_quickly(cluster: PracticeCluster) -> None:
    kube = Client(cluster.url)
    kind = cluster.api.kinds.named("ConfigMap")
    for number in range(5000):
        meta = {"name": f"m{number}", "namespace": f"many-{number % 500}", "uid": f"many-{number}",
                "creationTimestamp": "2026-01-01T00:00:00Z"}  # fmt: skip
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "b" * 500}}
        cluster._loop.call_soon_threadsafe(cluster.api.store.put, kind, body)
    path = "/api/v1/configmaps?labelSelector=%21x&limit=6000"
    kube.until(path, lambda listed: len(listed["items"]) >= 5000)
    begun = time.perf_counter()
    raw = kube.http.get(path).content
    assert len(raw) > 3_000_000
    assert time.perf_counter() - begun < 1.0
