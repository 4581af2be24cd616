"""Events over real sockets: server-sent, and through a WebSocket."""

import asyncio
import hashlib
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
import pytest
import pytest_asyncio
from starlette.datastructures import URL
from starlette.requests import HTTPConnection
from starlette.responses import Response

from server.doors import live
from server.doors.http import Guard
from server.doors.rest import Inside, rest_app
from server.doors.web import sessions
from server.doors.web.sessions import Sessions
from server.events import Hub
from server.serving import listen, served
from tools.calls import Caller, Grant, Outcome, Role, State, ToolInfo
from tools.errors import Code, ToolError

pytestmark = pytest.mark.asyncio(loop_scope="module")
PEOPLE = {
    "olivia": Caller.of("olivia", operator=True),
    "ada": Caller.of("ada", grants={"acme": Grant(role=Role.ADMIN, uid="u1")}),
}
OK = "https://ok.example"


class Logs:
    """A gate whose only tool is the log of a job."""

    async def tools(self, caller: Caller) -> list[ToolInfo]:
        return []

    async def call(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any], **options: Any
    ) -> Outcome:
        return Outcome(state=State.SUCCEEDED, tool=tool)

    async def stream(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        if arguments["name"] != "hello":
            raise ToolError(Code.NOT_FOUND, "acme has no such Job.", "job_list shows them.")
        yield {"line": f"{tool} of {arguments['tenant']}, for {caller.subject}"}
        yield {"done": True, "status": "succeeded"}


class SignedOut(set[str]):
    """Sessions that were ended."""

    async def add(self, id: str, until: float) -> None:  # type: ignore[override]
        super().add(id)

    async def add_token(self, sha256: str) -> None:
        super().add(sha256)

    async def has(self, id: str) -> bool:
        return id in self


@dataclass
class Server:
    hub: Hub
    url: str
    people: dict[str, Caller]
    sessions: Sessions
    later_s: list[float]

    @asynccontextmanager
    async def sse(self, who: str, query: str = "", **headers: str) -> AsyncIterator["Reader"]:
        given = {"authorization": f"Bearer {who}"} | headers
        async with (
            httpx.AsyncClient(base_url=self.url, headers=given, timeout=20) as client,
            client.stream("GET", f"/api/v1/events{query}") as answer,
        ):
            assert answer.headers["content-type"].startswith("text/event-stream"), (
                await answer.aread()
            )
            yield Reader(answer.aiter_lines())

    @asynccontextmanager
    async def ws(
        self, who: str, query: str = "", **headers: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        given = {"authorization": f"Bearer {who}"} | headers
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self.url}/ws{query}", headers=given) as ws,
        ):
            yield ws

    def happens(self, n: int, kind: str = "call", tenant: str = "acme", uid: str = "u1") -> None:
        self.hub.publish(kind, {"n": n}, tenant=tenant, tenant_uid=uid)


@dataclass
class Reader:
    """Reads as the standard says: an id holds until there is another."""

    lines: Any
    id: str = ""

    async def next(self) -> tuple[str, Any]:
        """The next event's kind and data; the kind is empty for what only has an id."""
        kind, data = "", None
        async with asyncio.timeout(10):
            async for line in self.lines:
                name, _, value = line.partition(": ")
                if name == "id":
                    self.id = value
                elif name == "event":
                    kind = value
                elif name == "data":
                    data = json.loads(value)
                elif not line:
                    return kind, data
        raise AssertionError("it ended")

    async def event(self) -> tuple[str, Any]:
        """The next that is no sign of life."""
        async with asyncio.timeout(10):
            while not (told := await self.next())[0]:
                pass
        return told


async def nobody_reads(server: Server) -> None:
    async with asyncio.timeout(20):
        while server.hub.readers:
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Server]:
    hub, people = Hub(kept=500), dict(PEOPLE)

    async def who(token: str, door: str, tool: str) -> Caller | None:
        return people.get(token)

    async def ready() -> dict[str, Any]:
        return {}

    async def page() -> bytes:
        return b""

    async def key() -> bytes:
        return b"key"

    async def of_token(sha256: str) -> Caller | None:
        return people.get("ada") if sha256 == hashlib.sha256(b"ada").hexdigest() else None

    later_s = [0.0]
    over = SignedOut()
    signed_in = Sessions(key, of_token, over, over.add_token, lambda: time.time() + sum(later_s))
    inside = Inside(Logs(), who, ready, page, "1", events=hub, signed_in=signed_in.caller_of_api)
    listener = listen("127.0.0.1", 0)
    app = Guard(rest_app(inside), hosts=("127.0.0.1",), origins=(OK,), most_body=4096)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(app, listener, 1))
        stack.callback(hub.close)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Server(hub, url, people, signed_in, later_s)


@pytest.fixture
def server(shared: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(live, "FIRST_S", 0.2)
    shared.people.clear()
    shared.people.update(PEOPLE)
    return shared


async def test_each_reader_is_told_what_they_may_see(server: Server) -> None:
    async with server.sse("ada") as ada, server.sse("olivia") as olivia:
        assert await ada.next() == await olivia.next() == ("", None)
        server.happens(1, tenant="globex", uid="u2")
        server.happens(2)
        assert await ada.next() == ("call", {"n": 2})
        assert [await olivia.next(), await olivia.next()] == [
            ("call", {"n": 1}),
            ("call", {"n": 2}),
        ]
        assert ada.id == olivia.id == server.hub.position


async def test_a_reader_may_ask_for_some_kinds_only(server: Server) -> None:
    async with server.sse("ada", "?types=metrics,recommendation") as reader:
        await reader.next()
        for n, kind in enumerate(("call", "recommendation", "metrics")):
            server.happens(n, kind)
        assert [await reader.next(), await reader.next()] == [
            ("recommendation", {"n": 1}),
            ("metrics", {"n": 2}),
        ]


async def test_a_browser_that_lost_its_connection_reads_on(server: Server) -> None:
    async with server.sse("ada") as reader:
        await reader.next()
        server.happens(1)
        await reader.next()
    server.happens(2)
    server.happens(3)
    async with server.sse("ada", **{"last-event-id": reader.id}) as again:
        await again.next()
        assert [await again.next(), await again.next()] == [("call", {"n": 2}), ("call", {"n": 3})]


async def test_after_a_restart_one_is_told_to_read_anew(server: Server) -> None:
    before = Hub().position
    async with server.sse("ada", **{"last-event-id": before}) as reader:
        await reader.next()
        assert await reader.next() == ("reset", {"reason": "restarted"})
        assert reader.id == server.hub.position
    async with server.ws("ada", f"?last_event_id={before}") as ws:
        assert (await ws.receive_json(timeout=10))["event"] == "hello"
        assert (await ws.receive_json(timeout=10))["event"] == "reset"


async def test_a_quiet_stream_shows_that_it_is_alive_and_how_far_it_is(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.05)
    async with server.sse("ada") as reader:
        await reader.next()
        server.happens(1, tenant="globex", uid="u2")
        while reader.id != server.hub.position:
            assert (await reader.next())[0] == ""
    async with server.ws("ada") as ws:
        told = [(await ws.receive_json(timeout=10))["event"] for _ in range(2)]
        assert told == ["hello", "heartbeat"]


async def test_whose_token_is_revoked_is_told_so_and_nothing_more(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.05)
    async with server.sse("ada") as reader, server.ws("ada") as ws:
        await reader.next()
        assert (await ws.receive_json(timeout=10))["event"] == "hello"
        del server.people["ada"]
        kind, data = await reader.event()
        assert kind == "dropped"
        assert "token" in data["reason"]
        while (message := await ws.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
            last = json.loads(message.data)
        assert last["event"] == "dropped"
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1013)
        assert "token" in str(message.extra)


async def test_a_session_that_is_over_ends_what_its_browser_follows(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.05)
    answer, request = Response(), HTTPConnection({"type": "http", "headers": []})
    with monkeypatch.context() as patch:
        patch.setattr(HTTPConnection, "url", URL(server.url))
        await server.sessions.begin(answer, request, "ada")
    cookie = answer.headers.getlist("set-cookie")[0].partition(";")[0]
    async with server.sse("", cookie=cookie, authorization="") as reader:
        await reader.next()
        server.happens(1)
        assert await reader.event() == ("call", {"n": 1})
        server.later_s.append(sessions.LASTS_S)
        assert (await reader.event())[0] == "dropped"
    server.later_s.clear()


async def test_a_reader_over_http_1_0_is_told_the_same_without_chunks(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /api/v1/events HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer ada\r\n\r\n".encode()
    )
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" not in head
        await reader.readuntil(b"\n\n")
        server.happens(1)
        told = await reader.readuntil(b"\n\n")
    assert told == f'id: {server.hub.position}\nevent: call\ndata: {{"n":1}}\n\n'.encode()
    writer.close()


async def test_who_only_asks_whether_there_are_events_is_not_kept(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=10) as client:
        answer = await client.head("/api/v1/events", headers={"authorization": "Bearer ada"})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert not answer.content


async def test_who_asks_too_often_may_still_listen(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.05)
    refused = asyncio.Event()

    async def too_often(*_: Any) -> Caller:
        refused.set()
        raise ToolError(Code.RESOURCE_EXHAUSTED, "You ask too often.")

    async with server.sse("ada") as reader:
        await reader.next()
        monkeypatch.setattr(live, "caller_of", too_often)
        await asyncio.wait_for(refused.wait(), 10)
        server.happens(1)
        assert await reader.event() == ("call", {"n": 1})


@pytest.mark.parametrize("upgrade", [False, True])
async def test_a_reader_who_takes_nothing_holds_nobody_up_and_is_told_why(
    server: Server, upgrade: bool
) -> None:
    text = "x" * 20_000
    await nobody_reads(server)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = server.url.removeprefix("http://").split(":")
        slow.connect((host, int(port)))
        path = "/ws?types=call" if upgrade else "/api/v1/events"
        more = (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        )
        head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer olivia\r\n"
        slow.sendall(f"{head}{more if upgrade else ''}\r\n".encode())
        async with server.sse("ada", "?types=metrics") as other:
            await other.next()
            async with asyncio.timeout(10):
                while server.hub.readers < 2:
                    await asyncio.sleep(0.01)
            for n in range(1500):
                server.hub.publish("call", {"text": text})
                if n % 50 == 0:
                    server.happens(n, "metrics")
                    assert await other.next() == ("metrics", {"n": n})
        slow.setblocking(False)
        loop, read = asyncio.get_running_loop(), b""
        async with asyncio.timeout(20):
            while b"You read too slowly" not in read[-20_000:]:
                read += (part := await loop.sock_recv(slow, 1 << 20))
                assert part, "it ended without a word"
    assert len(read) < 1000 * len(text)


async def test_a_page_of_somebody_else_may_not_listen(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        evil = {"authorization": "Bearer ada", "origin": "https://evil.example"}
        assert (await client.get("/api/v1/events", headers=evil)).status_code == 403
    for who, origin, status in (
        ("ada", "https://evil.example", 403),
        ("nobody", OK, 401),
        ("", server.url, 401),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with server.ws(who, origin=origin):
                pass
        assert refused.value.status == status
    async with server.ws("ada", origin=OK) as ws:
        assert (await ws.receive_json(timeout=10))["event"] == "hello"


async def test_a_first_message_says_what_is_wanted(server: Server) -> None:
    async with server.ws("ada") as ws:
        server.happens(1)
        seen = server.hub.position
        server.happens(2)
        server.happens(3, "metrics")
        await ws.send_json({"types": ["metrics", "call"], "last_event_id": seen})
        told = [await ws.receive_json(timeout=10) for _ in range(3)]
        assert [one["event"] for one in told] == ["hello", "call", "metrics"]
        assert told[1] == {"id": told[1]["id"], "event": "call", "data": {"n": 2}}
        await ws.send_str("and what else is said means nothing")
        server.happens(4)
        assert (await ws.receive_json(timeout=10))["data"] == {"n": 4}


async def test_what_comes_before_the_first_message_is_not_lost(server: Server) -> None:
    async with server.ws("ada") as ws:
        server.happens(7)
        assert (await ws.receive_json(timeout=10))["event"] == "hello"
        assert (await ws.receive_json(timeout=10))["data"] == {"n": 7}


@pytest.mark.parametrize(
    "said", ["{", "[]", '{"types": ["weather"]}', '{"colour": "red"}', '{"types": 7}', "[" * 9999]
)
async def test_a_first_message_that_makes_no_sense_ends_it_with_a_reason(
    server: Server, said: str
) -> None:
    async with server.ws("ada") as ws:
        await ws.send_str(said)
        message = await ws.receive(timeout=10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4400)
        assert message.extra


async def test_a_query_that_makes_no_sense_is_a_problem(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        for query in ("types=weather", "colour=red", "job=x", f"last_event_id={'9' * 99}"):
            headers = {"authorization": "Bearer ada"}
            answer = await client.get(f"/api/v1/events?{query}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


async def test_the_log_of_a_job_comes_between_the_events(server: Server) -> None:
    lines = [
        {"tenant": "acme", "job": "hello", "line": "job_logs of acme, for ada"},
        {"tenant": "acme", "job": "hello", "done": True, "status": "succeeded"},
    ]
    async with server.sse("ada", "?job=acme:hello") as reader:
        await reader.next()
        assert [await reader.next(), await reader.next()] == [("log", line) for line in lines]
        server.happens(1)
        assert await reader.next() == ("call", {"n": 1})
    async with server.ws("ada") as ws:
        await ws.send_json({"follow": {"tenant": "acme", "name": "gone"}})
        assert (await ws.receive_json(timeout=10))["event"] == "hello"
        told = await ws.receive_json(timeout=10)
        assert (told["event"], told["data"]["error"]["code"]) == ("log", "not_found")


async def test_a_frame_that_is_none_ends_the_connection(server: Server) -> None:
    async with server.ws("ada") as ws:
        assert ws._writer is not None
        ws._writer.transport.write(b"\xff\xff\xff\xff")
        while (message := await ws.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    async with httpx.AsyncClient(base_url=server.url) as client:
        upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "7"}
        assert (await client.get("/ws", headers=upgrade)).status_code == 400


async def test_nobody_is_left_behind(server: Server) -> None:
    await nobody_reads(server)
