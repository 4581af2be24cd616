"""Tenants listed by the page, and only those that a caller may see."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.executor.kubernetes import KubeWrites
from server.sandbox import PracticeCluster
from tests.tools.worlds import World
from tools.backends.kubernetes import Api
from tools.calls import Caller, Grant, Role
from tools.errors import Code, ToolError
from tools.plan import Apply
from tools.provisioning import TenantSpec, desired
from tools.tenant_views import TenantGet, TenantListArguments, get, list_
from tools.tiers import DEFAULT_TIERS, Tiers


@pytest.fixture(scope="module")
def kubeconfigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    where = tmp_path_factory.mktemp("clusters")
    with PracticeCluster().in_thread() as one, PracticeCluster().in_thread() as two:
        files = {"one": where / "one", "two": where / "two"}
        one.kubeconfig(path=files["one"])
        two.kubeconfig(path=files["two"])
        yield files


class Counting(KubeWrites):
    lists = 0

    async def list(self, *args: Any, **how: Any) -> Any:
        self.lists += 1
        return await super().list(*args, **how)


@pytest.fixture
async def world(kubeconfigs: dict[str, Path]) -> Any:
    """Seven tenants in one cluster, t0 to t6, every other one on tier pro, and one in another."""
    apis = {name: Api(name, str(file)) for name, file in kubeconfigs.items()}
    world = World({name: Counting(api) for name, api in apis.items()})
    specs = [
        TenantSpec(name=f"t{n}", uid=f"u{n}", cluster="one", plan="pro" if n % 2 else "free",
                   owner=f"owner{n}@example.com", created="2026-01-01T00:00:00Z")
        for n in range(7)
    ]  # fmt: skip
    specs.append(TenantSpec(name="other", uid="u9", cluster="two", plan="free"))
    for spec in specs:
        namespace = desired(spec, Tiers(tiers=DEFAULT_TIERS), None)[0]
        assert isinstance(namespace, Apply)
        await world.writes(namespace.ref).apply(namespace, "c0")
    yield world
    for api in apis.values():
        await api.close()


async def names(world: World, **args: Any) -> list[list[str]]:
    """All pages."""
    caller = args.pop("caller", None)
    how = {"caller": caller} if caller else {}
    pages, next = [], ""
    while True:
        page = await world.ask(list_, TenantListArguments(**args, next=next), **how)
        pages.append([row.name for row in page.tenants])
        if not (next := page.next):
            return pages


async def test_tenants_of_all_clusters_are_listed_by_the_page_a_request_each(
    world: World,
) -> None:
    pages = await names(world, limit=3)
    assert [len(page) for page in pages] == [3, 3, 2]
    assert sorted(n for page in pages for n in page) == ["other", *(f"t{n}" for n in range(7))]
    assert [c.lists for c in world.clusters.values()] == [3, 1]  # type: ignore[attr-defined]


async def test_tenants_are_listed_by_tier_isolation_and_text(world: World) -> None:
    assert await names(world, plan="pro") == [["t1", "t3", "t5"]]
    assert await names(world, isolation="cluster") == [[]]
    assert await names(world, text="OWNER4") == [["t4"]]
    assert await names(world, text="t", plan="free", limit=3) == [["other", "t0", "t2"],
                                                                  ["t4", "t6"]]  # fmt: skip


async def test_a_caller_sees_the_tenants_that_they_have_a_role_in_and_no_namesake(
    world: World,
) -> None:
    grants = {
        "t1": Grant(role=Role.VIEWER, uid="u1"),
        "t2": Grant(role=Role.ADMIN, uid="of-an-earlier-t2"),
        "other": Grant(role=Role.USER, uid="u9"),
        "gone": Grant(role=Role.USER, uid="u8"),
    }
    caller = Caller.of("ann", grants=grants)
    assert await names(world, caller=caller, limit=1) == [["other"], ["t1"]]
    assert await names(world, caller=caller, plan="pro") == [["t1"]]


@pytest.mark.parametrize("next", ["nonsense", "moon:x", "after:t1"])
async def test_a_cursor_of_something_else_is_refused(world: World, next: str) -> None:
    with pytest.raises(ToolError) as caught:
        await world.ask(list_, TenantListArguments(next=next))
    assert caught.value.code is Code.INVALID_ARGUMENT


async def test_a_tenant_that_is_half_there_says_what_is_missing(world: World) -> None:
    answer = await world.ask(get, TenantGet(tenant="t1", drift=True))
    assert answer.drift == 13
    assert "ResourceQuota plan in t1 is missing" in answer.drifted
    quiet = await world.ask(get, TenantGet(tenant="t1"))
    assert (quiet.drift, quiet.drifted) == (13, [])
