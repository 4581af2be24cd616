"""Requests on bad days: a server that is busy, breaks off, hangs, or is not there."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.tools.backends.kubernetes.test_connection import kubeconfig
from tools.backends.kubernetes import Api, Identity
from tools.errors import Code, ToolError

Answers = Callable[[web.Request, int], Awaitable[web.StreamResponse]]


class Server:
    """Answers with what a test says, and counts the requests."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[web.Request] = []
        self.answers: Answers | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        await request.read()
        assert self.answers is not None
        return await self.answers(request, len(self.requests))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    answering = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answering.answer)
    listening = TestServer(app)
    await listening.start_server()
    answering.url = str(listening.make_url(""))
    yield answering
    await listening.close()


@pytest.fixture
async def api(server: Server, tmp_path: Path) -> AsyncIterator[Api]:
    made = Api("test", kubeconfig(tmp_path, server.url, token="t"))
    yield made
    await made.close()


def status(code: int, headers: dict[str, str] | None = None) -> web.Response:
    body = {"kind": "Status", "message": f"it is {code}", "code": code}
    return web.json_response(body, status=code, headers=headers)


async def breaks_off(request: web.Request, nth: int) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hangs(request: web.Request, nth: int) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


@pytest.mark.parametrize("code", [429, 503])
async def test_a_read_is_tried_again_when_the_server_is_busy(
    server: Server, api: Api, code: int
) -> None:
    async def answers(request: web.Request, nth: int) -> web.StreamResponse:
        return status(code, {"Retry-After": "0.01"}) if nth < 3 else web.json_response({"a": 1})

    server.answers = answers
    assert await api.get("/x") == {"a": 1}
    assert len(server.requests) == 3


async def test_a_read_is_not_tried_forever(server: Server, api: Api) -> None:
    async def answers(request: web.Request, nth: int) -> web.StreamResponse:
        return status(503, {"Retry-After": "0.01"})

    server.answers = answers
    with pytest.raises(ToolError) as refused:
        await api.get("/x")
    assert refused.value.code is Code.UNAVAILABLE
    assert "it is 503" in refused.value.message
    assert len(server.requests) == 4


async def test_who_asks_for_a_long_wait_is_not_waited_for(server: Server, api: Api) -> None:
    async def answers(request: web.Request, nth: int) -> web.StreamResponse:
        return status(429, {"Retry-After": "60"})

    server.answers = answers
    with pytest.raises(ToolError) as refused:
        await api.get("/x")
    assert refused.value.retry_after == 60
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [429, 500, 503, 504])
async def test_a_change_is_sent_once_whatever_is_answered(
    server: Server, api: Api, code: int
) -> None:
    async def answers(request: web.Request, nth: int) -> web.StreamResponse:
        return status(code, {"Retry-After": "0.01"})

    server.answers = answers
    with pytest.raises(ToolError) as refused:
        await api.request("POST", "/x", body={})
    assert len(server.requests) == 1
    assert refused.value.lost is (code == 504)
    assert refused.value.passing


async def test_a_dry_run_is_a_read(server: Server, api: Api) -> None:
    async def answers(request: web.Request, nth: int) -> web.StreamResponse:
        if nth == 1:
            return await breaks_off(request, nth)
        return web.json_response(dict(request.query))

    server.answers = answers
    assert (await api.request("POST", "/x", {"dryRun": "All"}, {})).body == {"dryRun": "All"}


async def test_a_change_whose_answer_is_lost_says_so_and_a_read_is_repeated(
    server: Server, api: Api
) -> None:
    server.answers = breaks_off
    with pytest.raises(ToolError) as refused:
        await api.request("PATCH", "/x", body={})
    assert (refused.value.code, refused.value.lost) == (Code.UNAVAILABLE, True)
    assert len(server.requests) == 1
    with pytest.raises(ToolError) as refused:
        await api.get("/x")
    assert not refused.value.lost
    assert len(server.requests) > 2


async def test_a_server_that_hangs_is_left_after_the_time_it_has(server: Server, api: Api) -> None:
    server.answers = hangs
    with pytest.raises(ToolError) as refused:
        await api.get("/x", timeout_s=0.05)
    assert (refused.value.code, refused.value.lost) == (Code.DEADLINE_EXCEEDED, False)
    with pytest.raises(ToolError) as refused:
        await api.request("DELETE", "/x", timeout_s=0.05)
    assert refused.value.lost


async def test_a_cluster_that_is_not_there_is_named_with_its_address(tmp_path: Path) -> None:
    api = Api("far", kubeconfig(tmp_path, "http://127.0.0.1:1"))
    for method in ("GET", "POST"):
        with pytest.raises(ToolError) as refused:
            await api.request(method, "/x")
        assert (refused.value.code, refused.value.lost) == (Code.UNAVAILABLE, False)
        assert "Cannot reach cluster far at http://127.0.0.1:1" in refused.value.message
        assert "pilothouse doctor" in refused.value.hint
    await api.close()


async def test_somebody_elses_rights_go_as_impersonation(server: Server, api: Api) -> None:
    async def answers(request: web.Request, nth: int) -> web.StreamResponse:
        return web.json_response(
            {k.lower(): v for k, v in request.headers.items() if k.startswith("Impersonate")}
        )

    server.answers = answers
    alice = Identity("pilothouse-user", "acme", person="alice", subject="bot\n7")
    assert await api.as_(alice).get("/x") == {
        "impersonate-user": "system:serviceaccount:acme:pilothouse-user",
        "impersonate-extra-pilothouse.dev%2fperson": "alice",
        "impersonate-extra-pilothouse.dev%2fsubject": "bot?7",
    }
    assert await api.get("/x") == {}


async def test_warnings_of_the_server_are_handed_on(server: Server, api: Api) -> None:
    async def answers(request: web.Request, nth: int) -> web.StreamResponse:
        return web.json_response({}, headers={"Warning": '299 - "would violate \\"baseline\\""'})

    server.answers = answers
    assert (await api.request("GET", "/x")).warnings == ('would violate "baseline"',)


async def test_lines_come_as_they_are_written_and_long_ones_in_pieces(
    server: Server, api: Api
) -> None:
    async def answers(request: web.Request, nth: int) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b"on", b"e\ntwo\n", b"x" * 25, b"\nlast"):
            await response.write(piece)
        return response

    server.answers = answers
    got = [line async for line in api.lines("/x", timeout_s=5, longest=10)]
    assert got[:2] == [b"one", b"two"]
    assert b"".join(got[2:-1]) == b"x" * 25
    assert got[-1] == b"last"


async def test_a_stream_ends_when_its_time_is_up_and_fails_when_it_breaks(
    server: Server, api: Api
) -> None:
    async def answers(request: web.Request, nth: int) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\n")
        return await (hangs if nth == 1 else breaks_off)(request, nth)

    server.answers = answers
    assert [line async for line in api.lines("/x", timeout_s=0.2)] == [b"one"]
    with pytest.raises(ToolError) as refused:
        [line async for line in api.lines("/x", timeout_s=5)]
    assert refused.value.code is Code.UNAVAILABLE


async def test_a_hundred_requests_go_side_by_side(server: Server, api: Api) -> None:
    together = asyncio.Event()

    async def answers(request: web.Request, nth: int) -> web.StreamResponse:
        if nth == 100:
            together.set()
        await asyncio.wait_for(together.wait(), 10)
        return web.json_response({})

    server.answers = answers
    await asyncio.gather(*(api.get(f"/{i}") for i in range(100)))


def test_nothing_heavy_is_imported_before_the_first_request() -> None:
    code = (
        "import sys, json; import tools.backends.kubernetes;"
        "print(json.dumps([m for m in ('kubernetes', 'aiohttp', 'yaml') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []
