"""Objects of any kind: listed, shown, applied; and the events about them."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.tools.conftest import Hands, deployment, eventually
from tools import resources
from tools.calls import Caller
from tools.errors import Code, ToolError
from tools.plan import Apply
from tools.resources import (
    EventsArguments,
    ResourceApply,
    ResourceGetArguments,
    ResourceListArguments,
    parsed,
    shown,
)

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  colour: blue\n"
OPERATOR = Caller.of("olga", operator=True)
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\n"


# ---- manifests


def test_a_manifest_is_an_object_or_one_as_yaml() -> None:
    thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
    assert parsed(thing) == thing
    assert parsed(CONFIG)["data"] == {"colour": "blue"}
    assert parsed("---\n" + CONFIG + "---\n")["kind"] == "ConfigMap"
    assert parsed(CONFIG + "  on: 2026-01-01\n")["data"]["true"] == "2026-01-01"


@pytest.mark.parametrize(
    "manifest",
    [
        "", "- a", "just words", "a: [", BOMB, CONFIG + "---\n" + CONFIG, "{" * 20_000,
        "!!python/object/apply:os.system [ls]", "kind: X\nmetadata: {name: a}",
        "apiVersion: v1\nmetadata: {name: a}", "apiVersion: v1\nkind: X", "apiVersion: v1\nkind: [X]",
        "apiVersion: v1\nkind: X\nmetadata: {generateName: a-}",
        "apiVersion: v1\nkind: X\nmetadata: {name: 1}", "apiVersion: v1\nkind: X\nmetadata: a",
        "apiVersion: v1\nkind: X\nmetadata: {name: a}\nspec: " + "[" * 100 + "]" * 100,
        {}, {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "labels": ["a"]}},
        {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}, "data": {"x": "y" * 300_000}},
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(manifest: Any) -> None:
    with pytest.raises(ToolError) as refused:
        parsed(manifest)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert refused.value.hint


def test_a_manifest_has_a_bound() -> None:
    with pytest.raises(ValidationError):
        ResourceApply(tenant="acme", manifest="x" * 300_000)


def test_a_secret_is_shown_with_its_keys_alone() -> None:
    note = "kubectl.kubernetes.io/last-applied-configuration"
    secret = {
        "kind": "Secret",
        "metadata": {"name": "s", "managedFields": [{}], "annotations": {note: "x", "a": "b"}},
        "data": {"password": "aHVudGVyMg=="},
    }
    told = shown(secret)
    assert told["data"] == {"password": "•••"}
    assert told["metadata"] == {"name": "s", "annotations": {"a": "b"}}


# ---- on a cluster


@pytest.mark.cluster
class TestOnACluster:
    async def apply(self, hands: Hands, manifest: Any, caller: Any = None, **more: Any) -> Any:
        asked = ResourceApply(tenant=hands.tenant, manifest=manifest, **more)
        return await resources.apply(hands.context(caller), asked)

    async def get(self, hands: Hands, kind: str, name: str) -> dict[str, Any]:
        asked = ResourceGetArguments(tenant=hands.tenant, kind=kind, name=name)
        return (await resources.get(hands.context(), asked)).object

    async def test_an_object_is_applied_shown_listed_and_taken_back(self, hands: Hands) -> None:
        plan = await self.apply(hands, CONFIG)
        (change,) = plan.changes
        assert isinstance(change, Apply)
        assert change.body == {"metadata": {}, "data": {"colour": "blue"}}
        assert plan.summary == f"Create ConfigMap settings in {hands.tenant}"
        done = await hands.carry_out(plan)
        told = await self.get(hands, "cm", "settings")
        assert told["data"] == {"colour": "blue"}
        assert "managedFields" not in told["metadata"]
        asked = ResourceListArguments(tenant=hands.tenant, kind="ConfigMap")
        listed = await resources.list_resources(hands.context(), asked)
        assert "settings" in [row["name"] for row in listed.rows]
        assert listed.kind == "v1/ConfigMap"
        assert (await self.apply(hands, CONFIG)).summary.startswith("Update")
        await hands.undo(done)
        assert await hands.get("v1/ConfigMap", "settings") is None

    async def test_lists_go_by_label_and_by_page(self, hands: Hands) -> None:
        for name in ("a", "b", "c"):
            labels = {"team": "x" if name == "c" else "y"}
            await hands.apply("v1/ConfigMap", name, metadata={"labels": labels}, data={"k": "v"})

        async def listed(**more: Any) -> resources.ResourceList:
            asked = ResourceListArguments(tenant=hands.tenant, kind="cm", **more)
            return await resources.list_resources(hands.context(), asked)

        assert [row["name"] for row in (await listed(labels="team=x")).rows] == ["c"]
        first = await listed(labels="team=y", limit=1)
        second = await listed(labels="team=y", limit=1, next=first.next)
        assert [row["name"] for row in first.rows + second.rows] == ["a", "b"]
        # The server goes on looking for the label, and finds nothing.
        third = await listed(labels="team=y", limit=1, next=second.next) if second.next else first
        assert not third.rows or not second.next

    async def test_a_secrets_data_stays_where_it_is(self, hands: Hands) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}}
        plan = await self.apply(hands, secret | {"stringData": {"password": "hunter2"}})
        await hands.carry_out(plan)
        assert (await self.get(hands, "secret", "db"))["data"] == {"password": "•••"}

    async def test_a_manifest_for_another_namespace_is_refused(self, hands: Hands) -> None:
        with pytest.raises(ToolError, match="is for namespace default") as refused:
            await self.apply(hands, CONFIG.replace("settings", "settings\n  namespace: default"))
        assert refused.value.code is Code.INVALID_ARGUMENT

    @pytest.mark.parametrize(
        ("version", "kind"),
        [
            ("v1", "Namespace"),
            ("v1", "ResourceQuota"),
            ("networking.k8s.io/v1", "NetworkPolicy"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ],
    )
    async def test_what_bounds_a_tenant_is_not_the_tenants_to_set(
        self, hands: Hands, version: str, kind: str
    ) -> None:
        manifest = {"apiVersion": version, "kind": kind, "metadata": {"name": "mine"}}
        with pytest.raises(ToolError) as refused:
            await self.apply(hands, manifest)
        assert refused.value.code is Code.PERMISSION_DENIED
        plan = await self.apply(hands, manifest, OPERATOR)
        assert plan.destructive

    async def test_a_lasting_credential_is_refused_to_all(self, hands: Hands) -> None:
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/service-account-token",
            "metadata": {"name": "token"},
        }
        with pytest.raises(ToolError) as refused:
            await self.apply(hands, manifest, OPERATOR)
        assert refused.value.code is Code.PERMISSION_DENIED

    async def test_what_the_platform_keeps_is_refused(self, hands: Hands) -> None:
        ours = {"labels": {"app.kubernetes.io/managed-by": "pilothouse"}}
        await hands.apply("v1/ConfigMap", "settings", metadata=ours)
        with pytest.raises(ToolError, match="belongs to the platform"):
            await self.apply(hands, CONFIG)
        manifest = parsed(CONFIG.replace("settings", "other"))
        with pytest.raises(ToolError, match="belongs to the platform"):
            await self.apply(hands, manifest | {"metadata": {"name": "other"} | ours})

    async def test_kinds_of_the_whole_cluster_are_for_operators(self, hands: Hands) -> None:
        asked = ResourceListArguments(tenant=hands.tenant, kind="Namespace")
        with pytest.raises(ToolError) as refused:
            await resources.list_resources(hands.context(), asked)
        assert refused.value.code is Code.PERMISSION_DENIED
        listed = await resources.list_resources(hands.context(OPERATOR), asked)
        assert hands.tenant in [row["name"] for row in listed.rows]

    async def test_a_kind_or_an_object_that_is_not_there_is_said(self, hands: Hands) -> None:
        with pytest.raises(ToolError, match="no kind"):
            await self.get(hands, "Unicorn", "x")
        with pytest.raises(ToolError) as refused:
            await self.get(hands, "cm", "none")
        assert refused.value.code is Code.NOT_FOUND
        with pytest.raises(ToolError) as refused:
            await self.get(hands, "cm", "../../secrets/x")
        assert refused.value.code is Code.INVALID_ARGUMENT

    async def test_another_managers_fields_are_taken_over_only_by_force(self, hands: Hands) -> None:
        api = hands.writes.api
        body = parsed(CONFIG.replace("blue", "red"))
        await api.request(
            "PATCH", f"/api/v1/namespaces/{hands.tenant}/configmaps/settings",
            {"fieldManager": "somebody"}, body, content_type="application/apply-patch+yaml",
        )  # fmt: skip
        plan = await self.apply(hands, CONFIG)
        with pytest.raises(ToolError, match="force=true"):
            await hands.writes.preview(plan.changes[0], plan)
        done = await hands.carry_out(await self.apply(hands, CONFIG, force=True))
        assert (await self.get(hands, "cm", "settings"))["data"] == {"colour": "blue"}
        await hands.undo(done)
        assert (await self.get(hands, "cm", "settings"))["data"] == {"colour": "red"}

    async def test_events_are_told_newest_first_and_the_same_once(self, hands: Hands) -> None:
        await hands.apply("apps/v1/Deployment", "web", **deployment("registry.invalid/none:1"))

        async def listed(**more: Any) -> list[Any]:
            asked = EventsArguments(tenant=hands.tenant, **more)
            return (await resources.list_events(hands.context(), asked)).events

        async def failed() -> list[Any]:
            return await listed(only_warnings=True)

        warnings = await eventually(failed)
        assert {event.type for event in warnings} == {"Warning"}
        told = [(e.object, e.reason, e.message) for e in await listed()]
        assert len(told) == len(set(told))
        of_it = await listed(object="deploy/web")
        assert {event.object for event in of_it} == {"Deployment/web"}
        assert await listed(object="nobody") == []
        assert len(await listed(limit=1)) == 1
