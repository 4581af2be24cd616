"""What somebody who means ill sends where Slack comes in: without Slack's signature nothing of it
is looked at, and with it nothing breaks."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from tests.chatops.slack_scene import ACME, LOOSE, OLIVIA, STRANGER, Scene, in_one_task, in_slack
from tests.chatops.slack_server import SECRET, sign, slack_server
from tests.conftest import Kube
from tests.soak import WHOLE
from tests.soak.test_hostile import AT_ONCE, ODD

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]
INPUTS = 5000 if WHOLE else 80
BODIES = ("", "{", "[]", "null", '"x"', "payload=", "payload=%7B", "payload=[]", "payload=null",
          "a=b&c=d", "[" * 5000, '{"type":"event_callback"}', '{"type":"url_verification"}',
          "command=%2Fpilot", "command=/pilot&text=" + "x" * 5000)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    shared_kube: Kube, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    async with slack_server() as slack:
        made = in_slack(slack, shared_kube, moto_url, tmp_path_factory.mktemp("slack"))
        async with in_one_task(made) as scene:
            yield scene


def spoilt(dice: random.Random, value: Any, of_ten: int = 1) -> Any:
    """The same with a part of it replaced by something odd."""
    if dice.random() < of_ten / 10:
        return dice.choice(ODD)
    if isinstance(value, dict):
        return {k: spoilt(dice, v, of_ten) for k, v in value.items() if dice.random() > 0.03}
    if isinstance(value, list):
        return [spoilt(dice, item, of_ten) for item in value]
    return value


def one(dice: random.Random, scene: Scene) -> str:
    """A body: what Slack sends, with something about it that is not as Slack has it."""
    slack = scene.slack
    user, channel = dice.choice((OLIVIA, STRANGER)), dice.choice((ACME, LOOSE, "D1", ""))
    text = dice.choice(("help", "status", "scale web to 3", *(str(odd)[:3000] for odd in ODD)))
    way = dice.randrange(4)
    if way == 0:
        return dice.choice(BODIES)
    if way == 1:
        fields = slack.command(user, channel, text)
        return urlencode({k: spoilt(dice, v) for k, v in fields.items() if dice.random() > 0.03})
    if way == 2:
        return json.dumps(spoilt(dice, slack.said(user, channel, text)))
    button = {"text": {"type": "plain_text", "text": "Approve"}, "action_id": "approve",
              "value": dice.choice(("x", "{}", "[]", '{"id":"x"}', "x" * 2000))}  # fmt: skip
    button["action_id"] = dice.choice(("approve", "reject", "diff", "undo", "x", ""))
    message = {"channel": channel, "blocks": [{"type": "actions", "elements": [button]}]}
    payload = spoilt(dice, slack.press(user, message, "Approve"))
    if dice.random() < 0.3 and isinstance(payload, dict):
        payload["type"] = dice.choice(("view_submission", "shortcut", "message_action", "x", None))
    return urlencode({"payload": json.dumps(payload)})


async def test_what_slack_did_not_sign_is_refused_and_what_it_did_breaks_nothing(
    scene: Scene,
) -> None:
    dice = random.Random(8)
    statuses: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    left = iter(range(INPUTS))
    bad: list[str] = []
    now = str(int(time.time()))

    async def send() -> None:
        for _ in left:
            body = one(dice, scene)
            ours = dice.random() < 0.7
            forged: dict[str, str] = {}
            if not ours:
                forged = dice.choice((
                    {"signature": "v0=" + "0" * 64}, {"signature": sign(body, now, SECRET + "x")},
                    {"stamp": "0"}, {"stamp": "-1"}, {"stamp": "9" * 30}, {"stamp": "x"},
                    {"signature": "x"}, {"signature": sign(body + "x", now)},
                ))  # fmt: skip
            status, said = await scene.slack.send(body, **forged)
            statuses[ours][status] += 1
            told = f"{body[:500]}: {status} {said[:500]}"
            if status >= 500:
                bad.append(told)
                continue
            assert "Traceback" not in said, told
            assert 'File "/' not in said, told

    await asyncio.gather(*(send() for _ in range(AT_ONCE)))
    print(f"{INPUTS} inputs where Slack comes in: signed {statuses[True]}, not {statuses[False]}")
    assert bad == []
    assert set(statuses[False]) <= {400, 401}, statuses
    assert statuses[False][401] > statuses[False][400], statuses
    assert statuses[True][200] > INPUTS / 10, statuses
    assert await scene.slack.says(OLIVIA, ACME, "status") == 200
    found = await scene.call("olivia", "call_list", limit=200)
    assert found.answer is not None
    people = {call["requester"] for call in found.answer["calls"]}
    assert people <= {"olivia", "oscar"}, "a stranger did something"
    assert scene.slack.wrong == []
