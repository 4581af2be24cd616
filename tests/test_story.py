"""The main job, from an agent's client to the cluster and back: a tenant is provisioned, runs a
job, scales a workload, meets an approval, and is undone. The client is the official one."""

import asyncio
import contextlib
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ElicitResult

from server.app import open_app
from server.commands.serving import serving
from server.identity import new_token
from tests.house import settings
from tools.calls import Caller

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[1]
OPTIONS = {"port": 0, "limits": {"grace_s": 1, "wait_s": 60}}
PEOPLE: dict[str, dict[str, Any]] = {
    "olivia": {"operator": True},
    "oscar": {"operator": True},
    "copilot": {"operator": True, "agent": True, "person": "olivia"},
}
WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "registry.k8s.io/pause:3.10"}]},
        },
    },
}


class User:
    """Who sits before the agent's client: says yes until told otherwise."""

    def __init__(self) -> None:
        self.says = "accept"
        self.asked: list[str] = []

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        self.asked.append(params.message)
        content = {"confirm": True} if self.says == "accept" else None
        return ElicitResult(action=self.says, content=content)


@dataclass
class Scene:
    """`approve` is another operator's, who comes by another way than the agent."""

    client: Client
    user: User
    approve: Callable[[str], Awaitable[None]]

    async def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        result: CallToolResult = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        await self.client.session.validate_tool_result(tool, result)
        return result.structured_content

    async def settled(self, call_id: str) -> str:
        shown = await self.call("call_wait", id=call_id, wait_s=60)
        return shown["call"]["outcome"]["state"]


async def story(scene: Scene, tenant: str) -> None:
    client, user = scene.client, scene.user
    listed = {t.name: t for t in (await client.list_tools()).tools}
    assert {"tenant_create", "job_create", "workload_scale", "call_undo"} <= listed.keys()
    assert not {"call_approve", "call_confirm", "call_reject", "token_create"} & listed.keys()

    # A look at what would be made; then asked for, twice with one key; then somebody else decides.
    planned = await scene.call("tenant_create", name=tenant, plan="pro", preview=True)
    assert planned["state"] == "planning"
    assert len(planned["changes"]) > 12
    asked = await scene.call("tenant_create", name=tenant, plan="pro", key="make-it")
    again = await scene.call("tenant_create", name=tenant, plan="pro", key="make-it")
    assert asked["state"] == again["state"] == "awaiting_approval"
    assert asked["call_id"] == again["call_id"]
    assert asked["call_id"] in asked["next"]
    assert user.asked == []
    waiting = [r.uri for r in (await client.list_resources()).resources]
    assert f"pilothouse://calls/{asked['call_id']}" in waiting
    created = asked["call_id"]
    await scene.approve(created)
    assert await scene.settled(created) == "succeeded"
    shown = await client.read_resource(f"pilothouse://tenants/{tenant}")
    assert json.loads(shown.contents[0].text)["plan"] == "pro"

    # A job: the user confirms it in the client, its progress comes, and its log.
    told: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(message)

    script = ["sh", "-c", "echo hello from $WHO"]
    job = await client.call_tool(
        "job_create",
        {
            "tenant": tenant,
            "name": "hello",
            "image": "busybox:1.37",
            "command": script,
            "env": {"WHO": "acme"},
            "wait": True,
        },
        progress_callback=progress,
    )
    assert job.structured_content["state"] == "succeeded", job.structured_content
    assert len(user.asked) == 1
    assert "hello" in user.asked[0]
    assert told
    log = await scene.call("job_logs", tenant=tenant, name="hello")
    assert log["text"] == "hello from acme\n"
    assert (await scene.call("job_get", tenant=tenant, name="hello"))["exit_code"] == 0

    # A workload, scaled and taken back.
    web = await scene.call("resource_apply", tenant=tenant, manifest=WEB)
    assert web["state"] == "succeeded", web
    planned = await scene.call(
        "workload_scale", tenant=tenant, name="web", replicas=3, preview=True
    )
    assert planned["changes"][0]["diff"] == [{"path": "spec.replicas", "before": 2, "after": 3}]
    scaled = await scene.call("workload_scale", tenant=tenant, name="web", replicas=3)
    assert scaled["state"] == "succeeded"
    assert "spec.replicas: 2 → 3" in user.asked[-1]
    rows = (await scene.call("workload_list", tenant=tenant))["workloads"]
    assert [(r["name"], r["ready"]) for r in rows] == [("web", "3/3")]
    undone = await scene.call("call_undo", id=scaled["call_id"])
    assert undone["state"] == "succeeded"
    rows = (await scene.call("workload_list", tenant=tenant))["workloads"]
    assert [(r["name"], r["ready"]) for r in rows] == [("web", "2/2")]

    # The user says no: it waits, and nothing is touched.
    user.says = "decline"
    refused = await scene.call("workload_scale", tenant=tenant, name="web", replicas=0)
    assert refused["state"] == "awaiting_confirmation"
    assert "did not confirm" in refused["why"]
    user.says = "accept"

    # Errors a model can act on.
    wrong = await client.call_tool("workload_scale", {"tenant": tenant, "name": "web"})
    assert wrong.is_error
    assert wrong.structured_content["error"]["code"] == "invalid_argument"
    missing = await client.call_tool("workload_get", {"tenant": tenant, "name": "none"})
    assert missing.structured_content["error"]["code"] == "not_found"
    assert missing.structured_content["error"]["hint"]

    # The whole tenant is taken back, which somebody else has to approve.
    back = await scene.call("call_undo", id=created)
    assert back["state"] == "awaiting_approval"
    await scene.approve(back["call_id"])
    assert await scene.settled(back["call_id"]) == "succeeded"
    gone = await client.call_tool("tenant_get", {"tenant": tenant})
    assert gone.structured_content["error"]["code"] == "not_found"


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


async def people(app: Any) -> dict[str, str]:
    """Their tokens, by name."""
    tokens = {}
    maker = Caller.of("olivia", operator=True)
    for name, fields in PEOPLE.items():
        tokens[name], sha256 = new_token()
        rights = {"tenants": {}, "agent": False, "person": "", "expires_days": None} | fields
        await app.identity.tokens.create(maker, sha256=sha256, subject=name, **rights)
    return tokens


async def test_over_http_with_the_approval_given_over_rest(kube, aws, moto_url, tmp_path, tenant):
    user = User()
    async with contextlib.AsyncExitStack() as stack:
        app, url = await stack.enter_async_context(
            serving(settings(tmp_path, kube.kubeconfig, moto_url, **OPTIONS))
        )
        tokens = await people(app)

        async def approve(call_id: str) -> None:
            headers = {"Authorization": f"Bearer {tokens['oscar']}"}
            async with httpx.AsyncClient(headers=headers, timeout=90) as http:
                where = f"{url}/api/v1/tools/call_approve"
                answer = await http.post(where, json={"id": call_id})
                assert answer.status_code in (200, 202), answer.text

        headers = {"Authorization": f"Bearer {tokens['copilot']}"}
        http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=90))
        client = await stack.enter_async_context(
            Client(
                streamable_http_client(f"{url}/mcp", http_client=http),
                mode="2026-07-28",
                elicitation_callback=user,
            )
        )
        await story(Scene(client, user, approve), tenant)


async def test_over_stdio_with_the_approval_given_on_the_command_line(
    kube, aws, moto_url, tmp_path, tenant
):
    async with open_app(settings(tmp_path, kube.kubeconfig, moto_url)) as app:
        tokens = await people(app)
    config = tmp_path / "pilothouse.toml"
    config.write_text(
        f'state = "{tmp_path}"\nkubeconfig = "{kube.kubeconfig}"\n'
        f'[aws]\nregion = "eu-west-1"\nbucket = "tenants"\nendpoint = "{moto_url}"\n'
        'oidc_provider = "oidc.example/id/1"\n[limits]\ngrace_s = 1\nwait_s = 60\n'
    )
    command = [sys.executable, "-m", "server.start"]

    def env(name: str) -> dict[str, str]:
        return dict(os.environ) | {"PILOTHOUSE_TOKEN": tokens[name], "PYTHONPATH": str(ROOT)}

    async def approve(call_id: str) -> None:
        run = await asyncio.create_subprocess_exec(
            *command, "approve", call_id, "--config", config, "--yes",
            env=env("oscar"), cwd=ROOT,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(run.communicate(), 120)
        assert run.returncode == 0, said.decode()

    user = User()
    start = StdioServerParameters(
        command=command[0],
        args=[*command[1:], "mcp", "--config", str(config)],
        env=env("copilot"),
        cwd=str(ROOT),
    )
    with (tmp_path / "log").open("w") as log:
        async with stdio(start, log, user) as client:
            await story(Scene(client, user, approve), tenant)


@contextlib.asynccontextmanager
async def stdio(start: StdioServerParameters, log: Any, user: User) -> AsyncIterator[Client]:
    transport = stdio_client(start, errlog=log)
    async with Client(transport, mode="legacy", elicitation_callback=user) as client:
        yield client
