import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.journal import Journal, meta
from server.migrations import MIGRATIONS
from tools.errors import Code, ToolError


def url(path: Path) -> str:
    return f"duckdb:///{path / 'state.duckdb'}"


def put(key: str, value: object):  # type: ignore[no-untyped-def]
    return lambda c: c.execute(sa.insert(meta).values(key=key, value=value)) and None


async def test_what_was_written_is_there_after_a_restart(database: str) -> None:
    journal = await Journal.open(database)
    await journal.run(put("greeting", {"hello": "world"}))
    await journal.close()
    journal = await Journal.open(database)
    query = sa.select(meta.c.value).where(meta.c.key == "greeting")
    assert await journal.run(lambda c: c.execute(query).scalar()) == {"hello": "world"}
    await journal.close()


async def test_one_failure_does_not_take_its_neighbours_with_it(database: str) -> None:
    journal = await Journal.open(database)
    work = [put(f"k{n}", n) for n in range(20)]
    work[7] = lambda c: c.execute(sa.text("select nonsense"))
    results = await asyncio.gather(*(journal.run(w) for w in work), return_exceptions=True)
    assert [isinstance(r, Exception) for r in results] == [n == 7 for n in range(20)]
    count = sa.select(sa.func.count()).select_from(meta).where(meta.c.key.startswith("k"))
    assert await journal.run(lambda c: c.execute(count).scalar()) == 19
    await journal.close()


async def test_state_held_by_another_process_is_refused_with_what_to_do(tmp_path: Path) -> None:
    holds = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); "
        "sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", holds, str(tmp_path / "state.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdout.readline()
    try:
        with pytest.raises(ToolError, match="Another process holds") as refused:
            await Journal.open(url(tmp_path))
        assert refused.value.code is Code.FAILED_PRECONDITION
        assert refused.value.hint
    finally:
        other.stdin.close()
        other.wait(10)
        other.stdout.close()


async def test_state_from_a_newer_version_is_refused_and_left_as_it_is(database: str) -> None:
    journal = await Journal.open(database)
    newer = len(MIGRATIONS) + 1
    statement = sa.update(meta).where(meta.c.key == "version").values(value=newer)
    await journal.run(lambda c: c.execute(statement) and None)
    await journal.close()
    with pytest.raises(ToolError, match="newer Pilothouse"):
        await Journal.open(database)


async def test_state_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(ToolError, match="cannot be opened"):
        await Journal.open(url(tmp_path))


async def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be"):
        await Journal.open(url(tmp_path / "nowhere"))
