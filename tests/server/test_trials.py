"""Whether what is recommended would be refused."""

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from recommender.model import Subject, Suggestion
from recommender.suggestions import Recommendation
from server.trials import HOLDS_S, Trials
from tools.errors import Code, ToolError

FULL = ToolError(Code.RESOURCE_EXHAUSTED, "exceeded quota: plan")
TOLD: dict[str, tuple[BaseException | None, bool]] = {
    "a quota is full": (FULL, True),
    "it is gone": (ToolError(Code.NOT_FOUND, "It is not there."), True),
    "nothing is in the way": (None, False),
    "the cluster is busy": (ToolError(Code.RESOURCE_EXHAUSTED, "busy", retry_after=1), False),
    "the cluster is away": (ToolError(Code.UNAVAILABLE, "away"), False),
    "it is not ours to say": (ToolError(Code.PERMISSION_DENIED, "no"), False),
    "trying broke down": (ValueError("oh no"), False),
}


def open_one(id: str = "rec-1", **more: Any) -> Recommendation:
    about = Suggestion(
        "replicas", Subject("c", "shop", "Deployment", "web"), "Scale web", "It is short.",
        tool="workload_scale", arguments={"replicas": 3},
    )  # fmt: skip
    blank = {field.name: None for field in fields(Recommendation)}
    return Recommendation(**blank | {"id": id, "state": "open", "suggestion": about} | more)  # type: ignore[arg-type]


class Trier:
    def __init__(self, what: BaseException | None = FULL) -> None:
        self.what = what
        self.tried = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, tool: str, arguments: Mapping[str, Any]) -> ToolError | None:
        self.tried += 1
        await self.go_on.wait()
        if isinstance(self.what, ToolError | None):
            return self.what
        raise self.what


@pytest.mark.parametrize("what", TOLD)
async def test_only_what_stands_in_the_way_of_everybody_is_told(what: str) -> None:
    refusal, told = TOLD[what]
    found = await Trials(Trier(refusal)).of([open_one()])
    assert found == ({"rec-1": refusal} if told else {})


async def test_what_is_decided_or_only_a_warning_is_not_tried() -> None:
    trier = Trier()
    warning = open_one()
    object.__setattr__(warning.suggestion, "tool", "")
    assert await Trials(trier).of([open_one(state="applied"), warning]) == {}
    assert trier.tried == 0


async def test_who_asks_at_once_shares_a_trial_that_holds_until_something_was_changed() -> None:
    now = 0.0
    trier = Trier()
    trials = Trials(trier, lambda: now)
    trier.go_on.clear()
    asking = [asyncio.create_task(trials.of([open_one()])) for _ in range(5)]
    while not trier.tried:
        await asyncio.sleep(0)
    trier.go_on.set()
    assert await asyncio.gather(*asking) == [{"rec-1": FULL}] * 5
    trials.forget("bank")
    await trials.of([open_one()])
    assert trier.tried == 1
    trials.forget("shop")
    await trials.of([open_one()])
    assert trier.tried == 2
    now = HOLDS_S + 1
    await trials.of([open_one()])
    assert trier.tried == 3
