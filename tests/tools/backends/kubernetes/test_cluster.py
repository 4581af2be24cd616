"""Looking at a cluster with one's own rights and with those of a ServiceAccount."""

import uuid
from typing import Any

import pytest

from tests.tools.backends.kubernetes.bodies import by, deployment, job, make, prepared, until
from tools.backends.kubernetes import Identity, KubeCluster
from tools.errors import Code, ToolError
from tools.plan import Apply, Create

pytestmark = pytest.mark.cluster


async def settings(cluster: KubeCluster, namespace: str, *names: str) -> None:
    for name in names:
        ref = cluster.ref("v1/ConfigMap", name, namespace)
        body = {"metadata": {"labels": {"of": name[:1]}}, "data": {"a": "1"}}
        await make(cluster, Apply(id="a", ref=ref, body=body))


async def test_an_object_is_read_whole_and_one_that_is_not_there_is_not_found(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    await settings(cluster, namespace, "one")
    assert (await cluster.get(cluster.ref("v1/ConfigMap", "one", namespace)))["data"] == {"a": "1"}
    none = cluster.ref("v1/ConfigMap", "none", namespace)
    assert await cluster.find(none) is None
    with pytest.raises(ToolError) as refused:
        await cluster.get(none)
    assert refused.value.code is Code.NOT_FOUND


async def test_a_list_pages_and_holds_only_metadata_unless_the_whole_is_wanted(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    await settings(cluster, namespace, "a1", "a2", "a3", "b1")
    first, following = await cluster.list("cm", namespace, labels="of=a", limit=2)
    assert [item["metadata"]["name"] for item in first] == ["a1", "a2"]
    assert first[0]["kind"] == "ConfigMap"
    assert "data" not in first[0]
    rest, end = await cluster.list(
        "cm", namespace, labels="of=a", limit=2, next=following, parts="whole"
    )
    assert [(item["metadata"]["name"], item["data"]) for item in rest] == [("a3", {"a": "1"})]
    assert end == ""
    one, _ = await cluster.list("cm", namespace, fields="metadata.name=b1")
    assert [item["metadata"]["name"] for item in one] == ["b1"]


async def test_a_table_has_the_servers_own_columns(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    await prepared(cluster, namespace, deployment(replicas=1))
    table = await cluster.table("deploy", namespace)
    row = table.rows[0]
    assert {"name", "ready", "up_to_date", "available", "age", "images"} <= row.keys()
    assert (row["name"], row["namespace"], row["images"]) == ("web", namespace, "busybox:1.37")
    assert "metadata" not in row
    labelled = await cluster.table("deploy", namespace, metadata=True)
    assert labelled.rows[0]["metadata"]["uid"]
    assert "managedFields" not in labelled.rows[0]["metadata"]


async def test_a_table_over_all_namespaces_says_which_each_row_is_in(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    mark = uuid.uuid4().hex[:8]
    for name in ("one", "two"):
        ref = cluster.ref("v1/ConfigMap", name, namespace)
        await make(cluster, Apply(id="a", ref=ref, body={"metadata": {"labels": {"mark": mark}}}))
    table = await cluster.table("cm", labels=f"mark={mark}", limit=1)
    assert [(r["namespace"], r["name"]) for r in table.rows] == [(namespace, "one")]
    rest = []
    # With a selector, the server finds out only with the next page that there is no more.
    while table.next and len(rest) < 3:
        table = await cluster.table("cm", labels=f"mark={mark}", limit=1, next=table.next)
        rest += [row["name"] for row in table.rows]
    assert rest == ["two"]


async def test_a_cursor_that_is_nonsense_is_refused(kube: Any, namespace: str) -> None:
    with pytest.raises(ToolError) as refused:
        await KubeCluster(kube.api).table("cm", namespace, next="abc")
    assert refused.value.code is Code.INVALID_ARGUMENT


async def test_a_namespaced_kind_without_a_namespace_is_refused(kube: Any) -> None:
    cluster = KubeCluster(kube.api)
    with pytest.raises(ToolError) as refused:
        await cluster.get(cluster.ref("v1/Pod", "web"))
    assert refused.value.code is Code.INVALID_ARGUMENT


async def test_the_log_of_a_pod_is_read_and_followed_to_its_end(kube: Any, namespace: str) -> None:
    cluster = KubeCluster(kube.api)
    ref = cluster.ref("batch/v1/Job", "speaks", namespace)
    await make(cluster, Create(id="c", ref=ref, body=job(command="echo one; echo two")))

    async def ended() -> bool:
        pods, _ = await cluster.list("po", namespace, labels="job-name=speaks", parts="whole")
        return bool(pods) and (pods[0].get("status") or {}).get("phase") == "Succeeded"

    await until(ended)
    pods, _ = await cluster.list("po", namespace, labels="job-name=speaks")
    name = pods[0]["metadata"]["name"]
    log = await cluster.logs(namespace, name)
    assert log.splitlines()[:2] == ["one", "two"]
    assert (await cluster.logs(namespace, name, tail=1)).splitlines() == log.splitlines()[-1:]
    assert [line async for line in cluster.follow(namespace, name)] == log.splitlines()
    stamped = await cluster.logs(namespace, name, timestamps=True)
    assert stamped.splitlines()[0].endswith(" one")
    with pytest.raises(ToolError) as refused:
        await cluster.logs(namespace, "none")
    assert refused.value.code is Code.NOT_FOUND


async def test_a_probe_shows_what_would_be_stored_and_stores_nothing(
    kube: Any, namespace: str
) -> None:
    cluster = KubeCluster(kube.api)
    spec = {"containers": [{"name": "c", "image": "busybox:1.37"}]}
    stored = await cluster.probe("v1/Pod", namespace, {"metadata": {"name": "p"}, "spec": spec})
    assert stored["spec"]["containers"][0]["image"] == "busybox:1.37"
    assert await cluster.find(cluster.ref("v1/Pod", "p", namespace)) is None


async def test_a_service_account_has_its_own_rights_and_no_more(kube: Any, namespace: str) -> None:
    own = KubeCluster(kube.api)
    name = "pilothouse-viewer"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    for kind, body in (
        ("v1/ServiceAccount", {}),
        ("rbac.authorization.k8s.io/v1/Role", {"rules": rules}),
        ("rbac.authorization.k8s.io/v1/RoleBinding", {"roleRef": role, "subjects": [subject]}),
    ):
        await make(own, Apply(id="a", ref=own.ref(kind, name, namespace), body=body))
    await settings(own, namespace, "one")
    cluster = KubeCluster(kube.api, Identity(name, namespace, person="alice", subject="bot"))

    async def may() -> bool:
        return await cluster.allowed("list", "ConfigMap", namespace)

    await until(may)
    assert not await cluster.allowed("list", "Secret", namespace)
    assert not await cluster.allowed("list", "ConfigMap", "default")
    assert await own.allowed("list", "Secret", namespace)
    ref = cluster.ref("v1/ConfigMap", "one", namespace)
    assert (await cluster.get(ref))["data"] == {"a": "1"}
    for refused_of in (
        cluster.list("Secret", namespace),
        cluster.list("ConfigMap", "default"),
        cluster.get(cluster.ref("v1/Pod", "x", "nowhere")),
        by(cluster, ref, "user", {"data": {"a": "2"}}),
    ):
        with pytest.raises(ToolError) as refused:
            await refused_of
        assert refused.value.code is Code.PERMISSION_DENIED
        assert f"system:serviceaccount:{namespace}:{name}" in refused.value.message
