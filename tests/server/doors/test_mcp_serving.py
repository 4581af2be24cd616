import contextlib
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import ElicitResult

from tests.server.doors.scripted import ALICE, ScriptedGate, let_in, served

ROOT = Path(__file__).parents[3]
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2025-11-25",
}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
AS_ALICE = {"authorization": "Bearer alice-token"}


@contextlib.asynccontextmanager
async def posting(url: str):
    async with httpx2.AsyncClient(timeout=10) as http:

        async def post(headers: dict[str, str], body: Any = PING) -> httpx2.Response:
            return await http.post(url, headers=HEADERS | headers, json=body)

        yield post


async def test_without_a_token_that_is_known_nothing_is_answered():
    async with served(ScriptedGate()) as url, posting(url) as post:
        for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic YTpi"}):
            refused = await post(headers)
            assert refused.status_code == 401
            told = refused.headers["www-authenticate"]
            known = headers.get("authorization", "").startswith("Bearer")
            assert told.startswith('Bearer error="invalid_token"' if known else "Bearer")
            assert ("error" in told) == known, "who brought no token is told of no error"
        assert (await post(AS_ALICE)).status_code == 200
        assert (await post({"authorization": "bearer alice-token"})).status_code == 200


async def test_a_caller_without_token_comes_in_only_where_identify_says_so():
    gate = ScriptedGate()
    async with served(gate, let_in) as url, posting(url) as post:
        assert (await post({})).status_code == 200


async def test_the_resource_says_who_issues_its_tokens():
    options = {"url": "https://pilot.example/mcp", "issuers": ["https://issuer.example"]}
    async with served(ScriptedGate(), **options) as url, httpx2.AsyncClient() as http:
        refused = await http.post(url, headers=HEADERS, json=PING)
        told = "https://pilot.example/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{told}"' in refused.headers["www-authenticate"]
        known = await http.get(url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp"))
        assert known.json()["resource"] == "https://pilot.example/mcp"
        assert known.json()["authorization_servers"] == ["https://issuer.example/"]


async def test_a_request_for_another_host_or_from_another_site_is_refused():
    origins = ["https://friend.example"]
    async with served(ScriptedGate(), origins=origins) as url, posting(url) as post:
        assert (await post(AS_ALICE | {"origin": "https://friend.example"})).status_code == 200
        assert (await post(AS_ALICE | {"host": "evil.example"})).status_code == 421
        assert (await post(AS_ALICE | {"origin": "https://evil.example"})).status_code == 403
        assert (await post(AS_ALICE | {"origin": "http://localhost:3000"})).status_code == 200


async def test_there_is_no_stream_to_open_and_no_session_to_end():
    async with served(ScriptedGate()) as url, httpx2.AsyncClient() as http:
        for method in ("GET", "DELETE"):
            assert (await http.request(method, url, headers=AS_ALICE)).status_code == 405


async def test_a_body_that_is_too_large_is_refused_unread():
    async with served(ScriptedGate(), most_body=1000) as url, posting(url) as post:
        assert (
            await post(AS_ALICE, PING | {"params": {"_meta": {"x": "y" * 2000}}})
        ).status_code == 413


@pytest.mark.parametrize("body", [[], [PING], {"id": 1}, {"jsonrpc": "2.0", "id": 1, "method": 3}])
async def test_a_malformed_message_is_a_protocol_error(body: Any):
    async with served(ScriptedGate()) as url, posting(url) as post:
        refused = await post(AS_ALICE, body)
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] in (-32600, -32700, -32602)


# ---- stdio

SERVER = """
import asyncio, contextlib, sys
from server.doors.mcp_serving import serve_stdio
from tests.server.doors.scripted import ALICE, INFOS, ScriptedGate

@contextlib.asynccontextmanager
async def make_gate():
    print("the gate is made", file=sys.stderr, flush=True)
    print("stray output")
    yield ScriptedGate()
    print("the gate is left", file=sys.stderr, flush=True)

asyncio.run(serve_stdio(make_gate, ALICE, listed=lambda caller: INFOS))
"""


@contextlib.asynccontextmanager
async def started(code: str, log: Any, mode: str, **options: Any):
    command = StdioServerParameters(
        command=sys.executable, args=["-c", textwrap.dedent(code)], cwd=str(ROOT)
    )
    async with Client(stdio_client(command, errlog=log), mode=mode, **options) as client:
        yield client


@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
async def test_over_stdio_the_user_is_asked_in_either_era(tmp_path, era):
    questions = []

    async def yes(context: Any, params: Any) -> ElicitResult:
        questions.append(params.message)
        return ElicitResult(action="accept", content={"confirm": True})

    told = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(message)

    with (tmp_path / "log").open("w+") as log:
        async with started(SERVER, log, era, elicitation_callback=yes) as client:
            result = await client.call_tool(
                "thing_set", {"name": "web"}, progress_callback=progress
            )
            parked = await client.call_tool("thing_set", {"name": "db"})
    assert result.structured_content["state"] == "succeeded"
    assert parked.structured_content["state"] == "awaiting_approval"
    assert len(questions) == 1
    assert told == ["applied", "waiting for the rollout", "settled"]


async def test_a_user_who_declines_over_stdio_leaves_it_waiting(tmp_path):
    async def no(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="decline")

    with (tmp_path / "log").open("w+") as log:
        async with started(SERVER, log, "legacy", elicitation_callback=no) as client:
            result = await client.call_tool("thing_set", {"name": "web"})
    assert result.structured_content["state"] == "awaiting_confirmation"
    assert "did not confirm" in result.structured_content["why"]


async def test_the_gate_is_made_at_the_first_call_and_left_at_the_end(tmp_path):
    with (tmp_path / "log").open("w+") as log:
        async with started(SERVER, log, "legacy") as client:
            await client.list_prompts()
            assert "made" not in (tmp_path / "log").read_text()
            await client.call_tool("thing_get", {"name": "web"})
            await client.call_tool("thing_get", {"name": "web"})
        lines = (tmp_path / "log").read_text().splitlines()
    assert [line for line in lines if "gate" in line] == ["the gate is made", "the gate is left"]


UNREACHABLE = """
import asyncio, contextlib
from server.doors.mcp_serving import serve_stdio
from tests.server.doors.scripted import ALICE, INFOS, ScriptedGate
from tools.errors import Code, ToolError
tries = []

@contextlib.asynccontextmanager
async def make_gate():
    tries.append(1)
    if len(tries) < 2:
        raise ToolError(Code.UNAVAILABLE, "The state is locked.", "Stop the other one.")
    yield ScriptedGate()

asyncio.run(serve_stdio(make_gate, ALICE, listed=lambda caller: INFOS))
"""


async def test_a_gate_that_cannot_be_made_is_an_error_that_passes(tmp_path):
    with (tmp_path / "log").open("w+") as log:
        async with started(UNREACHABLE, log, "2026-07-28") as client:
            first = await client.call_tool("thing_get", {"name": "web"})
            second = await client.call_tool("thing_get", {"name": "web"})
    assert first.is_error
    assert first.structured_content["error"]["code"] == "unavailable"
    assert second.structured_content == {"name": "web", "size": 3}


LISTED = """
import asyncio, json, sys
from server.doors.mcp_serving import serve_stdio
from tests.server.doors.scripted import ALICE

def make_gate():
    raise AssertionError("not for a list")

async def main():
    await serve_stdio(make_gate, ALICE)
    loaded = {name.partition(".")[0] for name in sys.modules} | {"tools.groups"} & set(sys.modules)
    print(json.dumps(sorted(loaded)), file=sys.stderr)

asyncio.run(main())
"""
HEAVY = {
    "kubernetes", "boto3", "botocore", "duckdb", "duckdb_engine", "sqlalchemy", "fastapi",
    "cedarpy", "anthropic", "pandas", "numpy", "pyarrow", "moto", "aiohttp", "jsonschema", "yaml",
    "tools.groups",
}  # fmt: skip


async def test_nothing_heavy_is_imported_to_list_the_tools(tmp_path):
    with (tmp_path / "log").open("w+") as log:
        async with started(LISTED, log, "legacy") as client:
            listed = await client.list_tools()
        text = (tmp_path / "log").read_text()
    assert listed.tools
    assert not HEAVY & set(json.loads(text.splitlines()[-1]))
    assert ALICE.operator
