"""The REST door over real sockets, before a gate that answers from a script."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from server.doors.http import Guard
from server.doors.rest import Inside, Local, rest_app
from server.metrics import Counted, Metrics
from server.remote import RemoteGate
from server.serving import listen, listen_here, served
from tools.calls import Caller, Outcome, Problem, State, ToolInfo
from tools.errors import Code, ToolError

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALICE = Caller.of("alice", operator=True)


@dataclass
class Scripted:
    """A gate whose answers are set by the test, and which keeps what it was asked."""

    outcome: Outcome = field(default_factory=lambda: Outcome(state=State.SUCCEEDED, tool="x_y"))
    told: list[tuple[str, float | None, float | None]] = field(default_factory=list)
    pieces: list[Any] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)
    breaks: Exception | None = None

    async def tools(self, caller: Caller) -> list[ToolInfo]:
        return [
            ToolInfo(
                name="tenant_list", title="List", description="d", group="tenants", effect="read",
                destructive=False, idempotent=True, input_schema={}, output_schema={},
            )
        ]  # fmt: skip

    async def call(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any], **options: Any
    ) -> Outcome:
        self.asked = {"caller": caller, "tool": tool, "arguments": dict(arguments)} | options
        if self.breaks:
            raise self.breaks
        if progress := options.get("progress"):
            for line in self.told:
                await progress(*line)
        return self.outcome

    async def stream(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


@dataclass
class Server:
    gate: Scripted
    url: str
    socket: Path
    ready: dict[str, dict[str, Any]]
    stack: AsyncExitStack

    def client(self, token: str = "good", **headers: str) -> httpx.AsyncClient:
        given = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(base_url=self.url, headers=given | headers)

    def remote(self, token: str = "good", local: bool = False) -> RemoteGate:
        gate = RemoteGate(self.socket if local else self.url, token)
        self.stack.push_async_callback(gate.close)
        return gate


@pytest.fixture
def server(shared: Server) -> Server:
    shared.gate.__init__()  # type: ignore[misc]
    shared.ready.clear()
    shared.ready["state"] = {"ok": True, "ms": 0.1}
    return shared


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    tmp_path = tmp_path_factory.mktemp("rest")
    gate, metrics = Scripted(), Metrics()
    ready: dict[str, dict[str, Any]] = {}

    async def who(token: str, door: str, tool: str) -> Caller | None:
        return ALICE.model_copy(update={"door": door}) if token == "good" else None

    async def is_ready() -> dict[str, dict[str, Any]]:
        return ready

    async def page() -> bytes:
        return metrics.page({"awaiting_approval": 3})

    async def hand_over() -> bool:
        return True

    counted = Counted(gate, metrics, frozenset({"tenant_list"}))
    outside = Inside(counted, who, is_ready, page, "1", 4096)

    async def backup() -> Path:
        return tmp_path / "copy"

    async def rotate_key() -> int:
        return 7

    local = Local(lambda: {"pid": 1}, hand_over, backup, rotate_key)
    inside = Inside(counted, who, is_ready, page, "1", 4096, local)
    async with AsyncExitStack() as stack:
        tcp, here = listen("127.0.0.1", 0), listen_here(tmp_path / "s.sock")
        hosts = ("127.0.0.1",)
        app = Guard(rest_app(outside), hosts=hosts, origins=("https://ok.example",), most_body=4096)
        await stack.enter_async_context(served(app, tcp, 1))
        app = Guard(rest_app(inside), hosts=None, origins=(), most_body=4096)
        await stack.enter_async_context(served(app, here, 1))
        url = f"http://127.0.0.1:{tcp.getsockname()[1]}"
        yield Server(gate, url, tmp_path / "s.sock", ready, stack)


async def test_health_ready_and_metrics_need_no_token(server: Server) -> None:
    async with server.client(token="") as client:
        assert (await client.get("/health")).json() == {"status": "healthy"}
        assert (await client.get("/ready")).json()["status"] == "ready"
        server.ready["cluster"] = {"ok": False, "ms": 5000, "error": "no answer"}
        answer = await client.get("/ready")
        assert (answer.status_code, answer.json()["checks"]["cluster"]["ok"]) == (503, False)
        await client.post("/api/v1/tools/made_up", headers={"Authorization": "Bearer good"})
        page = (await client.get("/metrics")).text
    assert 'pilothouse_calls_total{door="rest",state="succeeded",tool="unknown"} 1.0' in page
    assert 'pilothouse_calls_waiting{state="awaiting_approval"} 3.0' in page


async def test_a_tool_is_called_with_the_body_as_its_arguments(server: Server) -> None:
    server.gate.outcome = Outcome(state=State.SUCCEEDED, tool="tenant_list", answer={"n": 1})
    async with server.client() as client:
        answer = await client.post(
            "/api/v1/tools/tenant_list?preview=true&wait=2.5",
            json={"limit": 3},
            headers={"Idempotency-Key": "k1"},
        )
    assert answer.status_code == 200
    assert answer.json() == {"state": "succeeded", "tool": "tenant_list", "answer": {"n": 1}}
    asked = server.gate.asked
    assert (asked["arguments"], asked["key"], asked["preview"], asked["wait_s"]) == (
        {"limit": 3}, "k1", True, 2.5,
    )  # fmt: skip


@pytest.mark.parametrize("token", ["", "bad"])
async def test_without_a_valid_token_nothing_answers(server: Server, token: str) -> None:
    async with server.client(token) as client:
        for method, path in [
            ("POST", "/api/v1/tools/tenant_list"),
            ("GET", "/api/v1/tools"),
            ("GET", "/api/v1/caller"),
        ]:
            answer = await client.request(method, path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == "unauthenticated"
    assert not server.gate.asked


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.INVALID_ARGUMENT, 400), (Code.PERMISSION_DENIED, 403), (Code.NOT_FOUND, 404),
        (Code.ALREADY_EXISTS, 409), (Code.FAILED_PRECONDITION, 409), (Code.INTERNAL, 500),
        (Code.RESOURCE_EXHAUSTED, 429), (Code.UNAVAILABLE, 503), (Code.DEADLINE_EXCEEDED, 504),
    ],
)  # fmt: skip
async def test_a_failure_is_a_problem_with_the_status_of_its_code(
    server: Server, code: Code, status: int
) -> None:
    error = Problem(code=code, message="No.", hint="Do that.", retry_after=7)
    server.gate.outcome = Outcome(state=State.FAILED, tool="x_y", call_id="c1", error=error)
    async with server.client() as client:
        answer = await client.post("/api/v1/tools/x_y")
    body = answer.json()
    assert (answer.status_code, body["status"]) == (status, status)
    assert (body["detail"], body["code"], body["hint"]) == ("No.", code.value, "Do that.")
    assert body["outcome"]["call_id"] == "c1"
    assert (answer.headers.get("retry-after") == "7") == (status in (429, 503))


@pytest.mark.parametrize("state", [State.AWAITING_APPROVAL, State.RUNNING])
async def test_what_waits_or_runs_answers_202(server: Server, state: State) -> None:
    server.gate.outcome = Outcome(state=state, tool="x_y", call_id="c1")
    async with server.client() as client:
        assert (await client.post("/api/v1/tools/x_y")).status_code == 202


async def test_progress_comes_line_by_line_and_the_outcome_last(server: Server) -> None:
    server.gate.told = [("one", 1, 2), ("two", 2, 2)]
    async with server.client(Accept="application/x-ndjson") as client:
        answer = await client.post("/api/v1/tools/x_y")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [list(line) for line in lines] == [["progress"], ["progress"], ["outcome"]]
    assert lines[1]["progress"] == {"message": "two", "done": 2, "total": 2}


async def test_a_stream_is_a_line_a_piece_and_says_where_it_broke(server: Server) -> None:
    server.gate.pieces = [{"line": "a"}, {"line": "b"}, ToolError(Code.UNAVAILABLE, "Gone.")]
    async with server.client() as client:
        answer = await client.post("/api/v1/tools/job_logs")
    assert [json.loads(line) for line in answer.text.splitlines()[:2]] == [
        {"piece": {"line": "a"}},
        {"piece": {"line": "b"}},
    ]
    assert json.loads(answer.text.splitlines()[2])["error"]["code"] == "unavailable"
    seen: list[dict[str, Any]] = []
    with pytest.raises(ToolError, match="Gone"):  # noqa: PT012
        async for piece in server.remote().stream(ALICE, "job_logs", {}):
            seen.append(piece)
    assert seen == [{"line": "a"}, {"line": "b"}]


async def test_a_stream_that_cannot_begin_has_a_status_of_its_own(server: Server) -> None:
    server.gate.pieces = [ToolError(Code.NOT_FOUND, "No such job.")]
    async with server.client() as client:
        assert (await client.post("/api/v1/tools/job_logs")).status_code == 404
    with pytest.raises(ToolError, match="No such job"):
        async for _ in server.remote(local=True).stream(ALICE, "job_logs", {}):
            pass


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("x_y", b"{", "not JSON"),
        ("x_y", b"[1]", "JSON object"),
        ("x_y", b"[" * 3000, "nested too deeply"),
        ("x_y?wait=soon", b"", "`wait` is 0"),
        ("x_y?wait=nan", b"", "`wait` is 0"),
        ("x_y?wait=601", b"", "`wait` is 0"),
        ("x_y?preview=maybe", b"", "true or false"),
        ("x_y?tenant=acme", b"", "Unknown in the query: tenant"),
    ],
)
async def test_what_cannot_be_read_is_said(
    server: Server, path: str, body: bytes, says: str
) -> None:
    async with server.client() as client:
        answer = await client.post(f"/api/v1/tools/{path}", content=body)
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


async def test_a_body_that_is_too_large_is_refused_also_without_a_length(server: Server) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 1000

    async with server.client() as client:
        for content in (b"x" * 5000, chunks()):
            answer = await client.post("/api/v1/tools/x_y", content=content)
            assert answer.status_code == 413
            assert answer.json()["hint"]


async def test_another_host_or_origin_is_refused_but_probes_are_not(server: Server) -> None:
    async with server.client() as client:
        answer = await client.get("/api/v1/tools", headers={"Host": "evil.example"})
        assert answer.status_code == 421
        assert "allowed_hosts" in answer.json()["hint"]
        answer = await client.get("/api/v1/tools", headers={"Origin": "https://evil.example"})
        assert answer.status_code == 403
        for origin in ("https://ok.example", server.url):
            assert (await client.get("/api/v1/tools", headers={"Origin": origin})).is_success
        assert (await client.get("/health", headers={"Host": "10.0.0.7:8000"})).is_success


async def test_what_breaks_inside_says_nothing_of_the_inside(server: Server) -> None:
    server.gate.breaks = RuntimeError("password=hunter2")
    async with server.client(**{"X-Request-Id": "r-1"}) as client:
        answer = await client.post("/api/v1/tools/x_y")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "r-1" in answer.json()["hint"]
    assert answer.headers["x-request-id"] == "r-1"


async def test_an_unknown_path_or_method_is_a_problem_too(server: Server) -> None:
    async with server.client() as client:
        assert (await client.get("/nowhere")).json()["code"] == "not_found"
        answer = await client.get("/api/v1/tools/x_y")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_door_is_believed_on_the_socket_and_from_afar_only_if_it_is_less(
    server: Server,
) -> None:
    for local, said, taken in [
        (True, "cli", "cli"),
        (True, "mcp-elicitation", "mcp-elicitation"),
        (False, "cli", "rest"),
        (False, "mcp", "mcp"),
        (False, "mcp-elicitation", "mcp"),
    ]:
        caller = Caller.of("x", door=said)
        await server.remote(local=local).call(caller, "x_y", {})
        assert server.gate.asked["caller"].door == taken


async def test_a_connection_can_only_ask_for_less(server: Server) -> None:
    caller = Caller.of("x", read_only=True, toolsets=frozenset({"jobs", "tenants"}))
    await server.remote().call(caller, "x_y", {})
    asked = server.gate.asked["caller"]
    assert asked.read_only
    assert asked.toolsets == {"jobs", "tenants"}


async def test_the_socket_is_for_its_owner_alone_and_tells_who_holds_the_state(
    server: Server,
) -> None:
    assert server.socket.stat().st_mode & 0o777 == 0o600
    assert await server.remote(local=True).get("/local") == {"pid": 1}
    with pytest.raises(ToolError) as caught:
        await server.remote().get("/local")
    assert caught.value.code is Code.NOT_FOUND


async def test_a_remote_gate_gives_the_outcome_that_the_gate_gave(server: Server) -> None:
    outcomes = [
        Outcome(state=State.SUCCEEDED, tool="x_y", answer={"a": [1]}),
        Outcome(state=State.AWAITING_APPROVAL, tool="x_y", call_id="c", expires=datetime.now(UTC)),
        Outcome(state=State.DENIED, tool="x_y", error=Problem(code=Code.NOT_FOUND, message="m")),
    ]
    gate = server.remote(local=True)
    told: list[str] = []

    async def progress(message: str, done: float | None, total: float | None) -> None:
        told.append(message)

    server.gate.told = [("one", None, None)]
    for outcome in outcomes:
        server.gate.outcome = outcome
        assert await gate.call(ALICE, "x_y", {}) == outcome
        assert await gate.call(ALICE, "x_y", {}, progress=progress) == outcome
    assert told == ["one"] * 3
    assert [t.name for t in await gate.tools(ALICE)] == ["tenant_list"]


async def test_a_remote_gate_says_what_is_wrong_and_never_raises(
    server: Server, tmp_path: Path
) -> None:
    for gate, code in [
        (server.remote("bad"), Code.UNAUTHENTICATED),
        (RemoteGate("http://127.0.0.1:1"), Code.UNAVAILABLE),
        (RemoteGate(tmp_path / "none.sock"), Code.UNAVAILABLE),
        (RemoteGate("nonsense"), Code.INVALID_ARGUMENT),
    ]:
        outcome = await gate.call(ALICE, "x_y", {})
        assert outcome.error
        assert outcome.error.code is code
        await gate.close()


async def test_openapi_has_a_path_for_every_tool(server: Server) -> None:
    async with server.client(token="") as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert "/api/v1/tools/token_create" in paths
