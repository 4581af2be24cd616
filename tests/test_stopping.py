"""Processes that are told to stop in the middle of something, and those that come after them."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from server import carrier
from server.app import open_app
from server.identity import new_token
from server.settings import Settings
from tests.conftest import ROOT, reached
from tests.house import OLIVIA, OSCAR, House, opened, settings
from tests.lodging import refused, with_bucket
from tests.processes import Server, environment, serve
from tools.calls import Caller, State
from tools.errors import Code, ToolError


@pytest.fixture
async def here(practice: Any, aws: Any, moto_url: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings, also as the file `p.toml`; there are two operators with tokens of their names."""
    practice.faults.clear()
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    text = (
        f'state = "{tmp_path}/state"\nkubeconfig = "{tmp_path}/kubeconfig"\n'
        f'[aws]\nregion = "eu-west-1"\nbucket = "tenants"\nendpoint = "{moto_url}"\n'
        'oidc_provider = "oidc.example/id/1"\n[limits]\ngrace_s = 1\n'
    )
    (tmp_path / "p.toml").write_text(text)
    (tmp_path / "state").mkdir()
    made = settings(tmp_path / "state", str(tmp_path / "kubeconfig"), moto_url)
    async with reached(str(tmp_path / "kubeconfig")):
        yield made
    practice.faults.clear()


async def tokens(here: Settings, *names: str) -> dict[str, str]:
    """Operators' tokens by name."""
    found = {}
    async with open_app(here) as app:
        for name in names:
            found[name], sha256 = new_token()
            await app.identity.tokens.create(
                Caller.of("olivia", operator=True), sha256=sha256, subject=name, tenants={},
                operator=True, agent=False, person="", expires_days=None,
            )  # fmt: skip
    return found


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[Server]:
    server = await serve("--config", str(tmp_path / "p.toml"))
    try:
        yield server
    finally:
        if server.process.returncode is None:
            server.process.kill()
            await server.process.wait()


async def ended(house: House, call_id: str) -> State:
    await house.call(OLIVIA, "call_wait", id=call_id, wait_s=30)
    return await house.state(call_id)


async def test_told_to_stop_it_finishes_what_it_can_and_parks_the_rest_for_who_comes_next(
    here: Settings, practice: Any, tmp_path: Path
) -> None:
    """The next is started at once, as a supervisor may: it waits for the state."""
    who = await tokens(here, "olivia", "oscar")
    async with served(tmp_path) as first:
        made = await first.call(who["olivia"], "tenant_create", name="t-stops")
        await first.call(who["oscar"], "call_approve", id=made["call_id"])
        job = {"tenant": "t-stops", "name": "long", "image": "busybox", "wait": True}
        job["command"] = ["sleep", "500"]
        long = asyncio.create_task(first.call(who["olivia"], "job_create", "?wait=60", **job))
        await until_job(practice, "long")
        practice.faults.delay(0.5, method="PATCH", path="resourcequotas/plan(?!.*dryRun)")
        change = {"tenant": "t-stops", "plan": "pro"}
        asked = await first.call(who["olivia"], "tenant_update", **change)
        short = asyncio.create_task(first.call(who["oscar"], "call_approve", id=asked["call_id"]))
        await happened(practice, "delay")
        first.process.send_signal(signal.SIGTERM)
        async with served(tmp_path) as second:
            assert await first.ended() == 0
            assert (await short)["state"] == "succeeded", "who waited for its end is told of it"
            parked = await long
            assert parked["state"] == "running", "who waited is told that it goes on"
            practice.step(500)
            ends = await second.call(who["olivia"], "call_wait", id=parked["call_id"], wait_s=30)
            assert ends["answer"]["call"]["outcome"]["state"] == "succeeded"
            shown = await second.call(who["olivia"], "job_get", tenant="t-stops", name="long")
            assert (shown["answer"]["attempts"], shown["answer"]["exit_code"]) == (1, 0)
            assert await second.stop(signal.SIGINT) == 0
    async with opened(here) as house:
        await house.done("tenant_delete", tenant="t-stops")


async def test_told_twice_it_ends_as_it_stands_and_loses_nothing(
    here: Settings, practice: Any, tmp_path: Path
) -> None:
    who = await tokens(here, "olivia", "oscar")
    async with served(tmp_path) as server:
        waits = await server.call(who["olivia"], "tenant_create", name="t-twice")
        practice.faults.hang(method="PATCH", path="limitranges/plan(?!.*dryRun)")
        going = asyncio.create_task(server.call(who["oscar"], "call_approve", id=waits["call_id"]))
        await happened(practice, "hang")
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        assert await server.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        await asyncio.gather(going, return_exceptions=True)
    async with opened(here) as house:
        assert await ended(house, waits["call_id"]) is State.FAILED
        assert (await house.call(OLIVIA, "tenant_get", tenant="t-twice")).error


async def test_a_change_that_hangs_when_it_is_to_stop_is_found_out_about_by_the_next(
    here: Settings, practice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "PARK_S", 0.1)
    async with opened(here) as house:
        await with_bucket(house)
        waits = await house.call(OLIVIA, "tenant_create", name="t-hangs")
        practice.faults.hang(method="PATCH", path="limitranges/plan(?!.*dryRun)")
        going = asyncio.create_task(house.call(OSCAR, "call_approve", id=waits.call_id))
        await happened(practice, "hang")
        await house.app.stop()
        assert (await going).state is State.RUNNING
        refused(await house.call(OLIVIA, "tenant_list"), Code.UNAVAILABLE, "stopping")
    async with opened(here) as house:
        assert await ended(house, str(waits.call_id)) is State.FAILED
        found = await house.call(OLIVIA, "tenant_list")
        assert found.answer
        assert "t-hangs" not in [t["name"] for t in found.answer["tenants"]]


async def test_a_stream_that_is_open_ends_when_the_process_is_to_stop(
    here: Settings, practice: Any
) -> None:
    async with opened(here) as house:
        await with_bucket(house)
        await house.done("tenant_create", name="t-follows")
        job = {"tenant": "t-follows", "name": "long", "image": "busybox"}
        await house.done("job_create", **job, command=["sh", "-c", "echo hello; sleep 500"])
        about = {"tenant": "t-follows", "name": "long", "follow": True}
        stream = house.app.gate.stream(OLIVIA, "job_logs", about)
        assert (await anext(stream))["line"] == "hello"
        await house.app.stop()
        with pytest.raises(ToolError, match="stopping"):
            async for _ in stream:
                pass
    async with opened(here) as house:
        await house.done("tenant_delete", tenant="t-follows")


async def test_two_mcp_clients_that_start_a_process_each_both_work(
    here: Settings, tmp_path: Path
) -> None:
    """One of the two owns the state; when its client leaves, the other's takes over."""
    start = StdioServerParameters(
        command=sys.executable,
        args=["-m", "server.start", "mcp", "--config", str(tmp_path / "p.toml")],
        env=environment(),
        cwd=str(ROOT),
    )

    async def asked(client: Client) -> dict[str, Any]:
        result = await client.call_tool("tenant_list", {})
        assert not result.is_error, result.content
        return result.structured_content

    leave, gone, both = asyncio.Event(), asyncio.Event(), asyncio.Barrier(2)

    async def first(log: Any) -> None:
        async with Client(stdio_client(start, errlog=log), mode="legacy") as client:
            await both.wait()
            await asked(client)
            await leave.wait()
        gone.set()

    async def second(log: Any) -> None:
        async with Client(stdio_client(start, errlog=log), mode="legacy") as client:
            await both.wait()
            await asked(client)
            leave.set()
            await gone.wait()
            await asked(client)

    with (tmp_path / "log").open("w") as log:
        await asyncio.wait_for(asyncio.gather(first(log), second(log)), 60)
    assert "Traceback" not in (tmp_path / "log").read_text()


async def happened(practice: Any, what: str) -> None:
    async with asyncio.timeout(30):
        while what not in [how for how, _, _ in practice.faults.happened]:
            await asyncio.sleep(0.01)
    practice.faults.happened.clear()


async def until_job(practice: Any, name: str) -> None:
    async with asyncio.timeout(30):
        while name not in [j["metadata"]["name"] for j in practice.snapshot().get("Job", [])]:
            await asyncio.sleep(0.01)
