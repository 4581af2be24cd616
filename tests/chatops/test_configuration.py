"""Asked for configuration, over a whole Pilothouse: the manifest with what it would do."""

from typing import Any

import pytest
import yaml

from tests.chatops.anthropic_server import AnthropicServer, says, uses
from tests.chatops.talking import talking
from tests.house import OLIVIA
from tests.lodging import Lodging, deployment
from tools.calls import State

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "redis"},
    "spec": {"clusterIP": "None", "selector": {"app": "redis"}, "ports": [{"port": 6379}]},
}  # fmt: skip


def preview(home: Lodging, manifest: Any) -> tuple[str, dict[str, Any]]:
    return "resource_apply", {"tenant": home.tenant, "manifest": manifest, "preview": True}


async def test_each_manifest_comes_with_its_diff_and_nothing_is_made(
    home: Lodging, claude: AnthropicServer
) -> None:
    redis = deployment("redis", 3, image="redis:7")
    claude.play(
        uses(preview(home, yaml.safe_dump(SERVICE)), preview(home, redis)),
        says("A Service and three replicas. Shall I apply it?"),
    )
    talk = talking(home.app.gate, claude)
    reply = await talk.ask(home.user, "Create a Redis cluster")
    service, workload = reply.configuration
    assert yaml.safe_load(service.manifest) == SERVICE
    assert yaml.safe_load(workload.manifest) == redis
    for made in reply.configuration:
        assert made.error is None
        assert made.call_id is None
        assert made.changes[0].how in ("server", "probed")  # the API's own dry run, or its pod's
        assert made.changes[0].verb == "create"
    replicas = {d.path: d.after for d in workload.changes[0].diff}
    assert replicas["spec.replicas"] == 3
    found = await home.call(OLIVIA, "workload_list", tenant=home.tenant, text="redis")
    assert (found.answer or {})["total"] == 0

    # What the answer carries applies it, as the person.
    done = await home.call(home.user, service.tool, **service.arguments)
    assert done.state is State.SUCCEEDED
    # Or the agent asks for it, and the person confirms.
    asks = ("resource_apply", {"tenant": home.tenant, "manifest": redis})
    claude.play(uses(asks), says("It waits for you."))
    applied = await talk.ask(home.user, "Yes", conversation=reply.conversation)
    (waiting,) = applied.waiting
    assert applied.configuration[0].call_id == waiting.call_id
    confirmed = await home.call(home.user, "call_confirm", id=waiting.call_id)
    assert confirmed.state is State.SUCCEEDED


async def test_what_the_cluster_refuses_is_mended_and_shown_once(
    home: Lodging, claude: AnthropicServer
) -> None:
    wrong = SERVICE | {"metadata": {"name": "cache"}, "spec": {"ports": [{"port": 99999}]}}
    right = wrong | {"spec": {"ports": [{"port": 6379}]}}
    claude.play(uses(preview(home, wrong)), uses(preview(home, right)), says("Mended."))
    reply = await talking(home.app.gate, claude).ask(home.user, "A Service, please")
    assert [u.outcome and u.outcome.error is None for u in reply.calls] == [False, True]
    (one,) = reply.configuration
    assert yaml.safe_load(one.manifest) == right
    assert one.error is None


async def test_what_stays_refused_says_why(home: Lodging, claude: AnthropicServer) -> None:
    claude.play(uses(preview(home, "no: object")), says("I cannot."))
    reply = await talking(home.app.gate, claude).ask(home.user, "Something")
    assert reply.configuration[0].error
    assert "apiVersion" in reply.configuration[0].error.message
