"""The ring of events, and its readers."""

import asyncio

import pytest

from server.events import Dropped, Event, Hub, Subscription
from tools.calls import Caller, Grant, Role

OLIVIA = Caller.of("olivia", operator=True)
ADA = Caller.of("ada", grants={"acme": Grant(role=Role.ADMIN, uid="u1")})


def call(hub: Hub, n: int, **about: str) -> None:
    hub.publish("call", {"n": n}, **about)


async def read(reader: Subscription) -> list[int]:
    return [event.data["n"] for event in await reader.more(0.01)]


async def test_a_reader_is_told_what_comes_from_then_on() -> None:
    hub = Hub()
    call(hub, 1)
    with Subscription(hub, OLIVIA) as reader:
        assert await read(reader) == []
        call(hub, 2)
        call(hub, 3)
        assert await read(reader) == [2, 3]


async def test_one_is_told_of_ones_own_and_of_ones_tenants_and_of_nothing_else() -> None:
    hub = Hub()
    with Subscription(hub, ADA) as reader, Subscription(hub, OLIVIA) as operator:
        call(hub, 1, tenant="acme", tenant_uid="u1")
        call(hub, 2, tenant="acme", tenant_uid="an earlier acme")
        call(hub, 3, tenant="globex", tenant_uid="u2", person="ada")
        call(hub, 4, tenant="globex", tenant_uid="u2", person="bob")
        call(hub, 5)
        assert await read(reader) == [1, 3]
        assert await read(operator) == [1, 2, 3, 4, 5]


async def test_who_comes_back_reads_on_without_a_gap_or_a_repeat() -> None:
    hub = Hub(kept=10)
    with Subscription(hub, OLIVIA) as reader:
        call(hub, 1)
        await read(reader)
        seen = reader.position
    for n in range(2, 9):
        call(hub, n)
    with Subscription(hub, OLIVIA, since=seen) as reader:
        assert await read(reader) == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("lost", ["of before", "made up", "from afar", "too old", "of later"])
async def test_who_was_away_for_too_long_is_told_to_read_anew(lost: str) -> None:
    hub = Hub(kept=10)
    ids = {"of before": Hub().position, "made up": "9", "from afar": "x-٣", "too old": hub.position}
    ids["of later"] = f"{hub.epoch}-999"
    for n in range(30):
        call(hub, n)
    with Subscription(hub, OLIVIA, since=ids[lost]) as reader:
        (reset,) = await reader.more(0.01)
        assert reset.kind == "reset"
        assert reset.id == hub.position
        call(hub, 99)
        assert await read(reader) == [99]


async def test_a_slow_reader_is_let_go_of_with_a_reason_and_the_ring_stays_small() -> None:
    hub = Hub(kept=10)
    with Subscription(hub, OLIVIA) as reader:
        for n in range(1000):
            call(hub, n)
        with pytest.raises(Dropped, match="too slowly"):
            await reader.more(0.01)
    assert len(hub._events) <= 20
    assert hub.readers == 0


async def test_readers_wait_all_at_once_and_are_all_woken() -> None:
    hub = Hub()
    readers = [Subscription(hub, OLIVIA) for _ in range(500)]
    waiting = [asyncio.create_task(reader.more(30)) for reader in readers]
    await asyncio.sleep(0)
    call(hub, 1)
    found = await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert all([event.data for event in told] == [{"n": 1}] for told in found)
    assert len({id(told[0]) for told in found}) == 1


async def test_who_has_gone_is_forgotten() -> None:
    hub = Hub()
    waiting = asyncio.create_task(Subscription(hub, OLIVIA).more(30))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not hub._waiting


async def test_readers_end_when_pilothouse_does() -> None:
    hub = Hub()
    waiting = asyncio.create_task(Subscription(hub, OLIVIA).more(30))
    await asyncio.sleep(0)
    hub.close()
    with pytest.raises(Dropped, match="stops"):
        await asyncio.wait_for(waiting, 10)


def test_an_event_is_spelt_alike_through_both_ways() -> None:
    event = Event("e-1", "call", {"title": "two\nlines"}, 1)
    assert event.lines == b'id: e-1\nevent: call\ndata: {"title":"two\\nlines"}\n\n'
    assert event.message == '{"id":"e-1","event":"call","data":{"title":"two\\nlines"}}'
