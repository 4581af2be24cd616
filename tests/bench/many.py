"""`tenant_list` of few tenants and of many: its time for each tenant stays the same."""

import asyncio
from contextlib import AsyncExitStack

from tests.bench.bare import Cluster
from tests.bench.measuring import Figure, Go, in_turns, medians, ratio, timed
from tests.bench.processes import World, practice_cluster
from tests.house import OLIVIA, House, opened, settings
from tools.provisioning import TenantSpec, desired
from tools.tiers import DEFAULT_TIERS, Tiers

SIZES = (50, 100, 250, 500)
PAIRS, LISTS = 11, 5
SIDE_BY_SIDE = 16


async def tenants(here: World) -> list[Figure]:
    """`tenant_list` through the gate, page by page of the usual length to the end, in a practice
    cluster for each number of tenants: the time for each tenant, against that where there are 50.
    Where it is 1, the time grows as the list does; 0.1 is for what the machine does to it."""
    async with AsyncExitStack() as stack:
        lists: dict[int, Go] = {}
        for size in SIZES:
            kubeconfig = stack.enter_context(practice_cluster(here.home, f"with-{size}"))
            await _populated(kubeconfig, size)
            state = here.home / f"tenants-{size}"
            state.mkdir()
            house = await stack.enter_async_context(
                opened(settings(state, kubeconfig, here.aws_url))
            )
            lists[size] = timed(lambda house=house, size=size: _listed(house, size))
        figures = []
        few = SIZES[0]
        for size in SIZES[1:]:
            pairs = medians(await in_turns(lists[size], lists[few], PAIRS * LISTS, warm=3), LISTS)
            each = [(a / size, b / few) for a, b in pairs]
            what = f"`tenant_list`, a tenant of {size}"
            figures.append(ratio(what, 1.1, each))
    return figures


async def _listed(house: House, size: int) -> None:
    """Page by page, and every tenant once."""
    names: set[str] = set()
    next = ""
    while True:
        found = await house.call(OLIVIA, "tenant_list", next=next)
        assert found.answer is not None, found
        names |= {tenant["name"] for tenant in found.answer["tenants"]}
        if not (next := found.answer.get("next", "")):
            break
    assert len(names) == size


async def _populated(kubeconfig: str, size: int) -> None:
    cluster = Cluster(kubeconfig)
    await cluster.connect()
    slots = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(n: int) -> None:
        spec = TenantSpec(name=f"tenant-{n:03d}", uid=f"{n:08x}", cluster="default", plan="free")
        namespace = desired(spec, Tiers(tiers=DEFAULT_TIERS), None)[0]
        body = namespace.after | {"apiVersion": "v1", "kind": "Namespace"}
        body["metadata"] = body["metadata"] | {"name": spec.name}
        async with slots:
            await cluster.request("POST", "/api/v1/namespaces", json=body)

    await asyncio.gather(*(one(n) for n in range(size)))
    await cluster.close()
