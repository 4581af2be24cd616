"""What is sent to the doors of a running server and is no request: refused as each door refuses."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import httpx2
import pytest
import pytest_asyncio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from server.commands.serving import serving
from server.identity import new_token
from server.remote import RemoteGate
from tests.house import settings
from tools.calls import Caller
from tools.errors import Code, ToolError

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLI = Caller.of("", door="cli")
DEEP = "[" * 100_000
RPC = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}


@dataclass
class Doors:
    url: str
    token: str

    def http(self) -> httpx.AsyncClient:
        headers = {
            "authorization": f"Bearer {self.token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(
    practice: Any, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    practice.kubeconfig(path=folder / "kubeconfig")
    token, sha256 = new_token()
    options = settings(folder, str(folder / "kubeconfig"), moto_url, port=0)
    began: asyncio.Future[tuple[Any, str]] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def serve() -> None:
        async with serving(options) as served:
            began.set_result(served)
            await over.wait()

    # In a task of its own, for what is entered in one is to be left in it.
    server = asyncio.create_task(serve())
    await asyncio.wait([server, began], return_when=asyncio.FIRST_COMPLETED)
    app, url = began.result()
    olivia = Caller.of("olivia", operator=True)
    rights = {"tenants": {}, "operator": True, "agent": False, "person": ""}
    await app.identity.tokens.create(
        olivia, sha256=sha256, subject="olivia", expires_days=None, **rights
    )
    yield Doors(url, token)
    over.set()
    await server


@asynccontextmanager
async def client(doors: Doors) -> AsyncIterator[Client]:
    """The official client, over HTTP."""
    headers = {"authorization": f"Bearer {doors.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(
            streamable_http_client(f"{doors.url}/mcp", http_client=http), mode="2026-07-28"
        ) as client,
    ):
        yield client


BODIES: list[tuple[bytes, int, str]] = [
    (b"{", 400, "not JSON"),
    (b"[]", 400, "JSON object"),
    (b"7", 400, "JSON object"),
    (b'"x"', 400, "JSON object"),
    (b"\xff\xfe{}", 400, ""),
    (b"\xff", 400, "not JSON"),
    (DEEP.encode(), 400, "nested too deeply"),
    (b'{"a": ' + DEEP[:500].encode() + b"]" * 500 + b"}", 400, "nested too deeply"),
    (b'{"limit": NaN}', 400, "JSON"),
    (b'{"limit": 1e999}', 400, "JSON"),
    (b'{"limit": ' + b"9" * 5000 + b"}", 400, "JSON"),
    (b'{"limit": 1e9}', 400, "limit"),
    (b'{"limit": true}', 400, "limit"),
    (b'{"tenant": "\\ud83d"}', 400, "surrogate"),
    (b'{"tenant": "\\u0000"}', 400, "NUL"),
    (b'{"limit": 1, "limit": -1}', 400, "limit"),
    (b'{"text": "' + b"x" * 5000 + b'"}', 400, "text"),
    (b"x" * (2 << 20), 413, "too large"),
]


@pytest.mark.parametrize(
    ("body", "status", "said"), BODIES, ids=[str(b[:20]) for b, _, _ in BODIES]
)
async def test_a_body_that_is_no_tools_arguments_is_a_problem(
    doors: Doors, body: bytes, status: int, said: str
) -> None:
    async with doors.http() as http:
        for tool in ("workload_list", "workload_scale", "job_logs"):
            if (tool, said) in (("workload_scale", "limit"), ("job_logs", "limit")):
                continue
            answer = await http.post(f"/api/v1/tools/{tool}", content=body)
            assert answer.status_code == status, answer.text[:500]
            problem = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert problem["code"] == "invalid_argument"
            assert problem["hint"]
            assert said in problem["detail"] or tool != "workload_list"
            assert len(answer.content) < 2000


@pytest.mark.parametrize(
    ("path", "headers", "said"),
    [
        ("?preview=maybe", {}, "`preview`"),
        ("?wait=nan", {}, "`wait`"),
        ("?wait=-1", {}, "`wait`"),
        ("?wait=1e9", {}, "`wait`"),
        ("?wait=soon", {}, "`wait`"),
        ("?tenant=acme", {}, "arguments go into the body"),
        ("", {"idempotency-key": "k" * 129}, "key"),
        ("", {"idempotency-key": b"\xe9\xff"}, "key"),
    ],
)
async def test_a_call_whose_options_make_no_sense_is_a_problem(
    doors: Doors, path: str, headers: dict[str, Any], said: str
) -> None:
    async with doors.http() as http:
        answer = await http.post(f"/api/v1/tools/tenant_list{path}", content="{}", headers=headers)
        assert answer.status_code == 400, answer.text
        assert said in answer.json()["detail"] + answer.json()["hint"]


@pytest.mark.parametrize("name", ["tenant_lst", "..%2f..%2fetc", "%00", "x" * 3000, "%ff", "café"])
async def test_a_tool_that_is_not_there_is_a_problem_of_404(doors: Doors, name: str) -> None:
    async with doors.http() as http:
        answer = await http.post(f"/api/v1/tools/{name}", content="{}")
        assert answer.status_code == 404, answer.text
        assert answer.json()["code"] == "not_found"
        assert len(answer.content) < 1000


PARAMS: list[tuple[Any, str]] = [
    ({"name": "workload_list", "arguments": {"tenant": "../x"}}, "tenant"),
    ({"name": "workload_list", "arguments": {"limit": True}}, "limit"),
    ({"name": "workload_list", "arguments": {"text": "x" * 5000}}, "text"),
    ({"name": "workload_list", "arguments": {"colour": "red"}}, "colour is no argument"),
    ({"name": "tenant_create", "arguments": {"name": "a" * 64}}, "name"),
    ({"name": "tenant_create", "arguments": {"name": "x", "preview": "yes"}}, "preview"),
    ({"name": "tenant_create", "arguments": {"name": "x", "key": 7}}, "key"),
    ({"name": "tenant_create", "arguments": {"name": "x", "key": "ключ"}}, "key"),
    ({"name": "job_logs", "arguments": {"tail_lines": 10**9}}, "tail_lines"),
]


@pytest.mark.parametrize(("params", "said"), PARAMS)
async def test_an_mcp_client_gets_a_result_that_is_an_error_it_can_act_on(
    doors: Doors, params: Any, said: str
) -> None:
    async with client(doors) as mcp:
        result = await mcp.call_tool(params["name"], params["arguments"])
        assert result.is_error
        error = result.structured_content["error"]
        assert error["code"] == "invalid_argument"
        assert error["hint"]
        assert said in error["message"]
        assert said in result.content[0].text
        assert len(result.content[0].text) < 2000


# A message that is one, with parameters that are none, has an answer of its own.
MESSAGES: list[tuple[bytes, int]] = [
    (b"{", 400),
    (DEEP.encode(), 400),
    (json.dumps(RPC | {"params": {"name": "workload_list", "arguments": []}}).encode(), 200),
    (json.dumps(RPC | {"params": {"name": 7}}).encode(), 200),
    (json.dumps(RPC | {"params": {"name": "workload_list", "arguments": {"tenant": "\ud83d"}}}).encode(), 400),
    (b"x" * (2 << 20), 413),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status"), MESSAGES, ids=[str(b[:20]) for b, _ in MESSAGES])
async def test_what_is_no_mcp_message_is_a_protocol_error(
    doors: Doors, body: bytes, status: int
) -> None:
    async with doors.http() as http:
        answer = await http.post(
            "/mcp", content=body, headers={"mcp-protocol-version": "2025-11-25"}
        )
        assert answer.status_code == status, answer.text[:500]
        assert '"error"' in answer.text or status == 413
        assert len(answer.content) < 2000


REFUSALS: list[tuple[int, dict[str, Any], int, Code]] = [
    (401, {}, 401, Code.UNAUTHENTICATED),
    (403, {}, 403, Code.PERMISSION_DENIED),
    (429, {"retry_after": 3600}, 429, Code.RESOURCE_EXHAUSTED),
    (500, {"retry_after": 3600}, 503, Code.UNAVAILABLE),
]


@pytest.mark.parametrize(("cluster", "more", "status", "code"), REFUSALS)
async def test_what_the_cluster_refuses_is_told_alike_by_each_door(
    doors: Doors, practice: Any, cluster: int, more: dict[str, Any], status: int, code: Code
) -> None:
    practice.faults.answer(cluster, method="GET", path="/nodes", times=10**6, **more)
    try:
        async with doors.http() as http:
            answer = await http.post("/api/v1/tools/resource_list", json={"kind": "nodes"})
        assert answer.status_code == status
        told = answer.json()
        assert (told["code"], bool(told["hint"])) == (code, True)
        if more:
            assert answer.headers["retry-after"] == "3600"
        async with client(doors) as mcp:
            result = await mcp.call_tool("resource_list", {"kind": "nodes"})
        assert result.is_error
        error = result.structured_content["error"]
        assert (error["code"], error["message"]) == (code, told["detail"])
        assert error.get("retry_after") == more.get("retry_after")
    finally:
        practice.faults.clear()


async def test_a_client_of_the_server_refuses_what_cannot_be_sent_at_all(doors: Doors) -> None:
    remote = RemoteGate(doors.url, doors.token)
    for tool, arguments, key in (
        ("workload_list", {"tenant": "\ud83d"}, None),
        ("workload_list", {"limit": float("nan")}, None),
        ("workload_list", {"tenant": {1, 2}}, None),
        ("workload_list", {}, "ключ"),
    ):
        outcome = await remote.call(CLI, tool, arguments, key=key)
        assert outcome.error, arguments
        assert outcome.error.code is Code.INVALID_ARGUMENT
        assert outcome.error.hint
    outcome = await remote.call(CLI, "\ud83d", {})
    assert outcome.error
    assert outcome.error.code is Code.NOT_FOUND
    await remote.close()


ANSWERS = [
    ("text/html", b"<html>It works!</html>"),
    ("application/json", b"{}"),
    ("application/json", b"[]"),
    ("application/json", b'{"state": "splendid"}'),
    ("application/json", b"{"),
    ("application/x-ndjson", b"{\n"),
    ("application/x-ndjson", b"[]\n"),
    ("application/x-ndjson", b'{"greeting": "hello"}\n'),
    ("application/x-ndjson", b'{"outcome": {}}\n'),
    ("application/x-ndjson", b""),
]


@pytest.mark.parametrize(("kind", "body"), ANSWERS)
async def test_a_server_that_is_no_pilothouse_is_told_from_one(kind: str, body: bytes) -> None:
    """`--url` names something else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async def silent(text: str, done: float | None, of: float | None) -> None:
        pass

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    remote = RemoteGate(f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}")
    for progress in (None, silent):
        outcome = await remote.call(CLI, "tenant_list", {}, progress=progress)
        assert outcome.error
        assert outcome.error.code in (Code.UNAVAILABLE, Code.FAILED_PRECONDITION), outcome
        assert outcome.error.hint
    asks = [remote.tools(CLI), remote.caller(CLI)]
    if body:  # a stream may have nothing to say
        asks.append(anext(remote.stream(CLI, "job_logs", {})))
    for ask in asks:
        with pytest.raises(ToolError) as refused:
            await ask
        assert refused.value.hint
    await remote.close()
    other.close()
    await other.wait_closed()
