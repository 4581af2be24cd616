"""Talking to the agent in Slack: the whole story, and how a turn is told, stopped and paid for."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chatops.slack import pictures
from server.sandbox.prometheus import PracticePrometheus
from server.sandbox.usage import Life
from tests.chatops.anthropic_server import KEY, Answer, AnthropicServer, Refusal, says, uses
from tests.chatops.slack_scene import (
    ACME,
    LOOSE,
    OLIVIA,
    OPS,
    OSCAR,
    Scene,
    in_one_task,
    in_slack,
)
from tests.chatops.slack_server import Message, SlackServer, labels, shown, slack_server
from tests.conftest import Kube

pytestmark = pytest.mark.asyncio(loop_scope="module")
OWN = "D0OLIVIA"
CALLS = 3  # that a turn may take


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    shared_kube: Kube, moto_url: str, claude: AnthropicServer, tmp_path_factory: Any
) -> AsyncIterator[Scene]:
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    web = Life(tenant, "Deployment", "web", replicas=2, cpu=0.18, cpu_request=0.1)
    chat = {"api_key": KEY, "base_url": claude.url, "turn_calls": CALLS}
    place = tmp_path_factory.mktemp("slack")
    async with slack_server() as slack:
        with PracticePrometheus([web]) as prometheus:
            options = {"chat": chat, "prometheus": {"url": prometheus.url}}
            made = in_slack(slack, shared_kube, moto_url, place, tenant=tenant, options=options)
            async with in_one_task(made) as scene:
                yield scene
        assert slack.wrong == []
        assert claude.faults == []


@pytest.fixture
def slack(scene: Scene) -> SlackServer:
    scene.slack.whispers.clear()
    return scene.slack


def ended(slack: SlackServer, channel: str, thread: str) -> Message | None:
    """The latest answer that was streamed into a thread, once it is whole."""
    found = [
        m
        for (c, _), m in slack.messages.items()
        if c == channel and m.get("thread_ts") == thread and m.get("ended")
    ]
    return found[-1] if found else None


async def test_the_story_asked_looked_suggested_approved_by_another_scaled_shown_and_undone(
    scene: Scene, slack: SlackServer, claude: AnthropicServer
) -> None:
    web = {"tenant": scene.tenant, "name": "web"}

    def advise(body: dict[str, Any]) -> Answer:
        (read,) = claude.results()
        assert not read.get("is_error"), read
        assert '"cpu' in read["content"]
        return says("The two pods of web use 180m of 200m CPU. I suggest three. Shall I?")

    read = await scene.call("olivia", "recommendation_analyze")  # usage is read now and then
    assert not read.failed, read
    claude.play(uses(("workload_usage", web), text="I look."), advise)
    thread = {"channel_id": OWN, "thread_ts": "1.1", "user_id": OLIVIA, "context": {}}
    await slack.happens(type="assistant_thread_started", assistant_thread=thread)
    await slack.until(lambda: slack.prompts)
    await slack.says(OLIVIA, OWN, "Is web big enough, or should it have more?", thread_ts="1.1")
    answer = await slack.until(lambda: ended(slack, OWN, "1.1"))
    assert "I suggest three" in shown(answer)
    assert "tokens · 1 calls" in shown(answer)
    assert "is calling workload_usage" in slack.statuses

    def waits(body: dict[str, Any]) -> Answer:
        (asked,) = claude.results()
        assert "awaiting_approval" in asked["content"]
        return says("It waits for somebody else to approve it.")

    claude.play(uses(("workload_scale", {**web, "replicas": 3})), waits)
    await slack.says(OLIVIA, OWN, "Yes please, three of them, thank you", thread_ts="1.1")
    card = await slack.until(lambda: slack.card(ACME, "2 → 3"))
    assert "an agent, for olivia" in shown(card)
    mine = await slack.until(lambda: slack.card(OWN, "2 → 3"))
    assert mine["thread_ts"] == "1.1"
    assert len(claude.requests[0]["messages"]) > 3  # it is the same conversation

    await slack.presses(OLIVIA, mine, "Approve")
    await slack.until(lambda: slack.message(OWN, "You may not approve"))
    assert await scene.replicas() == 2
    await slack.presses(OSCAR, card, "Approve")
    await slack.until(lambda: "Done" in shown(card) and "Done" in shown(mine))
    assert "let go ahead by *oscar*" in shown(card)
    assert await scene.replicas() == 3

    await slack.presses(OSCAR, card, "Undo")
    await slack.until(lambda: "Undone" in shown(card) and "Undone" in shown(mine))
    assert await scene.replicas() == 2


async def test_an_answer_is_told_as_it_comes_and_ends_when_its_asker_says_stop(
    scene: Scene, slack: SlackServer, claude: AnthropicServer
) -> None:
    hold = asyncio.Event()
    claude.play(Answer("It is a long story, and here is how it begins", hold=hold))
    await slack.says(OLIVIA, OPS, "Tell me all about the platform, please", thread_ts="2.1")
    told = await slack.until(lambda: slack.message(OPS, "It is"))
    assert not told.get("ended")
    assert (told["thread_ts"], told["recipient_user_id"]) == ("2.1", OLIVIA)

    claude.play()
    await slack.says(OSCAR, OPS, "stop", thread_ts="2.1")  # it is not his to end
    await slack.until(lambda: slack.message(OPS, "Stop a workload") or slack.message(OPS, "stop"))
    assert not told.get("ended")
    await slack.says(OLIVIA, OPS, "Stop", thread_ts="2.1")
    await slack.until(lambda: told.get("ended"))
    assert "it was cancelled" in shown(told)
    hold.set()


async def test_a_command_to_stop_ends_all_of_ones_own_answers_wherever_they_are(
    scene: Scene, slack: SlackServer, claude: AnthropicServer
) -> None:
    hold = asyncio.Event()
    claude.play(*[Answer("Once upon a time there was a platform", hold=hold)] * 3)
    for channel, thread, user in ((OPS, "6.1", OLIVIA), (OWN, "6.2", OLIVIA), (OPS, "6.3", OSCAR)):
        text = "Tell me all about the platform, please"
        await slack.says(user, channel, text, thread_ts=thread)

    def told(channel: str, thread: str) -> Message | None:
        found = (m for (c, _), m in slack.messages.items() if c == channel)
        return next((m for m in found if m.get("thread_ts") == thread), None)

    threads = [(OPS, "6.1"), (OWN, "6.2"), (OPS, "6.3")]
    await slack.until(lambda: all(told(*thread) for thread in threads))
    await slack.types(OLIVIA, LOOSE, "stop")
    await slack.until(lambda: slack.whisper("I have ended 2 answers to you"))
    for thread in threads[:2]:
        await slack.until(lambda: "it was cancelled" in shown(told(*thread) or {}))  # noqa: B023
    assert not (told(*threads[2]) or {}).get("ended")
    hold.set()
    await slack.until(lambda: (told(*threads[2]) or {}).get("ended"))


async def test_in_a_shared_channel_the_answer_is_for_the_one_who_asked(
    scene: Scene, slack: SlackServer, claude: AnthropicServer
) -> None:
    for channel in (ACME, LOOSE):
        claude.play(uses(("tenant_list", {})), says(f"There is {scene.tenant}, and no other."))
        await slack.says(OLIVIA, channel, "Which are all of our tenants by now?")
        told = await slack.until(lambda: slack.whisper("and no other"))
        assert told["user"] == OLIVIA
        assert not [m for m in slack.messages.values() if "and no other" in shown(m)]
        slack.whispers.clear()


async def test_a_turn_that_used_up_what_it_may_take_says_so(
    scene: Scene, slack: SlackServer, claude: AnthropicServer
) -> None:
    look = ("tenant_get", {"tenant": scene.tenant})
    claude.play(*[uses(look)] * CALLS, says("I have seen enough."))
    await slack.says(OLIVIA, OWN, "Look at it again and again and again", thread_ts="3.1")
    answer = await slack.until(lambda: ended(slack, OWN, "3.1"))
    assert f"{CALLS} calls · it used up what a turn may take" in shown(answer)


async def test_what_went_wrong_with_the_model_is_said_in_the_answer(
    scene: Scene, slack: SlackServer, claude: AnthropicServer
) -> None:
    claude.play(Refusal(400, "invalid_request_error"))
    await slack.says(OLIVIA, OWN, "What is going on with web now?", thread_ts="4.1")
    answer = await slack.until(lambda: ended(slack, OWN, "4.1"))
    assert "it failed" in shown(answer)


async def test_where_slack_does_not_stream_the_answer_comes_whole(
    scene: Scene, slack: SlackServer, claude: AnthropicServer
) -> None:
    slack.fail["chat.startStream"] = "channel_type_not_supported"
    claude.play(says("Everything is as it should be."))
    await slack.says(OLIVIA, OWN, "What is going on with web now?", thread_ts="5.1")
    told = await slack.until(lambda: slack.message(OWN, "as it should be"))
    assert told["thread_ts"] == "5.1"
    assert "tokens" in shown(told)
    assert labels(told) == []
    slack.fail.clear()


async def test_a_recommendation_is_shown_at_once_and_its_picture_when_slack_has_it_ready(
    scene: Scene, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "PAUSES_S", (0.0, 0.1, 0.1, 0.1))
    await scene.call("olivia", "recommendation_analyze")
    found = (await scene.call("olivia", "recommendation_list")).answer
    assert found is not None
    id = found["recommendations"][0]["id"]

    def pictured(message: Message | None) -> bool:
        return message is not None and '"slack_file"' in shown(message)

    for ready_after in (0, 2):
        slack.unready = ready_after
        await slack.says(OLIVIA, ACME, f"why {id}")  # the channel may see it: it is edited
        await slack.until(lambda: pictured(slack.message(ACME, id)))
        slack.unready = ready_after
        await slack.types(OLIVIA, LOOSE, f"why {id}")  # an answer to a command is replaced
        told = await slack.until(lambda: slack.whisper(id))
        assert labels(told) == ["Apply", "Not this"]
        told = await slack.until(lambda: pictured(slack.whisper(id)) and slack.whisper(id))
        assert told["replace_original"]
        slack.unready = ready_after
        slack.whispers.clear()
        await slack.says(OLIVIA, LOOSE, f"why {id}")  # a whisper cannot be: it comes beside
        await slack.until(lambda: len(slack.whispers) == 2 and pictured(slack.whispers[-1]))
        assert labels(slack.whispers[0]) == ["Apply", "Not this"]
        slack.messages = {k: m for k, m in slack.messages.items() if id not in shown(m)}
        slack.whispers.clear()
    assert all(b"PNG" in file for file in slack.files.values())

    # One that never gets ready: the suggestion is there without it.
    slack.unready = 100
    await slack.says(OLIVIA, ACME, f"why {id}")
    await slack.until(lambda: slack.unready == 96)
    assert "Apply" in labels(slack.message(ACME, id) or {})
    slack.unready = 0
