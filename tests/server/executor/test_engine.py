"""The engine over a shelf of plain objects: every way in which carrying out can be interrupted."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server.executor.engine import Ended, Engine, Parked, Patience
from server.executor.ledger import Ledger
from server.journal import Journal
from tools.errors import Code, ToolError
from tools.plan import Apply, Change, Delete, DeleteRole, Json, Plan, Preview, Ref, Scale, Seen

QUICK = Patience(apply_s=0.2, first_pause_s=0.001, longest_pause_s=0.005, forward_s=0.3)


class Killed(BaseException):
    """The process died: nothing after this line ran."""


class Shelf:
    """Objects by name. `plan_fault` says what befalls the n-th thing that the engine does."""

    def __init__(self, things: dict[str, Json]) -> None:
        self.things = dict(things)
        self.acts = 0
        self.applied: list[str] = []
        self.faults: dict[int, str] = {}
        self.refuses: dict[str, ToolError] = {}
        self.blind: bool = False
        self.unsettled: dict[str, int] = {}
        self.at_once: set[str] = set()
        self.theirs: set[str] = set()

    async def observe(self, change: Change) -> Seen:
        if self.blind:
            raise ToolError(Code.UNAVAILABLE, "the cluster does not answer")
        return Seen(uid="1", value=self.things.get(change.ref.name))

    def intended(self, change: Change) -> Json:
        return change.after

    async def preview(self, change: Change, plan: Plan) -> Preview:
        raise NotImplementedError

    async def apply(self, change: Change, call_id: str) -> Seen:
        name = change.ref.name
        fault = self.faults.get(self.acts, "")
        self.acts += 1
        if fault == "die before":
            raise Killed
        if name in self.refuses:
            raise self.refuses[name]
        if fault == "lost before":
            raise ToolError(Code.UNAVAILABLE, "connection reset", lost=True)
        now = self.things.get(name)
        if now != change.after:
            assert change.seen is None or now == change.seen.value, "compare-and-swap"
            if change.after is None:
                self.things.pop(name, None)
            else:
                self.things[name] = change.after
            self.applied.append(name)
        if fault == "die after":
            raise Killed
        if fault == "lost after":
            raise ToolError(Code.UNAVAILABLE, "connection reset", lost=True)
        if fault == "lost and blind":
            self.blind = True
            raise ToolError(Code.UNAVAILABLE, "connection reset", lost=True)
        return Seen(uid="1", value=self.things.get(name))

    async def is_ours(self, change: Change, call_id: str) -> bool:
        return change.ref.name not in self.theirs

    def took_effect(self, change: Change, left: Seen) -> bool:
        return change.ref.name in self.at_once

    async def settled(self, change: Change) -> str:
        left = self.unsettled.get(change.ref.name, 0)
        self.unsettled[change.ref.name] = left - 1
        return "not yet" if left > 0 else ""


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    journal = await Journal.open(f"duckdb:///{tmp_path / 'state.duckdb'}")
    yield Ledger(journal, lambda: datetime.now(UTC))
    await journal.close()


def ref(name: str, kind: str = "v1/ConfigMap") -> Ref:
    return Ref(at="here", kind=kind, name=name)


def put(name: str, value: Json, before: Json = None, needs: tuple[str, ...] = ()) -> Apply:
    return Apply(id=name, ref=ref(name), body=value, needs=needs, seen=Seen(uid="1", value=before))


def drop(name: str, before: Json, needs: tuple[str, ...] = ()) -> Delete:
    """Like a namespace: nothing brings it back."""
    return Delete(id=name, ref=ref(name), needs=needs, seen=Seen(uid="1", value=before))


BEFORE = {"b": {"v": 1}, "keep": {"v": 0}}
UNDOABLE = Plan.of(
    "three",
    [put("a", {"v": 1}), put("b", {"v": 2}, {"v": 1}, ("a",)), put("c", {"v": 3}, None, ("a",))],
)
DONE = {"a": {"v": 1}, "b": {"v": 2}, "c": {"v": 3}, "keep": {"v": 0}}
FINAL = Plan.of(
    "final",
    [put("a", {"v": 1}), drop("b", {"v": 1}, ("a",)), put("c", {"v": 3}, None, ("b",))],
)
FINAL_DONE = {"a": {"v": 1}, "c": {"v": 3}, "keep": {"v": 0}}


async def carry(ledger: Ledger, shelf: Shelf, plan: Plan, **fields: object) -> Ended:
    engine = Engine(ledger, QUICK, **fields)  # type: ignore[arg-type]
    return await engine.carry_out("call", plan, lambda ref: shelf, lambda *line: None)


async def die(ledger: Ledger, shelf: Shelf, plan: Plan) -> None:
    with pytest.raises(BaseExceptionGroup) as died:
        await carry(ledger, shelf, plan)
    assert died.group_contains(Killed)
    shelf.faults = {}


async def test_a_plan_is_carried_out_in_the_order_of_its_needs(ledger: Ledger) -> None:
    shelf = Shelf(BEFORE)
    assert await carry(ledger, shelf, UNDOABLE) == Ended("succeeded")
    assert shelf.things == DONE
    assert shelf.applied[0] == "a"


@pytest.mark.parametrize("moment", ["die before", "die after"])
@pytest.mark.parametrize("act", range(3))
async def test_a_crash_at_any_change_that_can_be_undone_ends_wholly_undone_or_wholly_done(
    ledger: Ledger, act: int, moment: str
) -> None:
    shelf = Shelf(BEFORE)
    shelf.faults[act] = moment
    await die(ledger, shelf, UNDOABLE)
    all_made = shelf.things == DONE
    ended = await carry(ledger, shelf, UNDOABLE)
    assert ended.state == ("succeeded" if all_made else "failed")
    assert shelf.things == (DONE if all_made else BEFORE)


@pytest.mark.parametrize("moment", ["die before", "die after"])
@pytest.mark.parametrize(("act", "whole"), [(0, BEFORE), (1, FINAL_DONE), (2, FINAL_DONE)])
async def test_a_crash_past_the_point_of_no_return_ends_wholly_done(
    ledger: Ledger, act: int, moment: str, whole: dict[str, Json]
) -> None:
    shelf = Shelf(BEFORE)
    shelf.faults[act] = moment
    if (act, moment) == (1, "die before"):
        whole = BEFORE  # nothing was lost yet, so there still was a way back
    await die(ledger, shelf, FINAL)
    ended = await carry(ledger, shelf, FINAL)
    assert shelf.things == whole
    assert ended.state == ("succeeded" if whole is FINAL_DONE else "failed")


async def test_a_crash_in_the_middle_of_a_change_of_several_requests_is_gone_on_with(
    ledger: Ledger,
) -> None:
    shelf = Shelf({"space": {"v": 1}, "role": {"policy": "p", "trust": "t"}})
    role = DeleteRole(id="role", ref=ref("role", "iam/Role"), needs=("space",))
    plan = Plan.of("gone", [drop("space", {"v": 1}), role])
    shelf.faults[1] = "die before"
    await die(ledger, shelf, plan)
    shelf.things["role"] = {"policy": "", "trust": "t"}
    assert (await carry(ledger, shelf, plan)).state == "succeeded"
    assert shelf.things == {}


@pytest.mark.parametrize("second", range(2))
async def test_a_crash_while_taking_back_goes_on_taking_back(ledger: Ledger, second: int) -> None:
    shelf = Shelf(BEFORE)
    shelf.refuses["c"] = ToolError(Code.PERMISSION_DENIED, "not you")
    shelf.faults[3 + second] = "die after"
    await die(ledger, shelf, UNDOABLE)
    assert (await carry(ledger, shelf, UNDOABLE)).state == "failed"
    assert shelf.things == BEFORE


@pytest.mark.parametrize("moment", ["lost before", "lost after"])
@pytest.mark.parametrize("act", range(3))
async def test_a_lost_answer_is_settled_by_reading_the_object_again(
    ledger: Ledger, act: int, moment: str
) -> None:
    shelf = Shelf(BEFORE)
    shelf.faults[act] = moment
    assert (await carry(ledger, shelf, UNDOABLE)).state == "succeeded"
    assert shelf.things == DONE
    assert sorted(shelf.applied) == ["a", "b", "c"]


@pytest.mark.parametrize(("act", "state", "whole"), [(0, "failed", BEFORE), (2, "succeeded", DONE)])
async def test_what_cannot_be_found_out_is_unknown_until_it_can(
    ledger: Ledger, act: int, state: str, whole: dict[str, Json]
) -> None:
    shelf = Shelf(BEFORE)
    shelf.faults[act] = "lost and blind"
    assert (await carry(ledger, shelf, UNDOABLE)).state == "unknown"
    shelf.blind = False
    assert (await carry(ledger, shelf, UNDOABLE)).state == state
    assert shelf.things == whole


async def test_a_refused_change_takes_the_others_back(ledger: Ledger) -> None:
    shelf = Shelf(BEFORE)
    shelf.refuses["c"] = ToolError(Code.PERMISSION_DENIED, "not you")
    ended = await carry(ledger, shelf, UNDOABLE)
    assert ended.state == "failed"
    assert ended.error is not None
    assert ended.error.message == "not you"
    assert shelf.things == BEFORE


async def test_what_is_made_inside_of_what_a_plan_makes_is_on_record_with_the_plan(
    ledger: Ledger,
) -> None:
    assert Engine(ledger).first(UNDOABLE) == {"a", "c"}
    assert Engine(ledger).first(FINAL) == {"a"}


async def test_what_is_on_record_as_sent_and_was_not_is_not_asked_after_and_not_taken_back(
    ledger: Ledger,
) -> None:
    shelf = Shelf(BEFORE)
    shelf.refuses = {"a": ToolError(Code.PERMISSION_DENIED, "no")}
    shelf.blind = True
    for id in ("a", "c"):
        await ledger.record("call", id, "sent")
    engine = Engine(ledger, QUICK)
    ended = await engine.carry_out(
        "call", UNDOABLE, lambda ref: shelf, lambda *line: None, {}, {"a", "c"}
    )
    assert ended.state == "failed"
    assert shelf.things == BEFORE


async def test_a_crash_before_what_is_on_record_as_sent_was_sent_leaves_nothing(
    ledger: Ledger,
) -> None:
    shelf = Shelf(BEFORE)
    for id in ("a", "c"):
        await ledger.record("call", id, "sent")
    assert (await carry(ledger, shelf, UNDOABLE)).state == "failed"
    assert shelf.things == BEFORE
    assert shelf.applied == []


async def test_what_somebody_else_changed_is_not_taken_for_ours_when_it_is_refused(
    ledger: Ledger,
) -> None:
    shelf = Shelf(BEFORE)
    shelf.things["b"] = {"v": "theirs"}
    shelf.refuses["b"] = ToolError(Code.FAILED_PRECONDITION, "changed since")
    assert (await carry(ledger, shelf, UNDOABLE)).state == "failed"
    assert shelf.things == BEFORE | {"b": {"v": "theirs"}}


async def test_past_the_point_of_no_return_a_lasting_refusal_is_stuck_and_can_go_on(
    ledger: Ledger,
) -> None:
    shelf = Shelf(BEFORE)
    shelf.refuses["c"] = ToolError(Code.PERMISSION_DENIED, "not you", "Grant it.")
    ended = await carry(ledger, shelf, FINAL)
    assert ended.state == "stuck"
    assert ended.error is not None
    assert "Grant it." in ended.error.hint
    assert "call_retry" in ended.error.hint
    shelf.refuses = {}
    assert (await carry(ledger, shelf, FINAL)).state == "succeeded"
    assert shelf.things == FINAL_DONE


async def test_what_passes_by_itself_is_tried_again(ledger: Ledger) -> None:
    shelf = Shelf(BEFORE)
    shelf.refuses["b"] = ToolError(Code.UNAVAILABLE, "503", retry_after=0.01)
    running = asyncio.create_task(carry(ledger, shelf, UNDOABLE))
    while shelf.acts < 3:
        await asyncio.sleep(0)
    shelf.refuses = {}
    assert (await running).state == "succeeded"
    assert shelf.things == DONE


async def test_what_does_not_take_effect_in_time_is_taken_back(ledger: Ledger) -> None:
    shelf = Shelf({"web": {"replicas": 1}})
    shelf.unsettled["web"] = 10**6
    scale = Scale(
        id="web",
        ref=ref("web"),
        replicas=3,
        seen=Seen(uid="1", value={"replicas": 1}),
        settle_s=0.05,
    )

    async def give_up_waiting() -> None:
        while shelf.things["web"] != {"replicas": 3}:
            await asyncio.sleep(0)
        while shelf.acts < 2:
            await asyncio.sleep(0.001)
        shelf.unsettled = {}

    ended, _ = await asyncio.gather(
        carry(ledger, shelf, Plan.of("scale", [scale])), give_up_waiting()
    )
    assert ended.state == "failed"
    assert ended.error is not None
    assert ended.error.code is Code.DEADLINE_EXCEEDED
    assert shelf.things == {"web": {"replicas": 1}}


async def test_told_to_stop_it_parks_and_goes_on_after_the_restart(ledger: Ledger) -> None:
    shelf = Shelf(BEFORE)
    shelf.unsettled["a"] = 10**6
    engine = Engine(ledger, replace(QUICK, first_pause_s=3600))
    running = asyncio.create_task(
        engine.carry_out("call", UNDOABLE, lambda ref: shelf, lambda *line: None)
    )
    while shelf.unsettled["a"] == 10**6:
        await asyncio.sleep(0)
    engine.stop()
    with pytest.raises(Parked):
        async with asyncio.timeout(5):
            await running
    shelf.unsettled = {}
    assert (await carry(ledger, shelf, UNDOABLE)).state == "succeeded"
    assert shelf.things == DONE
    assert sorted(shelf.applied) == ["a", "b", "c"]


async def test_frozen_nothing_begins_until_it_may_go_on(ledger: Ledger) -> None:
    shelf = Shelf(BEFORE)
    engine = Engine(ledger, QUICK)
    engine.running.clear()
    running = asyncio.create_task(
        engine.carry_out("call", UNDOABLE, lambda ref: shelf, lambda *line: None)
    )
    for _ in range(20):
        await asyncio.sleep(0)
    assert shelf.acts == 0
    engine.running.set()
    assert (await running).state == "succeeded"


async def test_taking_back_leaves_alone_what_somebody_else_changed_meanwhile(
    ledger: Ledger,
) -> None:
    shelf = Shelf(BEFORE)
    shelf.faults[2] = "die before"
    await die(ledger, shelf, UNDOABLE)
    shelf.things["b"] = {"v": "theirs"}
    steps = await ledger.steps("call")
    ended = await carry(ledger, shelf, UNDOABLE)
    if steps["b"].did == "applied":
        assert ended.state == "stuck"
        assert shelf.things["b"] == {"v": "theirs"}


async def test_what_is_seen_to_have_taken_effect_is_not_asked_after(ledger: Ledger) -> None:
    shelf = Shelf(BEFORE)
    shelf.at_once = {"a", "b"}
    shelf.unsettled = dict.fromkeys("abc", 2)
    ended = await carry(ledger, shelf, UNDOABLE)
    assert ended.state == "succeeded"
    assert shelf.unsettled == {"a": 2, "b": 2, "c": -1}


async def test_what_somebody_else_made_before_ours_was_sent_is_left_alone(ledger: Ledger) -> None:
    shelf = Shelf(BEFORE)
    shelf.faults[0] = "die before"
    await die(ledger, shelf, UNDOABLE)
    shelf.things["a"] = {"v": "theirs"}
    shelf.theirs.add("a")
    assert (await carry(ledger, shelf, UNDOABLE)).state == "failed"
    assert shelf.things == BEFORE | {"a": {"v": "theirs"}}
