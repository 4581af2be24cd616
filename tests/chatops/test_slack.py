"""Slack, as people see it: their requests signed over real sockets, and a stand-in that refuses
what Slack refuses."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from tests.chatops.slack_scene import (
    ACME,
    LOOSE,
    OLIVIA,
    OSCAR,
    STRANGER,
    VERA,
    Scene,
    in_one_task,
    in_slack,
    person,
)
from tests.chatops.slack_server import (
    SlackServer,
    labels,
    shown,
    sign,
    slack_server,
)
from tests.conftest import ROOT, Kube

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(shared_kube: Kube, moto_url: str, tmp_path_factory) -> AsyncIterator[Scene]:
    async with slack_server() as slack:
        made = in_slack(slack, shared_kube, moto_url, tmp_path_factory.mktemp("slack"))
        async with in_one_task(made) as scene:
            yield scene
        assert slack.wrong == []


@pytest.fixture
def slack(scene: Scene) -> SlackServer:
    scene.slack.whispers.clear()
    return scene.slack


async def test_the_story_asked_approved_by_a_button_scaled_shown_and_undone(
    scene: Scene, slack: SlackServer
) -> None:
    assert await slack.says(OLIVIA, ACME, "scale web to 3") == 200
    card = await slack.until(lambda: slack.card(ACME, "2 → 3"))
    assert "olivia" in shown(card)
    assert labels(card) == ["Approve", "Reject", "Show diff"]

    # Who asked may not approve it, and only they are told so.
    await slack.presses(OLIVIA, card, "Approve")
    refused = await slack.until(lambda: slack.whisper("You may not approve"))
    assert "you asked for it yourself" in shown(refused)
    assert await scene.replicas() == 2

    await slack.presses(OSCAR, card, "Approve")
    await slack.until(lambda: "Done" in shown(card))
    assert "let go ahead by *oscar*" in shown(card)
    assert await scene.replicas() == 3
    assert labels(card) == ["Undo", "Show diff"]

    await slack.presses(OSCAR, card, "Undo")
    await slack.until(lambda: "Undone" in shown(card))
    assert await scene.replicas() == 2


async def test_two_hundred_presses_at_once_carry_it_out_once(
    scene: Scene, slack: SlackServer
) -> None:
    id, card = await scene.waiting()
    await asyncio.gather(*(slack.presses(OSCAR, card, "Approve") for _ in range(200)))
    await slack.until(lambda: "Done" in shown(card))
    rows = (await scene.call("olivia", "call_list", tool="workload_delete")).answer
    assert [row["id"] for row in rows["calls"]] == [id]
    audit = await scene.call("olivia", "call_get", id=id)
    assert audit.answer["call"]["decided_by"] == "oscar"

    # Many press Undo, many times: it is undone once.
    await asyncio.gather(*(slack.presses(OSCAR, card, "Undo") for _ in range(20)))
    await slack.until(lambda: "Undone" in shown(card) or "Being undone" in shown(card))
    undoing = await slack.until(lambda: slack.message(ACME, f"takes back call `{id}`"))
    if "Approve" in labels(undoing):
        await slack.presses(OLIVIA, undoing, "Approve")
    await slack.until(lambda: "Undone" in shown(card))
    undone = (await scene.call("olivia", "call_list", tool="call_undo")).answer["calls"]
    assert [r["state"] for r in undone if id in r["summary"]] == ["succeeded"]
    assert await scene.replicas() == 2


async def test_a_rejection_asks_for_its_reason_and_shows_it(
    scene: Scene, slack: SlackServer
) -> None:
    id, card = await scene.waiting()
    await slack.presses(OSCAR, card, "Reject")
    form = await slack.until(lambda: slack.views and slack.views[-1])
    assert form["callback_id"] == "call_reject"
    status, wrong = await slack.fills(OSCAR, form, reason=" ")
    assert (status, json.loads(wrong)["response_action"]) == (200, "errors")
    assert await scene.state(id) == "awaiting_approval"
    await slack.fills(OSCAR, form, reason="not on a Friday")
    await slack.until(lambda: "Rejected" in shown(card))
    assert "rejected by *oscar*: not on a Friday" in shown(card)
    assert await scene.state(id) == "rejected"


async def test_the_whole_diff_is_shown_to_who_may_see_it(scene: Scene, slack: SlackServer) -> None:
    id, card = await scene.waiting()
    slack.views.clear()
    await slack.presses(OSCAR, card, "Show diff")
    view = await slack.until(lambda: slack.views and slack.views[-1])
    assert id in view["title"]["text"]
    await slack.presses(STRANGER, card, "Show diff")
    await slack.until(lambda: slack.whisper("do not know who you are"))
    assert len(slack.views) == 1
    await slack.presses(VERA, card, "Approve")
    await slack.until(lambda: slack.whisper("You may not approve"))
    assert await scene.state(id) == "awaiting_approval"
    await scene.call("olivia", "call_reject", id=id, reason="enough")
    await slack.until(lambda: "Withdrawn" in shown(card))


async def test_whom_nobody_knows_is_told_nothing_whoever_they_are_in_slack(
    scene: Scene, slack: SlackServer
) -> None:
    slack.users[STRANGER] = {"is_admin": True, "is_owner": True}
    for text in ("tenants", "help", f"jobs {scene.tenant}", "whoami", "bind platform"):
        slack.whispers.clear()
        assert await slack.types(STRANGER, LOOSE, text) == 200
        await slack.until(lambda: slack.whispers)
        assert scene.tenant not in shown(slack.whispers[-1])
    await slack.happens(type="app_home_opened", user=STRANGER, tab="home", channel="D1")
    home = await slack.until(lambda: slack.homes.get(STRANGER))
    assert "do not know who you are" in json.dumps(home)


async def test_a_one_time_link_makes_a_user_known_once(scene: Scene, slack: SlackServer) -> None:
    slack.users["UNEW"] = {"real_name": "New Person"}
    await slack.types("UNEW", LOOSE, "login")
    told = await slack.until(lambda: slack.whisper("pilothouse slack link"))
    code = shown(told).partition("slack link ")[2][:14]
    who = await scene.call("vera", "chat_code", code=code)
    assert who.answer == {"user": "T1/UNEW", "called": "New Person (UNEW)"}
    assert (await scene.call("vera", "chat_link", code=code)).error is None
    await slack.types("UNEW", LOOSE, "whoami")
    await slack.until(lambda: slack.whisper("You are *vera*"))
    again = await scene.call("oscar", "chat_link", code=code)
    assert again.error.code == "not_found"
    await slack.types("UNEW", LOOSE, "logout")
    await slack.until(lambda: slack.whisper("do not know you any more"))
    await slack.types("UNEW", LOOSE, "tenants")
    await slack.until(lambda: slack.whisper("do not know who you are"))


async def test_a_code_is_redeemed_on_the_command_line(scene: Scene, slack: SlackServer) -> None:
    token = await person(scene.app, "pat", operator=True)
    await slack.types("UPAT", LOOSE, "login")
    told = await slack.until(lambda: slack.whisper("pilothouse slack link"))
    code = shown(told).partition("slack link ")[2][:14]
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server.start", "slack", "link", code, "--yes",
        "--url", scene.url, "--token", token,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(run.communicate(), 60)
    assert run.returncode == 0, said.decode()
    assert "UPAT" in said.decode()
    await slack.types("UPAT", LOOSE, "whoami")
    await slack.until(lambda: slack.whisper("You are *pat*"))


async def test_somebody_of_another_workspace_is_nobody(scene: Scene, slack: SlackServer) -> None:
    before = len(slack.messages)
    await slack.says(OLIVIA, ACME, "tenants", user_team="TELSEWHERE")
    await slack.types(OLIVIA, LOOSE, "whoami")
    await slack.until(lambda: slack.whisper("olivia"))
    assert len(slack.messages) == before


async def test_an_answer_about_another_tenant_is_never_posted_in_a_shared_channel(
    scene: Scene, slack: SlackServer
) -> None:
    for channel, text in (
        (LOOSE, f"tenant {scene.tenant}"),
        (LOOSE, "tenants"),
        (ACME, "tenants"),
        (ACME, "jobs other"),
    ):
        slack.whispers.clear()
        before = set(slack.messages)
        await slack.says(OLIVIA, channel, text)
        await slack.until(lambda: slack.whispers)
        assert set(slack.messages) == before, text
    await slack.says(OLIVIA, ACME, f"tenant {scene.tenant}")
    posted = await slack.until(lambda: slack.message(ACME, "Show a tenant"))
    assert scene.tenant in shown(posted)


async def test_an_operator_binds_a_channel_and_nobody_else(
    scene: Scene, slack: SlackServer
) -> None:
    await slack.types(VERA, "C0NEW", f"bind {scene.tenant}")
    await slack.until(lambda: slack.whisper("Only an operator"))
    await slack.types(OLIVIA, "C0NEW", f"bind {scene.tenant}")
    await slack.until(lambda: slack.whisper("bound to tenant"))
    await slack.says(VERA, "C0NEW", "workloads")
    await slack.until(lambda: slack.message("C0NEW", "web"))
    await slack.types(OLIVIA, "C0NEW", "unbind")
    await slack.until(lambda: slack.whisper("bound to nothing"))


async def test_a_form_asks_for_what_is_missing_and_says_what_is_wrong(
    scene: Scene, slack: SlackServer
) -> None:
    slack.views.clear()
    await slack.types(OLIVIA, LOOSE, "workload scale")
    form = await slack.until(lambda: slack.views and slack.views[-1])
    assert [b["block_id"] for b in form["blocks"] if b["type"] == "input"] == [
        "tenant", "name", "replicas", "kind",
    ]  # fmt: skip
    status, wrong = await slack.fills(
        OLIVIA, form, tenant=scene.tenant, name="web", replicas="many"
    )
    assert (status, json.loads(wrong)["response_action"]) == (200, "errors")
    assert "whole number" in json.loads(wrong)["errors"]["replicas"]
    await slack.fills(OLIVIA, form, tenant=scene.tenant, name="web", replicas="4")
    card = await slack.until(lambda: slack.card(ACME, "2 → 4"))
    await slack.presses(OLIVIA, card, "Reject")
    form = await slack.until(
        lambda: slack.views[-1]["callback_id"] == "call_reject" and slack.views[-1]
    )
    await slack.fills(OLIVIA, form, reason="no")
    await slack.until(lambda: "Withdrawn" in shown(card))


async def test_a_misspelt_command_is_offered_as_it_would_be_understood(
    scene: Scene, slack: SlackServer
) -> None:
    await slack.types(OLIVIA, LOOSE, "tennants")
    told = await slack.until(lambda: slack.whisper("Did you mean"))
    assert "tenants" in labels(told)
    await slack.presses(OLIVIA, told, "tenants")
    await slack.until(lambda: slack.whisper(scene.tenant))


async def test_a_log_is_followed_in_one_message(scene: Scene, slack: SlackServer) -> None:
    job = await scene.call(
        "olivia", "job_create", tenant=scene.tenant, name="job-7", image="busybox:1.37",
        command=["sh", "-c", "echo one; sleep 1; echo two"],
    )  # fmt: skip
    assert job.error is None
    await slack.says(OLIVIA, ACME, "logs job-7 follow")
    log = await slack.until(lambda: slack.message(ACME, "two"))
    await slack.until(lambda: ":gear:" not in shown(log))
    assert "one" in shown(log)


async def test_free_text_without_a_model_is_answered_by_what_can_be_said(
    scene: Scene, slack: SlackServer
) -> None:
    await slack.says(OLIVIA, "D0OLIVIA", "why is everything so slow today, my friend")
    told = await slack.until(lambda: slack.message("D0OLIVIA", "no model is configured"))
    assert "help" in shown(told)
    await slack.says(OLIVIA, "D0OLIVIA", "help")
    told = await slack.until(lambda: slack.message("D0OLIVIA", "What can be said"))
    assert "workload scale NAME REPLICAS in TENANT" in shown(told)


async def test_the_home_tab_shows_what_waits_and_what_ran(scene: Scene, slack: SlackServer) -> None:
    id, _ = await scene.waiting()
    await slack.happens(type="app_home_opened", user=OSCAR, tab="home", channel="D1")
    home = await slack.until(lambda: slack.homes.get(OSCAR))
    assert id in json.dumps(home)
    assert "Ran lately" in json.dumps(home)
    await scene.call("olivia", "call_reject", id=id, reason="enough")


async def test_an_assistant_thread_begins_with_what_might_be_said(
    scene: Scene, slack: SlackServer
) -> None:
    thread = {"channel_id": "D0OLIVIA", "thread_ts": "1.1", "user_id": OLIVIA, "context": {}}
    await slack.happens(type="assistant_thread_started", assistant_thread=thread)
    await slack.until(lambda: slack.prompts)


# ---- what gets in


async def test_what_is_not_freshly_signed_by_slack_never_gets_in(
    scene: Scene, slack: SlackServer
) -> None:
    now = str(int(time.time()))
    body = urlencode(slack.command(OLIVIA, LOOSE, "whoami"))
    old = str(int(time.time()) - 301)
    wrong = [
        {"signature": sign(body, now, "guessed")},
        {"signature": "v0="},
        {"signature": "nonsense"},
        {"stamp": old},
        {"stamp": str(int(time.time()) + 301)},
        {"stamp": old, "signature": sign(body, now)},
        {"stamp": "soon"},
        {"stamp": "-1"},
        {"stamp": "٣"},
    ]
    for one in wrong:
        assert (await slack.send(body, **one))[0] == 401, one
    where = f"{scene.url}/slack/events"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    async with slack.http.post(where, data=body.encode(), headers=kind) as answer:
        assert answer.status == 401
    assert slack.whispers == []

    assert (await slack.send(body, stamp=now))[0] == 200
    await slack.until(lambda: slack.whispers)
    # The very same request again, by whoever recorded it.
    assert (await slack.send(body, stamp=now))[0] == 401
    assert len(slack.whispers) == 1


async def test_what_slack_sends_again_is_done_once(scene: Scene, slack: SlackServer) -> None:
    text = json.dumps(slack.said(OLIVIA, ACME, "scale web to 5"))
    for retry in range(3):
        headers = {"X-Slack-Retry-Num": str(retry)} if retry else {}
        assert (await slack.send(text, stamp=str(int(time.time()) - retry), **headers))[0] == 200
    card = await slack.until(lambda: slack.card(ACME, "2 → 5"))
    rows = (await scene.call("olivia", "call_list", state="waiting")).answer["calls"]
    assert len([row for row in rows if row["tool"] == "workload_scale"]) == 1
    await scene.call("oscar", "call_reject", id=rows[0]["id"], reason="enough")
    await slack.until(lambda: "Rejected" in shown(card))


async def test_being_told_to_wait_is_waited_for(scene: Scene, slack: SlackServer) -> None:
    slack.refuse += [("chat.postMessage", 1)] * 2
    began = time.monotonic()
    await slack.says(OLIVIA, "D0OLIVIA", "whoami")
    await slack.until(lambda: slack.message("D0OLIVIA", "You are *olivia*"))
    assert time.monotonic() - began >= 2


async def test_many_commands_at_once_are_acknowledged_in_time_and_none_is_lost(
    scene: Scene, slack: SlackServer
) -> None:
    took = []

    async def one() -> None:
        began = time.monotonic()
        assert await slack.types(OLIVIA, LOOSE, "whoami") == 200
        took.append(time.monotonic() - began)

    await asyncio.gather(*(one() for _ in range(200)))
    await slack.until(lambda: len(slack.whispers) >= 200)
    assert max(took) < 3
    assert all("You are *olivia*" in shown(w) for w in slack.whispers)
