"""A practice cluster whose time runs fast, and a client that only speaks HTTP."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from server.sandbox import PracticeCluster, User

DEADLINE = 5.0
APPLY = "application/apply-patch+yaml"
TOKENS: dict[str, User | str] = {
    "viewer": "vera",
    "pilothouse": User("pilothouse", ("operators",)),
    "robot": "system:serviceaccount:robots:robot",
}
numbers = itertools.count()
Object = dict[str, Any]


class Client:
    """Requests to one cluster, as one of its users."""

    def __init__(self, url: str, token: str = "admin", **headers: str) -> None:
        self.http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"} | headers,
            verify=False,  # there is no TLS here, and setting it up takes longer than a test
            timeout=DEADLINE,
        )

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        sent = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return self.http.request(method, path, content=content, headers=sent)

    def get(self, path: str, **headers: str) -> Any:
        return self._answered(self.request("GET", path, **headers))

    def create(self, path: str, body: Object) -> Any:
        return self._answered(self.request("POST", path, body))

    def apply(self, path: str, body: Object, manager: str = "test", more: str = "") -> Any:
        at = f"{path}{'&' if '?' in path else '?'}fieldManager={manager}{more}"
        return self._answered(self.request("PATCH", at, body, content_type=APPLY))

    def patch(self, path: str, body: Any, sort: str = "merge") -> Any:
        sort = f"application/{sort}-patch+json"
        return self._answered(self.request("PATCH", path, body, content_type=sort))

    def put(self, path: str, body: Object) -> Any:
        return self._answered(self.request("PUT", path, body))

    def delete(self, path: str, body: Object | None = None) -> Any:
        return self._answered(self.request("DELETE", path, body))

    def refused(self, method: str, path: str, body: Any = None, **headers: str) -> Object:
        response = self.request(method, path, body, **headers)
        assert response.status_code >= 400, response.text
        found: Object = response.json()
        assert found["code"] == response.status_code
        return found

    def until(self, path: str, holds: Callable[[Any], Any], **headers: str) -> Any:
        """Read it until it is as it should be."""
        end = time.monotonic() + DEADLINE
        while True:
            response = self.request("GET", path, **headers)
            answer = response.json() if "json" in response.headers["content-type"] else response
            if holds(answer):
                return answer
            assert time.monotonic() < end, f"never: {response.text[:3000]}"
            time.sleep(0.005)

    def gone(self, path: str) -> None:
        """Read it until it is not there."""
        self.until(path, lambda answer: answer.get("code") == 404)

    @staticmethod
    def _answered(response: httpx.Response) -> Any:
        assert response.is_success, response.text
        sort = response.headers["content-type"]
        return response.json() if sort.startswith("application/json") else response.text


@pytest.fixture(scope="session")
def cluster() -> Iterator[PracticeCluster]:
    with PracticeCluster(tokens=TOKENS, speed=20).in_thread() as started:
        yield started


@pytest.fixture
def kube(cluster: PracticeCluster) -> Client:
    return Client(cluster.url)


@pytest.fixture
def as_user(cluster: PracticeCluster) -> Callable[..., Client]:
    return lambda token, **headers: Client(cluster.url, token, **headers)


@pytest.fixture
def space(kube: Client) -> str:
    """A namespace of the test's own."""
    name = f"test-{next(numbers)}"
    kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return name


def container(name: str = "c", image: str = "app:1", **more: Any) -> Object:
    return {"name": name, "image": image} | more


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def pod(name: str, *containers: Object, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": list(containers)} | spec}


def deployment(name: str, replicas: int = 1, **more: Any) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container()]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": spec | more,
    }


def job(name: str, script: str, policy: str = "Never", **more: Any) -> Object:
    pod_spec = {"restartPolicy": policy, "containers": [container(command=shell(script))]}
    return {"metadata": {"name": name}, "spec": {"template": {"spec": pod_spec}} | more}


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def names(listed: Object) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


def condition(obj: Object, sort: str) -> Object:
    listed = obj.get("status", {}).get("conditions", ())
    return next((c for c in listed if c["type"] == sort), {})
