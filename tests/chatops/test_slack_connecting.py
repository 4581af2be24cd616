"""Slack that is not there, that refuses us, or is too busy; and whose channels are whose."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from chatops.alerts import Notification
from chatops.slack import cards
from server.chat import make_store
from server.commands.serving import serving
from tests.chatops.slack_scene import (
    ACME,
    LOOSE,
    OLIVIA,
    OPS,
    OSCAR,
    Scene,
    in_one_task,
    in_slack,
    in_touch,
    person,
)
from tests.chatops.slack_server import (
    APP_TOKEN,
    SECRET,
    TEAM,
    TOKEN,
    SlackServer,
    shown,
    slack_server,
)
from tests.chatops.test_alerts import notification
from tests.conftest import Kube, reached
from tests.house import OLIVIA as BOSS
from tests.house import settings
from tools.calls import State
from tools.errors import ToolError


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    shared_kube: Kube, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    """What Slack did not take is shown to it again at once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cards, "MADE_UP_S", 0.2)
        async with slack_server() as slack:
            made = in_slack(slack, shared_kube, moto_url, tmp_path_factory.mktemp("slack"))
            async with in_one_task(made) as scene:
                yield scene


shared = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
async def kube(practice: Any, tmp_path: Path) -> AsyncIterator[Kube]:
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    async with reached(str(tmp_path / "kubeconfig")) as kube:
        yield kube


async def told_of_slack(app: Any, words: str) -> None:
    """Wait until the platform's status says this of Slack."""
    async with asyncio.timeout(30):
        while True:
            try:
                await app.health.extras["slack"]()
            except ToolError as error:
                if words in error.message:
                    return
            await asyncio.sleep(0.02)


async def test_a_server_starts_and_works_while_slack_cannot_be_reached(
    kube: Kube, moto_url: str, tmp_path: Path
) -> None:
    there = {"bot_token": TOKEN, "signing_secret": SECRET, "api": "http://127.0.0.1:9/api/"}
    made = settings(tmp_path, kube.kubeconfig, moto_url, port=0, slack=there)
    async with slack_server() as slack, serving(made) as (app, slack.pilothouse):
        await told_of_slack(app, "Slack cannot be reached")
        status = await app.gate.call(BOSS, "platform_status", {})
        assert status.answer is not None
        checks = status.answer["checks"]
        assert "cannot be reached" in checks["slack"]["error"]
        assert checks["state"]["ok"]
        assert (await slack.send("command=%2Fpilot"))[0] == 503
        assert await app.health.ready()


async def test_one_who_asks_too_often_is_told_so_and_slack_itself_is_never_shut_out(
    kube: Kube, moto_url: str, tmp_path: Path
) -> None:
    """Whatever comes from Slack comes from a few addresses. Unsigned, it is anybody's."""
    there = {"bot_token": TOKEN, "signing_secret": SECRET, "approvers": OPS}
    limits = {"grace_s": 1, "calls_per_second": 1, "address_per_second": 3}
    from_afar = {"X-Forwarded-For": "192.0.2.7"}
    async with slack_server() as slack:
        made = settings(
            tmp_path, kube.kubeconfig, moto_url, port=0, limits=limits,
            trusted_proxies=["127.0.0.1"], slack=there | {"api": f"{slack.url}/api/"},
        )  # fmt: skip
        async with serving(made) as (app, slack.pilothouse):
            await in_touch(app)
            for user, name in ((OLIVIA, "olivia"), (OSCAR, "oscar")):
                await person(app, name, operator=True)
                await app.links.store.link(f"{TEAM}/{user}", name)
            asked = [urlencode(slack.command(OLIVIA, LOOSE, "whoami")) for _ in range(12)]
            answers = await asyncio.gather(*(slack.send(one, **from_afar) for one in asked))
            assert {status for status, _ in answers} == {200}
            await slack.until(lambda: len(slack.whispers) == 12)
            refused = [w for w in slack.whispers if "You ask too often" in shown(w)]
            assert 5 <= 12 - len(refused) < 10  # five may come in a burst
            assert "Try again in" in shown(refused[0])
            await slack.types(OSCAR, LOOSE, "whoami")
            await slack.until(lambda: slack.whisper("You are *oscar*"))
            forged = {"signature": "v0=forged", **from_afar}
            answers = await asyncio.gather(*(slack.send("command=x", **forged) for _ in range(20)))
            assert {status for status, _ in answers} == {401, 429}


async def test_a_refused_token_is_said_and_once_it_is_taken_what_was_missed_is_shown(
    kube: Kube, moto_url: str, tmp_path: Path
) -> None:
    there = {"bot_token": TOKEN, "app_token": APP_TOKEN, "approvers": OPS}
    async with slack_server() as slack:
        there["api"] = f"{slack.url}/api/"
        made = settings(tmp_path, kube.kubeconfig, moto_url, port=0, slack=there)
        slack.fail["auth.test"] = "invalid_auth"
        async with serving(made) as (app, _):
            await told_of_slack(app, "Slack does not take slack.bot_token: invalid_auth")
            slack.fail = {"apps.connections.open": "not_allowed_token_type"}
            await told_of_slack(app, "Slack does not take slack.app_token: not_allowed_token_type")
            await app.alerts.receive(Notification.model_validate(notification("kube-system")))
            slack.fail.clear()
            await in_touch(app)
            assert slack.sockets
            await slack.until(lambda: slack.message(OPS, "KubePodCrashLooping"))


@shared
async def test_told_to_wait_for_an_hour_others_are_served_and_it_is_made_up_for(
    scene: Scene,
) -> None:
    slack = scene.slack
    id, card = await scene.waiting()
    slack.refuse.append(("chat.update", 3600))
    await scene.call("oscar", "call_reject", id=id, reason="not now")
    await slack.until(lambda: "Rejected" in shown(card))
    assert slack.refuse == []


@shared
async def test_what_was_unbound_stays_so_until_the_settings_say_something_new(
    scene: Scene,
) -> None:
    slack, tenant, settings = scene.slack, scene.tenant, scene.app.settings.slack
    await slack.says(OLIVIA, ACME, "workloads")
    await slack.until(lambda: slack.message(ACME, "web"))
    await slack.types(OLIVIA, ACME, "unbind")
    await slack.until(lambda: slack.whisper("bound to nothing"))
    for channels, bound in (
        ({ACME: tenant}, ""),
        ({ACME: "other"}, "other"),
        ({}, ""),
        ({ACME: tenant}, tenant),
    ):
        said = settings.model_copy(update={"channels": channels})
        # As at each start.
        store = await make_store(scene.app.journal, scene.app.identity.now, said)
        assert await store.tenant_of(ACME) == bound
        assert await store.tenant_of(OPS) == "*"


@shared
async def test_a_channel_is_about_a_tenant_and_not_about_a_later_one_of_its_name(
    scene: Scene,
) -> None:
    slack = scene.slack
    await slack.types(OLIVIA, LOOSE, f"bind {scene.tenant}")
    await slack.until(lambda: slack.whisper("bound to tenant"))
    await slack.says(OLIVIA, ACME, f"tenant {scene.tenant}")
    await slack.until(lambda: slack.message(ACME, "Show a tenant"))
    await approved(scene, "tenant_delete", tenant=scene.tenant)
    await approved(scene, "tenant_create", name=scene.tenant)
    before = set(slack.messages)
    for channel in (LOOSE, ACME):
        slack.whispers.clear()
        await slack.says(OLIVIA, channel, f"tenant {scene.tenant}")
        told = await slack.until(lambda: slack.whisper("Show a tenant"))
        assert told["user"] == OLIVIA
    assert {key for key in slack.messages if key[0] != OPS} == {k for k in before if k[0] != OPS}
    assert (await asked(slack, "bind")) == "bound to nothing"
    assert slack.wrong == []


async def approved(scene: Scene, tool: str, /, **arguments: Any) -> None:
    asked = await scene.call("olivia", tool, **arguments)
    done = await scene.call("oscar", "call_approve", id=asked.call_id)
    assert done.state is State.SUCCEEDED, done


async def asked(slack: SlackServer, text: str) -> str:
    slack.whispers.clear()
    await slack.types(OLIVIA, ACME, text)
    told = await slack.until(lambda: slack.whisper("This channel is"))
    return shown(told).partition("channel is ")[2].partition(".")[0]
