"""The ring of events, and its readers."""

import asyncio
import json
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Any

import pytest

from server.events import AT_ONCE, KINDS, MOST_AT_ONCE, Dropped, Event, Hub, Reader, Watch
from tools.calls import Caller, Grant, Role

OLIVIA = Caller.of("olivia", operator=True)
ADA = Caller.of("ada", grants={"acme": Grant(role=Role.ADMIN, uid="u1")})


class Wire(asyncio.WriteTransport):
    """A connection that keeps what is written, and takes no more while it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[bytes] = []
        self.full = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.got.append(data)

    def get_write_buffer_size(self) -> int:
        return 1 << 20 if self.full else 0

    def is_closing(self) -> bool:
        return False

    @property
    def told(self) -> list[Any]:
        return [json.loads(line) for part in self.got for line in part.splitlines()]


def spelt(several: Sequence[Event]) -> bytes:
    return b"".join(event.text.encode() + b"\n" for event in several)


def following(
    hub: Hub, caller: Caller = OLIVIA, since: str = "", kinds: Collection[str] = KINDS
) -> tuple[Reader, Wire]:
    wire = Wire()
    return Reader(hub, caller, kinds, since, spelt, wire), wire


def call(hub: Hub, n: int, **about: str) -> None:
    hub.publish("call", n, **about)  # type: ignore[arg-type]


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


async def test_a_reader_is_told_what_comes_from_then_on_and_nothing_once_they_left() -> None:
    hub = Hub()
    call(hub, 1)
    reader, wire = following(hub)
    with reader:
        call(hub, 2)
        call(hub, 3)
        await until(lambda: wire.told == [2, 3])
    assert hub.readers == 0
    call(hub, 4)
    other, later = following(hub)
    with other:
        call(hub, 5)
        await until(lambda: later.told == [5])
    assert wire.told == [2, 3]


async def test_one_is_told_of_ones_own_and_of_ones_tenants_and_of_nothing_else() -> None:
    hub = Hub()
    (ada, hers), (olivia, all) = following(hub, ADA), following(hub)
    with ada, olivia:
        call(hub, 1, tenant="acme", tenant_uid="u1")
        call(hub, 2, tenant="acme", tenant_uid="an earlier acme")
        call(hub, 3, tenant="globex", tenant_uid="u2", person="ada")
        call(hub, 4, tenant="globex", tenant_uid="u2", person="bob")
        call(hub, 5)
        await until(lambda: ada.number == olivia.number == 5)
    assert hers.told == [1, 3]
    assert all.told == [1, 2, 3, 4, 5]


async def test_what_somebody_may_see_changes_with_their_rights() -> None:
    hub = Hub()
    ada, wire = following(hub, ADA)
    with ada:
        call(hub, 1, tenant="acme", tenant_uid="u1")
        await until(lambda: wire.told)
        ada.is_now(Caller.of("ada"))
        call(hub, 2, tenant="acme", tenant_uid="u1")
        await until(lambda: ada.number == 2)
    assert wire.told == [1]


async def test_who_comes_back_reads_on_without_a_gap_or_a_repeat() -> None:
    hub = Hub(kept=10)
    reader, _ = following(hub)
    with reader:
        call(hub, 1)
        await until(lambda: reader.number == 1)
    for n in range(2, 9):
        call(hub, n)
    again, wire = following(hub, since=reader.position)
    with again:
        await until(lambda: wire.told == [2, 3, 4, 5, 6, 7, 8])


@pytest.mark.parametrize("lost", ["of before", "made up", "from afar", "too old", "of later"])
async def test_who_was_away_for_too_long_is_told_to_read_anew(lost: str) -> None:
    hub = Hub(kept=10)
    ids = {"of before": Hub().position, "made up": "9", "from afar": "x-٣", "too old": hub.position}
    ids["of later"] = f"{hub.epoch}-999"
    for n in range(30):
        call(hub, n)
    reader, wire = following(hub, since=ids[lost])
    (reset,) = reader.first
    assert (reset.kind, reset.id) == ("reset", hub.position)
    with reader:
        call(hub, 99)
        await until(lambda: wire.told == [99])


async def test_whose_connection_is_full_is_handed_nothing_and_misses_nothing() -> None:
    hub = Hub()
    (slow, wire), (other, its) = following(hub), following(hub)
    with slow, other:
        wire.full = True
        for n in range(5):
            call(hub, n)
            await until(lambda n=n: its.told[-1:] == [n])  # type: ignore[misc]
        assert wire.got == []
        wire.full = False
        await until(lambda: wire.told == [0, 1, 2, 3, 4])


async def test_a_slow_reader_is_let_go_of_with_a_reason_and_the_ring_stays_small() -> None:
    hub = Hub(kept=10)
    reader, wire = following(hub)
    with reader:
        wire.full = True
        for n in range(1000):
            call(hub, n)
        assert "too slowly" in await asyncio.wait_for(reader.over, 10)
        assert hub.readers == 0
    assert len(hub._events) <= 20
    assert wire.got == []


async def test_those_who_see_the_same_are_handed_the_same_bytes_and_what_comes_together_in_one() -> (
    None
):
    hub = Hub()
    made: list[Reader] = []
    wires = []
    for who in [OLIVIA, Caller.of("oscar", operator=True), ADA, ADA, Caller.of("bob")] * 100:
        reader, wire = following(hub, who)
        hub.enter(reader)
        made.append(reader)
        wires.append(wire)
    for n in range(3):
        call(hub, n, tenant="acme", tenant_uid="u1")
    await until(lambda: all(reader.number == 3 for reader in made))
    handed = [part for wire in wires for part in wire.got]
    assert set(handed) == {b"0\n1\n2\n"}
    assert len(handed) == 400
    assert len({id(part) for part in handed}) == 2


async def test_telling_many_leaves_the_loop_to_others() -> None:
    hub = Hub()
    readers = [following(hub)[0] for _ in range(3 * AT_ONCE)]
    for reader in readers:
        hub.enter(reader)
    call(hub, 1)
    told = [0]
    async with asyncio.timeout(10):
        while told[-1] < len(readers):
            await asyncio.sleep(0)
            told.append(sum(reader.number for reader in readers))
    assert max(after - before for before, after in pairwise(told)) <= AT_ONCE


async def test_what_was_missed_comes_in_pieces_of_a_bearable_size() -> None:
    hub = Hub()
    for _ in range(500):
        hub.publish("call", {"text": "x" * 1000})
    reader, wire = following(hub, since=f"{hub.epoch}-0")
    with reader:
        await until(lambda: len(wire.told) == 500)
    assert all(len(part) <= MOST_AT_ONCE + 1100 for part in wire.got)


async def test_who_cannot_be_told_holds_up_nobody_else() -> None:
    hub = Hub()
    (broken, wire), (other, its) = following(hub), following(hub)
    wire.write = None  # type: ignore[assignment, method-assign]
    with broken, other:
        call(hub, 1)
        assert "broke down" in await asyncio.wait_for(broken.over, 10)
        await until(lambda: its.told == [1])


async def test_readers_end_when_pilothouse_does() -> None:
    hub = Hub()
    reader, _ = following(hub)
    with reader:
        hub.close()
        assert "stops" in await asyncio.wait_for(reader.over, 10)
    late, _ = following(hub)
    with late:
        assert "stops" in await asyncio.wait_for(late.over, 10)
    assert hub.readers == 0


async def test_this_process_itself_may_watch_until_it_stops_or_is_too_slow() -> None:
    hub = Hub(kept=10)
    watch = Watch(hub, ("call",))
    assert await watch.more(0.01) == []
    waiting = asyncio.create_task(watch.more(10))
    await asyncio.sleep(0)
    call(hub, 1)
    assert [event.data for event in await waiting] == [1]
    hub.publish("metrics", {})
    call(hub, 2)
    assert [event.data for event in await watch.more(10)] == [2]
    slow = Watch(hub, ("call",))
    for n in range(30):
        call(hub, n)
    with pytest.raises(Dropped, match="too slowly"):
        await slow.more(10)
    hub.close()
    with pytest.raises(Dropped, match="stops"):
        await Watch(hub, ("call",)).more(10)


def test_an_event_is_spelt_alike_through_both_ways() -> None:
    event = Event("e-1", "call", {"title": "two\nlines"}, 1)
    assert event.lines == b'id: e-1\nevent: call\ndata: {"title":"two\\nlines"}\n\n'
    assert event.message == '{"id":"e-1","event":"call","data":{"title":"two\\nlines"}}'
