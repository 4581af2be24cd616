"""An alert in Slack: one message, its thread, and buttons that are commands of who presses them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.chatops.slack_scene import ACME, OLIVIA, OPS, VERA, Scene, in_one_task, in_slack
from tests.chatops.slack_server import labels, shown, slack_server
from tests.chatops.test_alerts import TOKEN, notification
from tests.conftest import Kube
from tools.alerts import Incident

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    shared_kube: Kube, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    options = {"alertmanager": {"token": TOKEN}}
    async with slack_server() as slack:
        state = tmp_path_factory.mktemp("alerts")
        made = in_slack(slack, shared_kube, moto_url, state, options=options)
        async with in_one_task(made) as scene:
            yield scene
        assert slack.wrong == []


async def test_an_alert_has_one_message_and_a_thread_whose_buttons_are_ones_own(
    scene: Scene,
) -> None:
    slack = scene.slack

    async def tell(status: str) -> None:
        body = notification(scene.tenant, status=status, alertname="WebDown")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(headers=headers) as client:
            answer = await client.post(f"{scene.url}/hooks/alertmanager", json=body)
        assert answer.status_code == 200, answer.text

    await tell("firing")
    first = await slack.until(lambda: slack.message(ACME, "WebDown: web restarts"))
    thread = await slack.until(lambda: slack.message(ACME, "What was found about"))
    assert thread["thread_ts"] == first["ts"]
    assert "Deployment/web: 2 of 2 ready" in shown(thread)
    assert "Changes" in shown(thread)
    assert "Restart web" in labels(thread)
    assert slack.message(OPS, "WebDown") is None  # the tenant has a channel of its own

    # For a viewer there is no such command; an operator has it, by the very same button.
    await slack.presses(VERA, thread, "Restart web")
    await slack.until(lambda: slack.whisper("no command"))
    await slack.presses(OLIVIA, thread, "Restart web")
    await slack.until(lambda: slack.message(ACME, "Restart Deployment web"))

    await tell("resolved")
    await slack.until(lambda: "resolved" in shown(slack.messages[ACME, first["ts"]]))
    ended = await slack.until(lambda: slack.message(ACME, "It is resolved"))
    assert (ended["thread_ts"], ended["reply_broadcast"]) == (first["ts"], False)
    await tell("firing")
    again = await slack.until(lambda: slack.message(ACME, "It fires again"))
    assert (again["thread_ts"], again["reply_broadcast"]) == (first["ts"], True)
    await tell("firing")
    await slack.until(lambda: "told 4 times" in shown(slack.messages[ACME, first["ts"]]))
    assert len([m for m in slack.messages.values() if "It fires again" in shown(m)]) == 1
    both = [m for m in slack.messages.values() if "WebDown: web restarts" in shown(m)]
    assert len(both) == 2  # the message and its thread, as before


async def test_nobody_is_told_of_a_tenant_that_is_gone_and_operators_of_what_is_about_none(
    scene: Scene,
) -> None:
    slack, alerts = scene.slack, scene.app.alerts
    now = datetime.now(UTC).isoformat()
    about: dict[str, Any] = {
        "status": "firing",
        "opened": now,
        "updated": now,
        "tenant": scene.tenant,
    }
    one = {"name": "Old", "status": "firing"}
    gone = Incident(id="a1", title="Old one", tenant_uid="before", alerts=[one], **about)
    nobodys = Incident(id="a2", title="Nobody's one", alerts=[one], **{**about, "tenant": ""})
    for incident in (gone, nobodys):
        await alerts._keep(incident)
        await alerts._show(incident)
    await slack.until(lambda: slack.message(OPS, "Nobody's one"))
    assert slack.message(ACME, "Old one") is None
    assert slack.message(OPS, "Old one") is None
