"""Deleting: what waits, what goes with it, and what stays."""

from .conftest import Client, config_map, container, deployment, names, pod


def test_a_namespace_takes_everything_in_it_along(kube: Client, space: str) -> None:
    kube.apply(f"/apis/apps/v1/namespaces/{space}/deployments/web", deployment("web", 2))
    kube.until(
        f"/apis/apps/v1/namespaces/{space}/deployments/web",
        lambda d: d["status"].get("readyReplicas") == 2,
    )
    kube.delete(f"/api/v1/namespaces/{space}")
    kube.gone(f"/api/v1/namespaces/{space}")
    assert kube.get(f"/api/v1/namespaces/{space}/pods")["items"] == []


def test_a_finalizer_holds_a_namespace_and_it_says_so(kube: Client, space: str) -> None:
    held = config_map("held") | {"metadata": {"name": "held", "finalizers": ["example.com/wait"]}}
    path = f"/api/v1/namespaces/{space}/configmaps"
    kube.create(path, held)
    kube.delete(f"/api/v1/namespaces/{space}")
    waiting = kube.until(f"/api/v1/namespaces/{space}", lambda n: n["status"].get("conditions"))
    reasons = {c["type"]: c["status"] for c in waiting["status"]["conditions"]}
    assert reasons["NamespaceFinalizersRemaining"] == "True"
    assert kube.get(f"{path}/held")["metadata"]["deletionTimestamp"]
    kube.patch(f"{path}/held", {"metadata": {"finalizers": None}})
    kube.gone(f"/api/v1/namespaces/{space}")


def test_in_the_foreground_the_owner_goes_last(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    kube.apply(path, deployment("web", 2))
    kube.until(path, lambda d: d["status"].get("readyReplicas") == 2)
    marked = kube.delete(path, {"propagationPolicy": "Foreground"})
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]
    kube.gone(path)
    assert kube.get(f"/apis/apps/v1/namespaces/{space}/replicasets")["items"] == []


def test_orphans_lose_their_owner_and_stay(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    kube.apply(path, deployment("web"))
    kube.until(path, lambda d: d["status"].get("readyReplicas") == 1)
    kube.delete(f"{path}?propagationPolicy=Orphan")
    kube.gone(path)
    (left,) = kube.get(f"/apis/apps/v1/namespaces/{space}/replicasets")["items"]
    assert "ownerReferences" not in left["metadata"]


def test_an_object_whose_owner_never_was_is_collected(kube: Client, space: str) -> None:
    ref = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "0-0"}
    body = config_map("lost") | {"metadata": {"name": "lost", "ownerReferences": [ref]}}
    kube.create(f"/api/v1/namespaces/{space}/configmaps", body)
    kube.gone(f"/api/v1/namespaces/{space}/configmaps/lost")


def test_a_pod_may_be_deleted_at_once(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/pods"
    kube.create(path, pod("p", container()))
    kube.until(f"{path}/p", lambda p: p["status"]["phase"] == "Running")
    kube.delete(f"{path}/p", {"gracePeriodSeconds": 0})
    assert kube.refused("GET", f"{path}/p")["code"] == 404


def test_a_deletion_may_demand_a_revision(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps"
    made = kube.create(path, config_map("a"))
    kube.patch(f"{path}/a", {"data": {"x": "1"}})
    old = {"preconditions": {"resourceVersion": made["metadata"]["resourceVersion"]}}
    assert kube.refused("DELETE", f"{path}/a", old)["reason"] == "Conflict"


def test_a_collection_is_deleted_by_its_labels(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps"
    for name in ("a", "b"):
        kube.create(path, {"metadata": {"name": name, "labels": {"sort": name}}})
    kube.delete(f"{path}?labelSelector=sort%3Da&dryRun=All")
    kube.delete(f"{path}?labelSelector=sort%3Da")
    assert names(kube.get(path)) == ["b", "kube-root-ca.crt"]
