"""An alert in Slack: one message, its thread, and buttons that are commands of who presses them."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.chatops.slack_scene import ACME, OLIVIA, OPS, VERA, Scene, in_one_task, in_slack
from tests.chatops.slack_server import labels, shown, slack_server
from tests.chatops.test_alerts import TOKEN, notification
from tests.conftest import Kube

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
    assert "workload_get" in shown(thread)
    assert "Restart web" in labels(thread)
    assert slack.message(OPS, "WebDown") is None  # the tenant has a channel of its own

    # For a viewer there is no such command; an operator has it, by the very same button.
    await slack.presses(VERA, thread, "Restart web")
    await slack.until(lambda: slack.whisper("no command"))
    await slack.presses(OLIVIA, thread, "Restart web")
    await slack.until(lambda: slack.message(ACME, "Restart Deployment web"))

    await tell("resolved")
    await slack.until(lambda: "resolved" in shown(slack.messages[ACME, first["ts"]]))
    both = [m for m in slack.messages.values() if "WebDown: web restarts" in shown(m)]
    assert len(both) == 2  # the message and its thread, as before
