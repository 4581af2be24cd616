"""A cluster that is not there, hangs, refuses or loses answers, before a whole Pilothouse."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house import OLIVIA, House, opened, settings
from tests.lodging import refused
from tools.backends.kubernetes import api
from tools.calls import State
from tools.errors import Code

READ = ("workload_list", {"tenant": "acme"})
PREVIEW = ("workload_scale", {"tenant": "acme", "name": "web", "replicas": 3})
PLATFORM = ("tenant_create", {"name": "acme"})
SOON = {"limits": {"grace_s": 0, "read_s": 0.3, "plan_s": 0.3}}


@asynccontextmanager
async def before(
    tmp_path: Path, moto_url: str, url: str, token: str = "t", **options: Any
) -> AsyncIterator[House]:
    """A house before whatever answers at a URL."""
    config = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    kubeconfig = str(tmp_path / "kubeconfig")
    async with opened(settings(tmp_path, kubeconfig, moto_url, **options)) as house:
        yield house


@asynccontextmanager
async def cluster(says: Callable[[asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    """The URL of something that takes a request, answers as it likes and then hangs."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        says(writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for writer in writers:
        writer.close()


async def test_without_a_cluster_each_call_says_where_none_answers(tmp_path, moto_url) -> None:
    async with before(tmp_path, moto_url, "http://127.0.0.1:1") as house:
        for tool, arguments in (READ, PREVIEW, PLATFORM):
            outcome = await house.call(OLIVIA, tool, **arguments)
            refused(outcome, Code.UNAVAILABLE, "Cannot reach cluster default at http://127.0.0.1:1")
            assert "doctor" in outcome.error.hint
        assert (await house.call(OLIVIA, "call_list")).state is State.SUCCEEDED
        checks = await house.app.health.ready()
        assert checks["state"]["ok"]
        assert not checks["cluster default"]["ok"]


HALF = (
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"kind": "Li'
)
HANGS = {
    "never answers": lambda writer: None,
    "stops in the middle of its answer": lambda writer: writer.write(HALF),
}


@pytest.mark.parametrize("says", HANGS.values(), ids=HANGS)
async def test_a_cluster_that_hangs_holds_a_call_up_only_so_long(tmp_path, moto_url, says) -> None:
    async with (
        cluster(says) as url,
        before(tmp_path, moto_url, url, **SOON) as house,
        asyncio.timeout(20),
    ):
        for tool, arguments in (READ, PREVIEW, PLATFORM):
            refused(await house.call(OLIVIA, tool, **arguments), Code.DEADLINE_EXCEEDED)


NONSENSE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a page": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 3\r\n\r\nhi!",
    "half a document": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{",
    "another document": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]",
    "a proxy's refusal": b"HTTP/1.1 407 Go away\r\ncontent-length: 0\r\n\r\n",
    "a redirect": b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE)
async def test_what_answers_and_is_no_cluster_is_told_from_one(
    tmp_path, moto_url, monkeypatch, said
) -> None:
    monkeypatch.setattr(api, "FIRST_WAIT_S", 0.01)
    async with (
        cluster(lambda writer: writer.write(said) or writer.close()) as url,
        before(tmp_path, moto_url, url) as house,
        asyncio.timeout(20),
    ):
        for tool, arguments in (READ, PREVIEW, PLATFORM):
            outcome = await house.call(OLIVIA, tool, **arguments)
            assert outcome.error, outcome
            assert outcome.error.code in (Code.UNAVAILABLE, Code.FAILED_PRECONDITION), outcome.error
            assert outcome.error.hint


KUBECONFIGS = {
    "missing": None,
    "empty": "",
    "garbage": "\x00\xff nonsense: [",
    "a list": "[]",
    "without a context": "apiVersion: v1\nkind: Config\nclusters: []\n",
}


@pytest.mark.parametrize("text", KUBECONFIGS.values(), ids=KUBECONFIGS)
async def test_a_kubeconfig_that_is_none_is_said_at_each_call(tmp_path, moto_url, text) -> None:
    if text is not None:
        (tmp_path / "config").write_text(text)
    async with opened(settings(tmp_path, str(tmp_path / "config"), moto_url)) as house:
        for tool, arguments in (READ, PREVIEW, PLATFORM):
            outcome = await house.call(OLIVIA, tool, **arguments)
            refused(outcome, Code.FAILED_PRECONDITION, "kubeconfig")
            assert "--kubeconfig" in outcome.error.hint
        assert not (await house.app.health.ready())["cluster default"]["ok"]


async def test_an_expired_token_is_said_with_how_to_go_on(tmp_path, moto_url, practice) -> None:
    async with before(tmp_path, moto_url, practice.url, token="expired") as house:
        for tool, arguments in (READ, PREVIEW, PLATFORM):
            outcome = await house.call(OLIVIA, tool, **arguments)
            refused(outcome, Code.UNAUTHENTICATED, "credentials expired")
            assert "Log in" in outcome.error.hint
