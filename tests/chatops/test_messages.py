"""What a card offers."""

import json
from datetime import UTC, datetime

from chatops import messages
from chatops.grammar import Command, understand
from tools.holdings import Recommendation, Step
from tools.tool import catalog

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ROOM = Step(
    title="Change globex to plan pro",
    tool="tenant_update",
    arguments={"tenant": "globex", "plan": "pro"},
)
SCALE = Recommendation(
    id="rec-243e", strategy="replicas", state="open", tenant="globex", kind="Deployment",
    name="shop", title="Scale shop from 2 to 3 replicas", reason="It was short.",
    tool="workload_scale", created=NOW, updated=NOW,
)  # fmt: skip


def test_a_recommendation_without_room_offers_what_makes_it_and_not_itself() -> None:
    assert offered(SCALE) == ["Apply", "Not this"]
    full = SCALE.model_copy(update={"blocked": "exceeded quota: plan"})
    assert offered(full) == ["Not this"]
    full.first = ROOM
    assert offered(full) == [f"First: {ROOM.title}", "Not this"]
    assert "exceeded quota: plan" in json.dumps(messages.recommendation(full).blocks)


def test_what_its_button_says_is_understood_as_that_call() -> None:
    full = SCALE.model_copy(update={"blocked": "exceeded quota: plan", "first": ROOM})
    (buttons,) = (b for b in messages.recommendation(full).blocks if b["type"] == "actions")
    text = json.loads(buttons["elements"][0]["value"])["text"]
    said = understand(text, [tool.info() for tool in catalog().values()], "")
    assert isinstance(said, Command)
    assert (said.tool.name, said.arguments, said.missing) == (ROOM.tool, ROOM.arguments, ())


def offered(found: Recommendation) -> list[str]:
    (buttons,) = (b for b in messages.recommendation(found).blocks if b["type"] == "actions")
    return [button["text"]["text"] for button in buttons["elements"]]
