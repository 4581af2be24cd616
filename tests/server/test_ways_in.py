"""Ways in that were tried, and are none."""

import asyncio
import csv
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import httpx
import pytest
import sqlalchemy as sa

from server import serving as listening
from server.app import App
from server.commands.auditing import export
from server.commands.serving import serving
from server.doors.web.sessions import COOKIE, Sessions
from server.identity import Identity, new_token
from server.journal import meta
from tests.conftest import Kube
from tests.house import settings
from tests.lodging import lodging
from tools.calls import Caller, State
from tools.errors import Code, ToolError

ROOT = Caller.of("root", operator=True, door="cli")
STILL = Identity.still


@asynccontextmanager
async def served(tmp_path: Path, practice: Any) -> AsyncIterator[tuple[App, str]]:
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    config = str(tmp_path / "kubeconfig")
    limits = {"grace_s": 0.2}
    made = settings(tmp_path / "state", config, "http://127.0.0.1:1", port=0, limits=limits)
    async with serving(made) as there:
        yield there


async def token_of(app: App, subject: str, **rights: Any) -> str:
    token, sha256 = new_token()
    given = {"tenants": {}, "operator": True, "agent": False, "person": ""} | rights
    await app.identity.tokens.create(
        ROOT, sha256=sha256, subject=subject, expires_days=None, **given
    )
    return token


async def cookie(key: bytes, token_sha256: str) -> dict[str, str]:
    """A session on the page as somebody with this key would seal it."""

    async def find_key() -> bytes:
        return key

    said = f"{token_sha256}.{int(time.time()) + 3600}.{'0' * 16}"
    forger = Sessions(find_key, None, None, None)  # type: ignore[arg-type]
    return {"cookie": f"{COOKIE}={said}.{await forger._seal('session', said)}"}


async def test_who_has_a_copy_of_the_database_and_not_its_key_does_not_come_in_with_it(
    tmp_path: Path, practice: Any
) -> None:
    async with served(tmp_path, practice) as (app, url):
        await token_of(app, "olivia")
        (row,) = app.identity.tokens.rows.all.values()
        values = await app.journal.run(lambda c: c.execute(sa.select(meta.c.value)).scalars().all())
        async with httpx.AsyncClient(base_url=f"{url}/api/v1") as http:
            keys = [str(value) for value in values] + [row["sha256"]]
            for text in keys:
                guesses = [text.encode()]
                if not len(text) % 2 and all(c in "0123456789abcdef" for c in text):
                    guesses.append(bytes.fromhex(text))
                for key in guesses:
                    forged = await cookie(key, row["sha256"])
                    assert (await http.get("/caller", headers=forged)).status_code == 401
            own = await cookie(await app.state_key(), row["sha256"])
            assert (await http.get("/caller", headers=own)).json()["subject"] == "olivia"


async def test_who_connects_and_says_nothing_or_little_is_not_waited_for(
    tmp_path: Path, practice: Any
) -> None:
    login = b"POST /api/v1/auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{"
    with mock.patch.object(listening, "REQUEST_S", 0.3):
        async with served(tmp_path, practice) as (_, url):
            port = int(url.rpartition(":")[2])

            async def say(begin: bytes, more: bytes) -> float:
                """A byte at a time, until the connection ends: after how many seconds."""
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                began = time.monotonic()
                writer.write(begin)
                end = asyncio.ensure_future(reader.read())
                while not end.done():
                    writer.write(more)
                    await asyncio.wait((end,), timeout=0.05)
                    assert time.monotonic() < began + 10
                writer.close()
                return time.monotonic() - began

            async with httpx.AsyncClient(base_url=url) as http:
                assert (await http.get("/health")).status_code == 200
                ended = await asyncio.gather(
                    say(b"", b""), say(b"GET /health HTTP/1.1\r\n", b"x"), say(login, b" "),
                    say(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nGET", b"x"),
                )  # fmt: skip
                assert max(ended) < 5
                # One who keeps a connection for the next request keeps it.
                assert (await http.get("/health")).status_code == 200


async def test_a_head_of_a_megabyte_is_not_read_to_its_end(tmp_path: Path, practice: Any) -> None:
    async with served(tmp_path, practice) as (_, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-long: ")
        sent = 0
        with suppress(ConnectionError):
            while not reader.at_eof() and sent < 1 << 20:
                writer.write(b"x" * 16_384)
                await writer.drain()
                sent += 16_384
                await asyncio.sleep(0)
            answer = await asyncio.wait_for(reader.read(), 10)
            assert answer.startswith(b"HTTP/1.1 400")
        writer.close()
        assert sent < 1 << 20


async def test_a_followed_log_ends_when_its_reader_may_no_longer(
    kube: Kube, moto_url: str, tmp_path: Path
) -> None:
    async with lodging(kube, moto_url, tmp_path) as home:
        gate = home.app.local_gate
        gate.still = STILL.__get__(home.app.identity)
        gate._streams._again_s = 0.05
        talks = ["sh", "-c", "while true; do echo on; sleep 1; done"]
        about = {"tenant": home.tenant, "name": "talks", "image": "busybox:1.37"}
        with mock.patch.object(gate, "still", lambda caller: caller):
            await home.done("job_create", **about, command=talks)
        await token_of(home.app, "first")
        await token_of(home.app, "reader", tenants={home.tenant: "viewer"}, operator=False)
        row = next(
            r for r in home.app.identity.tokens.rows.all.values() if r["subject"] == "reader"
        )
        reader = home.app.identity._caller(row, home.app.identity.tokens.allows(row), "rest")
        assert reader
        asked = {"tenant": home.tenant, "name": "talks", "follow": True}
        pieces = home.app.gate.stream(reader, "job_logs", asked)
        await anext(pieces)
        await home.app.identity.tokens.revoke(row["id"])

        async def rest() -> None:
            async for _ in pieces:
                pass

        with pytest.raises(ToolError, match="no access any more") as ended:
            await asyncio.wait_for(rest(), 10)
        assert ended.value.code is Code.PERMISSION_DENIED
        outcome = await home.call(home.user, "job_list", tenant=home.tenant)
        assert outcome.state is State.SUCCEEDED


async def test_no_name_of_a_tool_is_a_formula_in_an_exported_trail(
    tmp_path: Path, practice: Any
) -> None:
    async with served(tmp_path, practice) as (app, url):
        token = await token_of(app, "olivia")
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=url, headers=headers) as http:
            for name in ("=cmd|calc", "@SUM(A1)", "\n=1+1", "＝1"):
                await http.post(f"/api/v1/tools/{quote(name)}", json={})
            local = app.settings.state
            out = tmp_path / "trail.csv"
            where = {"url": url, "token": token, "state": local, "kubeconfig": None}
            await export(out, "csv", {}, **where)
            cells = [cell for row in csv.reader(out.open()) for cell in row]
            assert "'=cmd|calc" in cells
            assert not [cell for cell in cells if cell.strip().startswith(("=", "@", "＝"))]
