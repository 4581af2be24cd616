"""One process owns the state, the others are its clients, and one of them takes over."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server import settings
from server.commands.serving import serving
from server.connection import Connection
from server.identity import new_token, user
from server.seat import SOCKET, Seat
from server.settings import Settings
from tools.calls import Caller, Outcome, State
from tools.errors import Code, ToolError

CLI = Caller.of("", door="cli")
MCP = Caller.of("", door="mcp", agent=True)


@pytest.fixture(autouse=True)
def _empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "PILOTHOUSE_TOKEN", "PILOTHOUSE_URL", "PILOTHOUSE_STATE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def here(tmp_path: Path, practice: Any) -> Settings:
    """Settings for a state of its own, on the practice cluster."""
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    return settings.load(state=tmp_path / "state", kubeconfig=str(tmp_path / "kubeconfig"), port=0)


@pytest.fixture
async def two(here: Settings) -> AsyncIterator[tuple[Connection, Connection]]:
    async with Connection(here) as one, Connection(here) as other:
        yield one, other


def owns(connection: Connection) -> bool:
    return connection._app is not None


async def first_token(connection: Connection, **what: Any) -> str:
    token, sha256 = new_token()
    asked = {"sha256": sha256, "subject": "root", "operator": True} | what
    ok(await connection.call(CLI, "token_create", asked))
    return token


def ok(outcome: Outcome) -> Outcome:
    assert outcome.error is None, outcome.error
    return outcome


async def test_the_first_owns_the_state_and_the_second_is_its_client(
    two: tuple[Connection, Connection],
) -> None:
    one, other = two
    for connection in (one, other):
        ok(await connection.call(MCP, "call_list", {}))
    assert (owns(one), owns(other)) == (True, False)
    shown = [[t.name for t in await c.tools(MCP)] for c in two]
    assert shown[0] == shown[1]


async def test_both_may_start_at_the_same_time(two: tuple[Connection, Connection]) -> None:
    outcomes = await asyncio.gather(*(c.call(MCP, "call_list", {}) for c in two for _ in range(3)))
    assert all(o.state is State.SUCCEEDED for o in outcomes)
    assert sorted(map(owns, two)) == [False, True]


async def test_when_the_owner_leaves_another_takes_over(here: Settings) -> None:
    async with Connection(here) as other:
        async with Connection(here) as one:
            token = await first_token(one)
            assert (await other.call(MCP, "call_list", {})).error, "there is a token now"
        assert not owns(other)
        async with Connection(here, token) as third:
            assert len(ok(await third.call(CLI, "token_list", {})).answer or {}) == 1
            assert owns(third), "what was written before is there"


async def test_a_client_takes_over_from_an_owner_that_was_killed(
    here: Settings,
) -> None:
    """Killed without warning, the owner leaves a socket behind and a lock that the kernel frees."""
    program = (
        "import asyncio, sys\n"
        "from server import settings\n"
        "from server.connection import Connection\n"
        "from server.logs import set_up\n"
        "from tools.calls import Caller\n"
        "async def main():\n"
        "    here = settings.load(state=sys.argv[1], kubeconfig=sys.argv[2])\n"
        "    set_up(here)\n"
        "    async with Connection(here) as one:\n"
        "        await one.call(Caller.of('', door='mcp'), 'call_list', {})\n"
        "        print('owns', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(here.state), here.kubeconfig,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert process.stdout
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"owns\n"
    async with Connection(here) as other:
        ok(await other.call(MCP, "call_list", {}))
        assert not owns(other)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert (here.state / SOCKET).exists()
        ok(await other.call(MCP, "call_list", {}))
        assert owns(other)


async def test_a_server_asks_for_the_state_and_gets_it(here: Settings) -> None:
    async with Connection(here) as one:
        token = await first_token(one)
        assert owns(one)
        async with serving(here) as (_, url):
            assert not owns(one)
            outcome = await Connection(here, token).call(CLI, "token_list", {})
            assert ok(outcome).answer
            with pytest.raises(ToolError) as caught:
                async with serving(here):
                    pass
            assert f"at {url}" in caught.value.message


async def test_a_state_that_is_held_for_another_cluster_is_refused(
    here: Settings, tmp_path: Path
) -> None:
    same = (tmp_path / "kubeconfig").read_text()
    (tmp_path / "elsewhere").write_text(same.replace("127.0.0.1", "127.0.0.2"))
    there = here.model_copy(update={"kubeconfig": str(tmp_path / "elsewhere")})
    async with Connection(here) as one:
        ok(await one.call(MCP, "call_list", {}))
        async with Connection(there) as other:
            error = (await other.call(MCP, "call_list", {})).error
            assert error
            assert error.code is Code.FAILED_PRECONDITION
            assert "127.0.0.2" in error.message
        async with Connection(there, strict=False) as other:
            ok(await other.call(MCP, "call_list", {}))
        unsaid = here.model_copy(update={"kubeconfig": ""})
        async with Connection(unsaid) as other:
            ok(await other.call(MCP, "call_list", {}))


async def test_without_tokens_whoever_is_logged_in_is_an_agent_that_decides_nothing(
    two: tuple[Connection, Connection],
) -> None:
    for connection in two:
        ok(await connection.call(CLI, "call_list", {}))
        error = (await connection.call(CLI, "calls_freeze", {})).error
        assert error
        assert error.code is Code.PERMISSION_DENIED
    one, other = two
    assert owns(one)
    token = await first_token(other)
    for connection in two:
        error = (await connection.call(MCP, "call_list", {})).error
        assert error
        assert error.code is Code.UNAUTHENTICATED
    async with Connection(one._settings, token) as known:
        answer = ok(await known.call(CLI, "token_list", {})).answer
        assert answer
        assert [t["created_by"] for t in answer["tokens"]] == [user()]


async def test_a_connection_may_be_less_than_its_token(two: tuple[Connection, Connection]) -> None:
    less = MCP.model_copy(update={"read_only": True, "toolsets": frozenset({"tenants"})})
    for connection in two:
        names = {t.name for t in await connection.tools(less)}
        assert "tenant_list" in names
        assert not names & {"tenant_create", "workload_list"}
        error = (await connection.call(less, "tenant_create", {"name": "acme"})).error
        assert error
        assert error.code is Code.PERMISSION_DENIED


async def test_the_state_of_a_database_file_that_is_broken_says_so(here: Settings) -> None:
    here.state.mkdir(mode=0o700)
    (here.state / "state.duckdb").write_bytes(b"no database" * 1000)
    async with Connection(here) as one:
        error = (await one.call(MCP, "call_list", {})).error
        assert error
        assert error.code is Code.FAILED_PRECONDITION
    seat = Seat.take(here.state)
    assert seat, "who could not open it does not hold it either"
    seat.leave()
