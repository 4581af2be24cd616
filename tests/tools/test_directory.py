"""Where tenants are, remembered for as long as is said."""

import asyncio
from typing import Any

import pytest

from tools import directory
from tools.directory import TenantDirectory
from tools.errors import Code, ToolError
from tools.plan import Ref


def namespace(name: str, uid: str = "1", **metadata: Any) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/managed-by": "pilothouse",
        "pilothouse.dev/tenant": name,
        "pilothouse.dev/tenant-uid": uid,
    }
    return {"metadata": {"name": name, "labels": labels} | metadata}


class Namespaces:
    """As much of a cluster as a directory asks, counting what is asked."""

    def __init__(self, name: str, *there: dict[str, Any]) -> None:
        self.name = name
        self.there = {n["metadata"]["name"]: n for n in there}
        self.asked = 0
        self.down = False

    def ref(self, kind: str, name: str, namespace: str = "") -> Ref:
        return Ref(at=self.name, kind=kind, name=name, namespace=namespace)

    async def find(self, ref: Ref) -> dict[str, Any] | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise ToolError(Code.UNAVAILABLE, "down")
        return self.there.get(ref.name)

    async def list(self, kind: str, **how: Any) -> tuple[list[dict[str, Any]], str]:
        self.asked += 1
        at = int(how["next"] or 0)
        page = list(self.there.values())[at : at + 2]
        return page, str(at + 2) if at + 2 < len(self.there) else ""


class House:
    def __init__(self, *clusters: Namespaces) -> None:
        self.now = 0.0
        named: Any = {c.name: c for c in clusters}
        self.directory = TenantDirectory(named, lambda: self.now, ttl_s=5)


async def test_a_tenant_is_found_in_any_cluster_and_remembered() -> None:
    one, two = Namespaces("one"), Namespaces("two", namespace("acme"))
    house = House(one, two)
    for _ in range(3):
        found = await house.directory.find("acme")
        assert found is not None
        assert (found.cluster, found.uid) == ("two", "1")
    assert (one.asked, two.asked) == (1, 1)
    house.now = 5.1
    await house.directory.find("acme")
    assert two.asked == 2


async def test_what_is_missing_is_asked_for_again_sooner() -> None:
    cluster = Namespaces("one", {"metadata": {"name": "plain", "labels": {}}})
    house = House(cluster)
    assert await house.directory.find("acme") is None
    assert await house.directory.find("plain") is None
    cluster.there["acme"] = namespace("acme")
    house.now = 1.1
    assert await house.directory.find("acme") is not None


async def test_all_who_ask_at_once_are_answered_with_one_request() -> None:
    cluster = Namespaces("one", namespace("acme"))
    house = House(cluster)
    await asyncio.gather(*(house.directory.find("acme") for _ in range(32)))
    assert cluster.asked == 1


async def test_a_forgotten_tenant_is_looked_for_again_even_if_it_was_being_looked_for() -> None:
    cluster = Namespaces("one", namespace("acme", uid="1"))
    house = House(cluster)
    asking = asyncio.create_task(house.directory.find("acme"))
    await asyncio.sleep(0)
    house.directory.forget("acme")
    await asking
    cluster.there["acme"] = namespace("acme", uid="2")
    found = await house.directory.find("acme")
    assert found is not None
    assert found.uid == "2"


async def test_a_cluster_that_is_down_hides_no_tenant_of_another_and_denies_none() -> None:
    one, two = Namespaces("one"), Namespaces("two", namespace("acme"))
    one.down = True
    house = House(one, two)
    assert await house.directory.find("acme") is not None
    with pytest.raises(ToolError, match="down"):
        await house.directory.find("bolt")


async def test_of_two_while_one_moves_the_one_that_stays_is_found() -> None:
    going = namespace("acme", deletionTimestamp="2026-01-01T00:00:00Z")
    house = House(Namespaces("one", going), Namespaces("two", namespace("acme")))
    found = await house.directory.find("acme")
    assert found is not None
    assert found.cluster == "two"


async def test_all_tenants_are_read_page_by_page() -> None:
    one = Namespaces("one", *(namespace(f"a{n}") for n in range(5)))
    house = House(one, Namespaces("two", namespace("b")))
    assert len(await house.directory.all()) == 6
    assert one.asked == 3
    await house.directory.all()
    assert one.asked == 3


async def test_no_more_is_remembered_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(directory, "MOST", 2)
    house = House(Namespaces("one", *(namespace(n) for n in "abc")))
    for name in "abc":
        await house.directory.find(name)
    assert len(house.directory._known) == 2
