"""Faults go wrong as they are told to, so often and no more."""

import httpx
import pytest

from server.sandbox import PracticeCluster

from .conftest import Client, config_map


def test_requests_are_refused_so_often_and_then_answered(
    kube: Client, cluster: PracticeCluster, space: str
) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps"
    cluster.faults.answer(429, path=f"{space}/configmaps", times=2, retry_after=3)
    for _ in range(2):
        response = kube.request("GET", path)
        assert (response.status_code, response.headers["retry-after"]) == (429, "3")
        assert response.json()["reason"] == "TooManyRequests"
    assert kube.get(path)["items"]


def test_only_the_method_that_is_meant_goes_wrong(
    kube: Client, cluster: PracticeCluster, space: str
) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps"
    cluster.faults.answer(503, method="POST", path=path)
    assert kube.get(path)["items"]
    assert kube.refused("POST", path, config_map("a"))["code"] == 503
    kube.create(path, config_map("a"))


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_lost_connection_leaves_open_whether_the_request_was_carried_out(
    kube: Client, cluster: PracticeCluster, space: str, carried_out: bool
) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps"
    lose = cluster.faults.lose_answer if carried_out else cluster.faults.drop
    lose(method="POST", path=path)
    with pytest.raises(httpx.HTTPError):
        kube.create(path, config_map("a"))
    assert (kube.request("GET", f"{path}/a").status_code == 200) is carried_out


def test_a_request_that_hangs_ends_with_its_client(
    kube: Client, cluster: PracticeCluster, space: str
) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps"
    cluster.faults.hang(path=path)
    with pytest.raises(httpx.TimeoutException):
        kube.http.get(path, timeout=0.05)
    assert kube.get(path)["items"]


def test_faults_are_set_from_another_process_by_administrators_only(
    kube: Client, cluster: PracticeCluster, space: str
) -> None:
    path = f"/api/v1/namespaces/{space}/secrets"
    fault = {"do": "answer", "status": 500, "path": path, "times": 5}
    assert kube.create("/practice/faults", fault)["pending"][0]["times"] == 5
    assert kube.refused("GET", path)["code"] == 500
    assert kube.delete("/practice/faults")["pending"] == []
    assert kube.get(path)["items"] == []
    assert kube.refused("POST", "/practice/faults", {"color": "red"})["code"] == 400
    viewer = Client(cluster.url, "viewer")
    assert viewer.refused("GET", "/practice/faults")["code"] == 403
    assert kube.get("/practice/snapshot")["Node"]
