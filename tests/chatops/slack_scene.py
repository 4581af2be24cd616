"""A served Pilothouse that is in Slack: two operators, a viewer, a tenant with a workload."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from server.app import App
from server.chat import Links
from server.commands.serving import serving
from server.identity import new_token
from tests.chatops.slack_server import SECRET, TEAM, TOKEN, Message, SlackServer
from tests.conftest import ROOT, Kube
from tests.house import House, settings
from tests.lodging import deployment, with_bucket
from tools.calls import Caller, Outcome, Role, State
from tools.errors import ToolError

T = TypeVar("T")
OPS, ACME, LOOSE = "C0OPS", "C0ACME", "C0LOOSE"
OLIVIA, OSCAR, VERA, STRANGER = "UOLIVIA", "UOSCAR", "UVERA", "USTRANGER"


# Here, somebody else approves it when the replicas of a workload are set.
STRICT = """
@id("scaling-is-approved")
forbid (principal, action in [Action::"unattended", Action::"confirm"], resource)
when { resource.name == "workload_scale" };
"""


@dataclass
class Scene:
    """Channel `OPS` is the approvers', `ACME` is about the tenant, `LOOSE` about nothing."""

    app: App
    slack: SlackServer
    url: str
    tenant: str

    @property
    def links(self) -> Links:
        assert isinstance(self.app.local_gate.chat, Links)
        return self.app.local_gate.chat

    async def call(self, who: str, tool: str, /, **arguments: Any) -> Outcome:
        caller = await self.app.identity.person(who, "rest")
        assert caller is not None
        return await self.app.gate.call(caller, tool, arguments, wait_s=60)

    async def state(self, id: str) -> str:
        answer = (await self.call("olivia", "call_get", id=id)).answer
        assert answer is not None
        return str(answer["call"]["outcome"]["state"])

    async def replicas(self) -> int:
        found = await self.call(
            "olivia", "resource_get", tenant=self.tenant, kind="Deployment", name="web"
        )
        assert found.answer is not None, found
        return int(found.answer["object"]["spec"]["replicas"])

    async def waiting(self, tool: str = "workload_delete") -> tuple[str, Message]:
        """A call of Olivia's that waits, and its card."""
        asked = await self.call("olivia", tool, tenant=self.tenant, name="web")
        assert asked.state is State.AWAITING_APPROVAL, asked
        id = str(asked.call_id)
        return id, await self.slack.until(lambda: self.slack.card(ACME, id))


async def person(app: App, name: str, **rights: Any) -> str:
    """Their token."""
    token, sha256 = new_token()
    rights = {"tenants": {}, "operator": False, "agent": False, "person": ""} | rights
    by = Caller.of("olivia", operator=True)
    await app.identity.tokens.create(by, sha256=sha256, subject=name, expires_days=None, **rights)
    return token


async def in_touch(app: App) -> None:
    """Wait until Slack has let us in."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await app.health.extras["slack"]()
            except ToolError:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def in_slack(
    slack: SlackServer,
    kube: Kube,
    aws_url: str,
    state: Path,
    *,
    options: Any = None,
    tenant: str = "",
    **more: Any,
) -> AsyncIterator[Scene]:
    tenant = tenant or f"t-{uuid.uuid4().hex[:8]}"
    there = {"bot_token": TOKEN, "signing_secret": SECRET, "approvers": OPS}
    there |= {"api": f"{slack.url}/api/", "channels": {ACME: tenant}} | more
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ACCESS_KEY_ID", "practice")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "practice")
        policy = state / "policy.cedar"
        policy.write_text((ROOT / "server" / "policy.cedar").read_text() + STRICT)
        made = settings(
            state, kube.kubeconfig, aws_url, port=0, slack=there, policy=policy, **(options or {})
        )
        async with serving(made) as (app, slack.pilothouse):
            await in_touch(app)
            await person(app, "olivia", operator=True)
            await person(app, "oscar", operator=True)
            scene = Scene(app, slack, slack.pilothouse, tenant)
            for user, name in ((OLIVIA, "olivia"), (OSCAR, "oscar"), (VERA, "vera")):
                await scene.links.store.link(f"{TEAM}/{user}", name)
            await with_bucket(House(app))
            asked = await scene.call("olivia", "tenant_create", name=tenant)
            done = await scene.call("oscar", "call_approve", id=asked.call_id)
            assert done.state is State.SUCCEEDED, done
            await person(app, "vera", tenants={tenant: Role.VIEWER})
            manifest = deployment(replicas=2)
            # Its container is called as the practice Prometheus calls it.
            manifest["spec"]["template"]["spec"]["containers"][0]["name"] = "web"
            web = await scene.call("olivia", "resource_apply", tenant=tenant, manifest=manifest)
            assert web.state is State.SUCCEEDED, web
            yield scene
    await kube.api.request("DELETE", f"/api/v1/namespaces/{tenant}")


@asynccontextmanager
async def in_one_task(made: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enters and leaves in the same task, which a fixture of a whole module does not."""
    there: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def keep() -> None:
        try:
            async with made as thing:
                there.set_result(thing)
                await over.wait()
        except BaseException as error:
            if there.done():
                raise
            there.set_exception(error)

    task = asyncio.create_task(keep())
    try:
        yield await there
    finally:
        over.set()
        await task
