"""What somebody who means ill sends to the doors of a running server: each answer is one of ours,
none is a fault, and none shows how the server is built."""

import asyncio
import json
import random
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.soak import WHOLE
from tests.test_bad_requests import Doors
from tests.test_bad_requests import doors as doors
from tools.tool import Effect, catalog

pytestmark = pytest.mark.asyncio(loop_scope="module")
INPUTS = 20_000 if WHOLE else 250
AT_ONCE = 8
ODD: list[Any] = [
    "", "\0", "a\0b", "../../etc/passwd", "%2e%2e%2f", "'; drop table calls; --", "{{7*7}}", "${x}",
    "<script>alert(1)</script>", "\u202e", "\U0001f4a5" * 50, "x" * 5000, "-1", "NaN", "kube-system",
    "http://169.254.169.254/", "file:///etc/passwd", "a\r\nx-header: b", "eyJ" * 2000, "ünïcode",
    -1, 0, 2**63, 10**30, 1e308, 0.1, True, False, None, [], {}, [[[[]]]], {"a": {"b": {"c": 1}}},
    {"$ref": "#"}, {"__class__": "x"}, {"__proto__": {}}, ["x"] * 2000,
]  # fmt: skip
RAW = [
    b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}" * 3, b"[" * 5000, b'{"a":NaN}',
    b'{"a":1,"a":2}', b"<xml/>", b"a=b&c=d", b"%00", b'{"jsonrpc":"2.0"}', b"\x00" * 100,
]  # fmt: skip
HEADERS: list[dict[str, str]] = [
    {}, {"content-type": "text/xml"}, {"accept": "image/png"}, {"host": "evil.example"},
    {"origin": "https://evil.example"}, {"idempotency-key": "x" * 3000},
    {"authorization": "Bearer x"}, {"authorization": "Basic eDp4"}, {"authorization": "Bearer"},
    {"mcp-protocol-version": "1999-01-01"}, {"mcp-session-id": "../x"}, {"last-event-id": "-1"},
    {"x-pilothouse-door": "local"}, {"x-pilothouse-toolsets": "\t,,"}, {"x-forwarded-for": "::1"},
    {"transfer-encoding": "chunked"}, {"content-encoding": "gzip"}, {"accept": "text/event-stream"},
]  # fmt: skip
METHODS = (
    "tools/call", "tools/list", "initialize", "resources/read", "prompts/get", "ping", "x",
    "completion/complete", "logging/setLevel", "notifications/cancelled", "",
)  # fmt: skip
TOOLS = [
    tool for tool in catalog().values()
    if tool.effect in (Effect.READ, Effect.WRITE) and tool.name != "call_wait"
]  # fmt: skip


def one(dice: random.Random) -> tuple[str, str, dict[str, Any]]:
    """A method, a path, and the rest of a request."""
    tool = dice.choice(TOOLS)
    fields = [*tool.arguments.model_fields, "extra"]
    sent = {name: dice.choice(ODD) for name in fields if dice.random() < 0.5}
    request: dict[str, Any] = {"headers": dice.choice(HEADERS)}
    way = dice.random()
    if way < 0.1:
        verb = dice.choice(("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "POST"))
        path = dice.choice(
            ("/api/v1/tools/" + tool.name, "/mcp", "/local", "/api/v1/x/..%2f", "//")
        )
        return verb, path, request
    if way < 0.25:
        path = dice.choice((f"/api/v1/tools/{tool.name}?preview=true", "/mcp"))
        return "POST", path, request | {"content": dice.choice(RAW)}
    if way < 0.6:
        path = f"/api/v1/tools/{tool.name}?preview=true&wait=0"
        return "POST", path, request | {"content": json.dumps(sent).encode()}
    params: Any = {"name": tool.name, "arguments": {**sent, "preview": True}}
    if dice.random() < 0.3:
        params = dice.choice(ODD)
    body = {"jsonrpc": "2.0", "id": dice.choice((1, "x", None, -1)), "params": params}
    body["method"] = dice.choice(METHODS) if dice.random() < 0.5 else "tools/call"
    return "POST", "/mcp", request | {"content": json.dumps(body).encode()}


async def test_hostile_inputs_are_refused_and_nothing_breaks(doors: Doors) -> None:
    dice = random.Random(5)
    statuses: Counter[int] = Counter()
    left = iter(range(INPUTS))

    async def send(http: httpx.AsyncClient) -> None:
        for _ in left:
            verb, path, request = one(dice)
            try:
                answer = await http.request(verb, path, **request)
            except (httpx.RemoteProtocolError, httpx.LocalProtocolError):
                statuses[0] += 1  # it hung up on what is no HTTP
                continue
            statuses[answer.status_code] += 1
            told = f"{verb} {path} {str(request)[:500]}: {answer.status_code} {answer.text[:500]}"
            assert answer.status_code != 500, told
            assert "Traceback" not in answer.text, told
            assert 'File "/' not in answer.text, told
            assert '"internal"' not in answer.text, told

    async with doors.http() as http:
        await asyncio.gather(*(send(http) for _ in range(AT_ONCE)))
        assert (await http.get("/health")).status_code == 200
    print(f"{INPUTS} hostile inputs: {statuses} (0: it hung up)")
    assert sum(statuses.values()) == INPUTS
    assert statuses[400] > INPUTS / 20
    assert statuses[0] < INPUTS / 5, statuses


async def test_metrics_name_no_tenant(doors: Doors) -> None:
    async with doors.http() as http:
        for tenant in ("globex-of-springfield", "hooli"):
            await http.post("/api/v1/tools/workload_list", json={"tenant": tenant})
            await http.post("/api/v1/tools/tenant_get", json={"tenant": tenant})
        page = (await http.get("/metrics", headers={"authorization": ""})).text
    assert "pilothouse_calls_total" in page
    assert "globex-of-springfield" not in page
    assert "hooli" not in page
