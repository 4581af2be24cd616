"""Objects are created, changed, listed and watched as the API does it."""

import json
import threading
from typing import Any

import pytest

from .conftest import APPLY, Client, Object, config_map, container, deployment, names, pod


def test_a_merged_list_keeps_what_other_managers_put_in(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    kube.apply(path, deployment("web"), "one")
    sidecar = deployment("web")
    sidecar["spec"] = {"template": {"spec": {"containers": [container("side", "side:1")]}}}
    both = kube.apply(path, sidecar, "two")
    assert [c["name"] for c in both["spec"]["template"]["spec"]["containers"]] == ["c", "side"]
    empty = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    alone = kube.apply(path, empty, "two")
    assert [c["name"] for c in alone["spec"]["template"]["spec"]["containers"]] == ["c"]


def test_a_value_that_two_managers_agree_on_is_owned_by_both(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps/shared"
    kube.apply(path, config_map("shared", a="1"), "one")
    kube.apply(path, config_map("shared", a="1"), "two")
    left = kube.apply(path, config_map("shared"), "one")
    assert left["data"] == {"a": "1"}
    refusal = kube.refused(
        "PATCH", f"{path}?fieldManager=one", config_map("shared", a="2"), content_type=APPLY
    )
    assert refusal["details"]["causes"][0]["message"] == 'conflict with "two"'


def test_conflicts_are_grouped_by_manager(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps/many"
    kube.apply(path, config_map("many", a="1", b="1"), "one")
    refusal = kube.refused(
        "PATCH", f"{path}?fieldManager=two", config_map("many", a="2", b="2"), content_type=APPLY
    )
    assert refusal["message"] == (
        'Apply failed with 2 conflicts: conflicts with "one":\n- .data.a\n- .data.b'
    )


def test_a_container_field_in_conflict_is_named_by_its_key(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    kube.apply(path, deployment("web"), "one")
    other = deployment("web")
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "app:2"
    refusal = kube.refused("PATCH", f"{path}?fieldManager=two", other, content_type=APPLY)
    fields = [cause["field"] for cause in refusal["details"]["causes"]]
    assert fields == ['.spec.template.spec.containers[name="c"].image']


def test_an_apply_that_only_says_it_again_changes_nothing(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/services/web"
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    first = kube.apply(path, body)
    again = kube.apply(path, body)
    assert first["spec"]["ports"][0]["targetPort"] == 80
    assert first["spec"]["clusterIP"].startswith("10.96.")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_quantities_are_kept_in_their_canonical_form(kube: Client, space: str) -> None:
    resources = {"requests": {"cpu": "0.1", "memory": "1024Mi"}, "limits": {"cpu": "1000m"}}
    made = kube.create(
        f"/api/v1/namespaces/{space}/pods?dryRun=All", pod("p", container(resources=resources))
    )
    kept = made["spec"]["containers"][0]["resources"]
    assert kept["requests"] == {"cpu": "100m", "memory": "1Gi"}
    assert kept["limits"] == {"cpu": "1"}


def test_a_strategic_patch_merges_by_name_and_deletes_what_it_says(
    kube: Client, space: str
) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    body = deployment("web")
    body["spec"]["template"]["spec"]["containers"] = [
        container("a", env=[{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]),
        container("b"),
    ]
    kube.create(path.rpartition("/")[0], body)
    env = [{"name": "X", "value": "9"}, {"name": "Y", "$patch": "delete"}]
    containers = [{"name": "a", "env": env}, {"name": "b", "$patch": "delete"}]
    changed = kube.patch(
        path, {"spec": {"template": {"spec": {"containers": containers}}}}, "strategic-merge"
    )
    (left,) = changed["spec"]["template"]["spec"]["containers"]
    assert (left["image"], left["env"]) == ("app:1", [{"name": "X", "value": "9"}])


def test_a_json_patch_is_carried_out_whole_or_not_at_all(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps/patched"
    kube.create(path.rpartition("/")[0], config_map("patched", a="1"))
    steps = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "2"},
        {"op": "add", "path": "/metadata/labels", "value": {}},
        {"op": "add", "path": "/metadata/labels/x.y~1z", "value": "w"},
    ]
    changed = kube.patch(path, steps, "json")
    assert (changed["data"], changed["metadata"]["labels"]) == ({"a": "2"}, {"x.y/z": "w"})
    missing = [{"op": "remove", "path": "/data/nothing"}]
    kube.refused("PATCH", path, missing, content_type="application/json-patch+json")


def test_an_unknown_patch_type_is_refused(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps/kube-root-ca.crt"
    assert kube.refused("PATCH", path, {}, content_type="text/plain")["code"] == 415


def test_a_put_keeps_the_status_and_the_status_keeps_the_rest(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments/web"
    kube.create(path.rpartition("/")[0], deployment("web", 0))
    seen = kube.until(path, lambda d: d["status"].get("observedGeneration") == 1)
    seen["metadata"].pop("resourceVersion")
    spec = seen["spec"] | {"minReadySeconds": 1}
    replaced = kube.put(path, seen | {"status": {"replicas": 99}, "spec": spec})
    assert (replaced["status"], replaced["metadata"]["generation"]) == (seen["status"], 2)
    marked = kube.put(f"{path}/status", seen | {"spec": {}, "status": {"replicas": 3}})
    assert (marked["spec"], marked["status"]) == (replaced["spec"], {"replicas": 3})


def test_unknown_fields_are_warned_of_unless_they_are_forbidden(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments?dryRun=All"
    body = deployment("web", replica=3)
    answer = kube.request("POST", path, body)
    assert answer.headers["warning"] == '299 - "unknown field \\"spec.replica\\""'
    strict = kube.refused("POST", f"{path}&fieldValidation=Strict", body)
    assert strict["message"].endswith('strict decoding error: unknown field "spec.replica"')
    quiet = kube.request("POST", f"{path}&fieldValidation=Ignore", body)
    assert "warning" not in quiet.headers


def test_a_value_of_the_wrong_type_is_a_bad_request(kube: Client, space: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments"
    body = deployment("web") | {"spec": deployment("web")["spec"] | {"replicas": "two"}}
    refusal = kube.refused("POST", path, body)
    assert (
        "cannot unmarshal string into Go struct field Deployment.spec.replicas"
        in (refusal["message"])
    )


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("tier=web", ["a", "b"]),
        ("tier!=web", ["c", "kube-root-ca.crt"]),
        ("tier in (web,db),env", ["a"]),
        ("!tier", ["kube-root-ca.crt"]),
        ("tier notin (web)", ["c", "kube-root-ca.crt"]),
    ],
)
def test_label_selectors_select(kube: Client, space: str, selector: str, found: list[str]) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps"
    for name, labels in (
        ("a", {"tier": "web", "env": "x"}),
        ("b", {"tier": "web"}),
        ("c", {"tier": "db"}),
    ):
        kube.create(path, {"metadata": {"name": name, "labels": labels}})
    assert names(kube.http.get(path, params={"labelSelector": selector}).json()) == found


def test_field_selectors_select_only_known_fields(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/pods"
    listed = kube.get(f"{path}?fieldSelector=status.phase%3DRunning,spec.nodeName%21%3Dx")
    assert listed["items"] == []
    refusal = kube.refused("GET", f"{path}?fieldSelector=spec.color%3Dred")
    assert refusal["message"] == "field label not supported: spec.color"


def test_pages_follow_each_other_without_gaps(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps"
    for number in range(7):
        kube.create(path, config_map(f"m{number}"))
    found: list[str] = []
    token = ""
    while True:
        page = kube.get(f"{path}?limit=3&continue={token}")
        found += names(page)
        token = page["metadata"].get("continue", "")
        if not token:
            break
        assert page["metadata"]["remainingItemCount"] == 8 - len(found)
    assert found == ["kube-root-ca.crt", *(f"m{n}" for n in range(7))]


def test_a_continue_token_from_long_ago_has_expired(kube: Client) -> None:
    old = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIvYVx1MDAwMCJ9"
    refusal = kube.refused("GET", f"/api/v1/namespaces?limit=1&continue={old}")
    assert (refusal["code"], refusal["reason"]) == (410, "Expired")


def test_one_object_comes_as_a_table_or_as_metadata_too(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps/kube-root-ca.crt"
    as_table = kube.get(path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert as_table["rows"][0]["cells"][:2] == ["kube-root-ca.crt", 1]
    partial = kube.get(path, accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
    assert (partial["kind"], "data" in partial) == ("PartialObjectMetadata", False)


def watched(kube: Client, path: str, writes: Any) -> list[Object]:
    events: list[Object] = []
    opened = threading.Event()

    def read() -> None:
        with kube.http.stream("GET", path) as response:
            opened.set()
            events.extend(json.loads(line) for line in response.iter_lines())

    thread = threading.Thread(target=read)
    thread.start()
    opened.wait(5)
    writes()
    thread.join(5)
    return events


def test_a_watch_sees_objects_come_into_its_selection_and_leave_it(
    kube: Client, space: str
) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps"
    start = kube.get(path)["metadata"]["resourceVersion"]

    def writes() -> None:
        kube.create(path, {"metadata": {"name": "w"}})
        kube.patch(f"{path}/w", {"metadata": {"labels": {"seen": "yes"}}})
        kube.patch(f"{path}/w", {"metadata": {"labels": {"seen": None}}})

    query = f"watch=1&timeoutSeconds=10&resourceVersion={start}&labelSelector=seen%3Dyes"
    events = watched(kube, f"{path}?{query}", writes)
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]


def test_a_watch_from_nowhere_begins_with_what_is_there(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/serviceaccounts"
    query = "watch=1&timeoutSeconds=2&sendInitialEvents=true&allowWatchBookmarks=true"
    query += "&resourceVersionMatch=NotOlderThan"
    events = watched(kube, f"{path}?{query}", lambda: None)
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK", "BOOKMARK"]
    marks = events[1]["object"]["metadata"]["annotations"]
    assert marks == {"k8s.io/initial-events-end": "true"}


def test_custom_kinds_are_served_once_they_are_defined(kube: Client, space: str) -> None:
    definition = {
        "metadata": {"name": "ships.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "ships", "kind": "Ship", "singular": "ship"},
            "versions": [{
                "name": "v1", "served": True, "storage": True,
                "schema": {"openAPIV3Schema": {"properties": {"spec": {}}}},
                "additionalPrinterColumns": [
                    {"name": "Sails", "type": "integer", "jsonPath": ".spec.sails"}],
            }],
        },
    }  # fmt: skip
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    kube.create(path, definition)
    made = kube.until(f"{path}/ships.example.com", lambda d: d.get("status"))
    assert made["status"]["conditions"][1]["type"] == "Established"
    ship = {"apiVersion": "example.com/v1", "kind": "Ship", "metadata": {"name": "s"},
            "spec": {"sails": 3}}  # fmt: skip
    ships = f"/apis/example.com/v1/namespaces/{space}/ships"
    kube.apply(f"{ships}/s", ship)
    assert kube.get(ships)["items"][0]["kind"] == "Ship"
    table = kube.get(ships, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert table["rows"][0]["cells"][:2] == ["s", 3]
    kube.delete(f"{path}/ships.example.com")
    kube.gone(ships)


def test_paths_and_methods_that_are_not_there_are_refused(kube: Client, space: str) -> None:
    assert kube.refused("GET", "/api/v1/nothings")["code"] == 404
    assert kube.refused("GET", "/apis/nothing/v1")["code"] == 404
    assert kube.refused("POST", f"/api/v1/namespaces/{space}/pods/x", {})["code"] == 405
    assert kube.refused("PUT", f"/api/v1/namespaces/{space}/pods", {})["code"] == 405
    assert kube.refused("DELETE", "/api/v1/namespaces")["code"] == 405


def test_an_applied_time_in_yaml_is_a_text(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps/y"
    body = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\n  annotations:\n"
        "    at: 2026-11-20T12:00:00Z\ndata: {on: 'yes'}\n"
    )
    answer = kube.http.patch(
        f"{path}?fieldManager=t", content=body, headers={"Content-Type": APPLY}
    )
    assert answer.json()["metadata"]["annotations"] == {"at": "2026-11-20T12:00:00Z"}
    assert answer.json()["data"] == {"true": "yes"}


def test_nonsense_is_answered_with_a_status(kube: Client, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps"
    for body in ([], "x", {"metadata": []}, {"metadata": {"labels": "x"}}, {"data": {"a": 1}}):
        assert kube.refused("POST", path, body)["kind"] == "Status"
        apply = kube.refused("PATCH", f"{path}/a?fieldManager=t", body, content_type=APPLY)
        assert apply["kind"] == "Status"
    broken = {"metadata": {"name": "a.b"}, "spec": {"group": "b"}}
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert kube.refused("POST", definitions, broken)["reason"] == "Invalid"
