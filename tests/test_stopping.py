"""Processes that are told to stop in the middle of something, and those that come after them."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import sqlalchemy as sa
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from server import carrier
from server.app import open_app
from server.connection import Afar, Connection
from server.identity import new_token
from server.journal import audit
from server.remote import RemoteGate
from server.seat import SOCKET, Seat
from server.settings import Settings
from tests.conftest import ROOT, reached
from tests.cutting import way_to
from tests.house import OLIVIA, OSCAR, House, opened, settings
from tests.lodging import refused, with_bucket
from tests.processes import Server, environment, serve
from tools.calls import Caller, State
from tools.errors import Code, ToolError

CLI = Caller.of("", door="cli")


@pytest.fixture
async def here(practice: Any, aws: Any, moto_url: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings, also as the file `p.toml`; there are two operators with tokens of their names."""
    practice.faults.clear()
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    write(tmp_path, moto_url)
    (tmp_path / "state").mkdir()
    made = settings(tmp_path / "state", str(tmp_path / "kubeconfig"), moto_url)
    async with reached(str(tmp_path / "kubeconfig")):
        yield made
    practice.faults.clear()


def write(folder: Path, aws_url: str, grace_s: float = 1) -> None:
    (folder / "p.toml").write_text(
        f'state = "{folder}/state"\nkubeconfig = "{folder}/kubeconfig"\n'
        f'[aws]\nregion = "eu-west-1"\nbucket = "tenants"\nendpoint = "{aws_url}"\n'
        f'oidc_provider = "oidc.example/id/1"\n[limits]\ngrace_s = {grace_s}\n'
    )


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
        told = asyncio.Event()
        over_mcp = asyncio.create_task(waits_over_mcp(first, who["olivia"], "job_create", told))
        await told.wait()
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
            assert await over_mcp == (parked["call_id"], "running")
            practice.step(500)
            ends = await second.call(who["olivia"], "call_wait", id=parked["call_id"], wait_s=30)
            assert ends["answer"]["call"]["outcome"]["state"] == "succeeded"
            shown = await second.call(who["olivia"], "job_get", tenant="t-stops", name="long")
            assert (shown["answer"]["attempts"], shown["answer"]["exit_code"]) == (1, 0)
            assert await second.stop(signal.SIGINT) == 0
    async with opened(here) as house:
        assert ("job_create", "running") in await on_record(house)
        await house.done("tenant_delete", tenant="t-stops")


async def test_who_asks_a_server_that_stops_is_answered_by_who_has_the_state_next(
    here: Settings, practice: Any, tmp_path: Path
) -> None:
    who = await tokens(here, "olivia", "oscar")
    async with served(tmp_path) as server, Connection(here, who["olivia"]) as known:
        assert not (await known.call(CLI, "tenant_list", {})).error
        waits = await server.call(who["olivia"], "tenant_create", name="t-grace")
        practice.faults.delay(0.5, method="PATCH", path="limitranges/plan(?!.*dryRun)")
        going = asyncio.create_task(server.call(who["oscar"], "call_approve", id=waits["call_id"]))
        await happened(practice, "delay")
        server.process.send_signal(signal.SIGTERM)
        await stops(here)
        async with Connection(here, who["oscar"]) as new:
            answers = await asyncio.gather(
                *(one.call(CLI, "tenant_list", {}) for one in (known, new)),
                known.call(CLI, "tenant_create", {"name": "t-next"}),
            )
            assert [answer.error for answer in answers] == [None] * 3
            assert (await going)["state"] == "succeeded"
            assert await server.ended() == 0
            rejected = {"id": answers[2].call_id, "reason": "shown"}
            assert not (await known.call(CLI, "call_reject", rejected)).error
    async with opened(here) as house:
        await house.done("tenant_delete", tenant="t-grace")


async def test_a_server_afar_that_answered_before_is_waited_for_and_another_is_not(
    here: Settings, tmp_path: Path
) -> None:
    who = await tokens(here, "olivia")
    async with served(tmp_path) as first:
        known, new = (Afar(first.url, who["olivia"]) for _ in range(2))
        assert not (await known.call(CLI, "tenant_list", {})).error
        assert await first.stop() == 0
        waiting = asyncio.create_task(known.call(CLI, "tenant_list", {}))
        unmet = await new.call(CLI, "tenant_list", {})
        refused(unmet, Code.UNAVAILABLE, "No server answers")
        second = await serve(
            "--config", str(tmp_path / "p.toml"), "--port", first.url.rpartition(":")[2]
        )
        assert not (await waiting).error
        assert await second.stop() == 0
        for gate in (known, new):
            await gate.close()


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
        await refuses(server)
        assert await server.stop(signal.SIGINT) == 128 + signal.SIGINT
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


async def test_told_to_stop_while_it_waits_for_the_state_it_ends(
    here: Settings, tmp_path: Path
) -> None:
    seat = Seat.take(here.state)
    assert seat
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server.start", "serve", "--port", "0",
        "--config", str(tmp_path / "p.toml"),
        env=environment(), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr
    async with asyncio.timeout(20):
        assert b"waiting for the process" in await process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest = await process.stderr.read()
        assert await process.wait() == 0
    assert b"Traceback" not in rest
    seat.leave()


async def test_what_aws_keeps_waiting_keeps_no_process_from_ending(
    here: Settings, practice: Any, moto_url: str, tmp_path: Path
) -> None:
    who = await tokens(here, "olivia", "oscar")
    async with way_to(moto_url) as way:
        write(tmp_path, way.url)
        async with served(tmp_path) as server:
            waits = await server.call(who["olivia"], "tenant_create", name="t-aws")
            way.befalls["CreateRole"] = "hang"
            going = asyncio.create_task(
                server.call(who["oscar"], "call_approve", id=waits["call_id"])
            )
            async with asyncio.timeout(30):
                while not way.befell:
                    await asyncio.sleep(0.01)
            async with asyncio.timeout(15):
                assert await server.stop() == 0
            assert (await going)["state"] == "running"
    async with opened(here) as house:
        assert await ended(house, waits["call_id"]) is State.FAILED
        assert (await house.call(OLIVIA, "tenant_get", tenant="t-aws")).error


async def test_an_mcp_client_that_leaves_in_the_middle_leaves_it_to_who_comes_next(
    here: Settings, practice: Any, moto_url: str, tmp_path: Path
) -> None:
    """Such a client kills its process a few seconds later, whatever grace there is."""
    who = await tokens(here, "olivia")
    write(tmp_path, moto_url, grace_s=20)
    start = StdioServerParameters(
        command=sys.executable,
        args=["-m", "server.start", "mcp", "--config", str(tmp_path / "p.toml")],
        env=environment(PILOTHOUSE_TOKEN=who["olivia"]),
        cwd=str(ROOT),
    )
    job = {"tenant": "t-leaves", "name": "left", "image": "busybox", "wait": True}
    job["command"] = ["sleep", "500"]
    async with opened(here) as house:
        await house.done("tenant_create", name="t-leaves")
    with (tmp_path / "log").open("w") as log:
        async with Client(stdio_client(start, errlog=log), mode="legacy") as client:
            first = await client.call_tool("tenant_list", {})
            assert not first.is_error, first.content
            same = RemoteGate(here.state / SOCKET, who["olivia"])
            long = asyncio.create_task(same.call(OLIVIA, "job_create", job, wait_s=60))
            await until_job(practice, "left")
    parked = await long
    await same.close()
    assert parked.state is State.RUNNING, "who waited is told that it goes on"
    assert (tmp_path / "log").read_text() == ""
    async with opened(here) as house:
        practice.step(500)
        assert await ended(house, str(parked.call_id)) is State.SUCCEEDED
        await house.done("tenant_delete", tenant="t-leaves")


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


async def waits_over_mcp(
    server: Server, token: str, tool: str, told: asyncio.Event
) -> tuple[str, str]:
    """An MCP client waits for a call, and is `told` how it goes on; which call, and how it was
    when the waiting ended."""

    async def progress(*line: Any) -> None:
        told.set()

    listed = await server.call(token, "call_list", tool=tool, state="running")
    call_id = listed["answer"]["calls"][0]["id"]
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=90) as http,
        Client(streamable_http_client(f"{server.url}/mcp", http_client=http)) as client,
    ):
        await client.list_tools()  # else it lists them to check the answer by, when nobody is there
        asked = {"id": call_id, "wait_s": 60}
        shown = await client.call_tool("call_wait", asked, progress_callback=progress)
        assert not shown.is_error, shown.content
        return call_id, shown.structured_content["call"]["outcome"]["state"]


async def on_record(house: House) -> list[tuple[str, str]]:
    """Each call's tool, and how its caller was told it went."""
    lines = sa.select(audit.c.tool, audit.c.state)
    found = await house.app.journal.run(lambda c: c.execute(lines).all())
    return [(tool, state) for tool, state in found]


async def stops(here: Settings) -> None:
    """Wait until the owner of the state takes no more calls."""
    owner = RemoteGate(here.state / SOCKET)
    async with asyncio.timeout(30):
        while not (await owner.get("/local"))["stopping"]:
            await asyncio.sleep(0.01)
    await owner.close()


async def refuses(server: Server) -> None:
    """Wait until a server takes no more connections."""
    async with asyncio.timeout(30), httpx.AsyncClient() as http:
        with suppress(httpx.TransportError):
            while True:
                await http.get(f"{server.url}/health", headers={"connection": "close"})
