"""Slack by Socket Mode, what happened while it was away, and what the app asks of a workspace."""

import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from chatops.slack import manifest
from server.commands.serving import serving
from tests.chatops.slack_scene import ACME, LOOSE, OLIVIA, OSCAR, in_slack
from tests.chatops.slack_server import APP_TOKEN, SlackServer, labels, shown, slack_server
from tests.conftest import ROOT, Kube, reached


@pytest.fixture
async def kube(practice: Any, tmp_path: Path):
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    async with reached(str(tmp_path / "kubeconfig")) as kube:
        yield kube


async def envelope(slack: SlackServer, kind: str, payload: dict[str, Any]) -> None:
    """Through the socket that is open; returns when it was acknowledged."""
    id = uuid.uuid4().hex
    sent = {"envelope_id": id, "type": kind, "payload": payload, "accepts_response_payload": True}
    await slack.sockets[-1].send_json(sent)
    await slack.until(lambda: id in slack.acknowledged, 3)


async def test_over_a_socket_it_connects_anew_by_itself_and_takes_nothing_unsigned(
    kube: Kube, moto_url: str, tmp_path: Path
) -> None:
    async with (
        slack_server() as slack,
        in_slack(slack, kube, moto_url, tmp_path, app_token=APP_TOKEN, signing_secret="") as scene,
    ):
        await slack.until(lambda: slack.sockets)
        await envelope(slack, "slash_commands", slack.command(OLIVIA, LOOSE, "whoami"))
        await slack.until(lambda: slack.whisper("You are *olivia*"))

        # A whole call, decided over the socket.
        await envelope(slack, "events_api", slack.said(OLIVIA, ACME, "scale web to 4"))
        card = await slack.until(lambda: slack.card(ACME, "2 → 4") or slack.card(ACME, "to 4"))
        await envelope(slack, "interactive", slack.press(OSCAR, card, "Approve"))
        await slack.until(lambda: "Done" in shown(card))
        assert await scene.replicas() == 4

        gone = slack.sockets[-1]
        await gone.close()
        await slack.until(lambda: slack.sockets and slack.sockets[-1] is not gone, 30)
        slack.whispers.clear()
        await envelope(slack, "slash_commands", slack.command(OLIVIA, LOOSE, "whoami"))
        await slack.until(lambda: slack.whisper("You are *olivia*"))

        # Without a secret nothing is taken over HTTP, however it is signed.
        assert (await slack.send("command=%2Fpilot"))[0] in (401, 404)
        assert slack.wrong == []


async def test_what_was_decided_while_slack_was_away_is_shown_when_it_is_back(
    kube: Kube, moto_url: str, tmp_path: Path
) -> None:
    async with slack_server() as slack:
        async with in_slack(slack, kube, moto_url, tmp_path) as scene:
            id, card = await scene.waiting()
            slack.refuse += [("chat.update", 0)] * 100  # Slack is busy
            await scene.call("oscar", "call_reject", id=id, reason="not now")
            assert labels(card)[0] == "Approve"
            made = scene.app.settings
        assert labels(card)[0] == "Approve"
        slack.refuse.clear()
        async with serving(made):
            await slack.until(lambda: "Rejected" in shown(card))
            assert "not now" in shown(card)
        assert slack.wrong == []


def test_the_manifest_asks_for_what_is_called_and_listened_to_and_no_more() -> None:
    code = "".join(p.read_text() for p in (ROOT / "chatops" / "slack").glob("*.py"))
    called = {
        "chat_stream": ["chat.startStream", "chat.appendStream", "chat.stopStream"],
        "files_upload_v2": ["files.getUploadURLExternal", "files.completeUploadExternal"],
    }
    used = [m for word, methods in called.items() if f".{word}(" in code for m in methods]
    words = {method.replace(".", "_"): method for method in manifest.SCOPES}
    used += [method for word, method in words.items() if f"client.{word}(" in code]
    assert sorted(set(used)) == sorted(manifest.SCOPES)
    assert set(re.findall(r"(?<!_socket\.)client\.([a-z]\w+_\w+)\(", code)) <= {*words, *called}
    listened = set(re.findall(r'@app\.event\("(\w+)"\)', code))
    assert listened == {event.partition(".")[0] for event in manifest.EVENTS}


def test_the_manifest_is_printed_for_either_way() -> None:
    def printed(*options: str) -> dict[str, Any]:
        asked = [sys.executable, "-m", "server.start", "slack", "manifest", *options]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert printed()["settings"]["socket_mode_enabled"]
    there = printed("--url", "https://pilot.example.com/")
    assert not there["settings"]["socket_mode_enabled"]
    where = "https://pilot.example.com/slack/events"
    assert there["settings"]["event_subscriptions"]["request_url"] == where
    assert there["features"]["slash_commands"][0]["url"] == where
