from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from server.journal import Journal, calls, job_results, meta
from server.records import Call, Records
from server.vault import CHECK, FILE, Vault
from tools.calls import Caller, State
from tools.errors import ToolError

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEYS = ["A" * 43 + "=", "B" * 42 + "A="]


def call(id: str) -> Call:
    return Call(
        id=id, created=NOON, updated=NOON, state=State.SUCCEEDED, tool="job_create",
        arguments={"env": {"PASSWORD": "hunter2"}}, caller=Caller.of("olivia"),
        result={"log": "hunter2"},
    )  # fmt: skip


async def opened(path: Path, key: str = "") -> tuple[Journal, Records]:
    url = f"duckdb:///{path / 'state.duckdb'}"
    journal = await Journal.open(url, Vault.open(path, key))
    return journal, Records(journal, lambda: NOON)


async def raw(journal: Journal) -> list[Any]:
    query = sa.select(calls.c.id, calls.c.arguments, calls.c.result).order_by(calls.c.id)
    return list(await journal.run(lambda c: c.execute(query).all()))


async def test_nothing_of_a_call_can_be_read_in_the_file(tmp_path: Path) -> None:
    journal, records = await opened(tmp_path)
    await records.add(call("c1"))
    await records.keep_job("t", "u", "j", {"log": "hunter2"})
    await journal.close()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    for file in tmp_path.iterdir():
        assert b"hunter2" not in file.read_bytes()
    journal, records = await opened(tmp_path)
    assert await records.find("c1") == call("c1")
    assert await records.kept_job("t", "u", "j") == {"log": "hunter2"}
    await journal.close()


async def test_a_key_that_is_missing_or_wrong_is_said_at_start(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path)
    await journal.close()
    key = (tmp_path / FILE).read_text()
    (tmp_path / FILE).unlink()
    with pytest.raises(ToolError, match="its key is missing"):
        await opened(tmp_path)
    with pytest.raises(ToolError, match="another key"):
        await opened(tmp_path, KEYS[0])
    with pytest.raises(ToolError, match="32 bytes in base64"):
        await opened(tmp_path, "secret")
    assert not (tmp_path / FILE).exists(), "no new key is made for a state that has one"
    journal, _ = await opened(tmp_path, key.strip())
    await journal.close()


async def test_what_was_recorded_of_one_call_does_not_pass_for_another(tmp_path: Path) -> None:
    journal, records = await opened(tmp_path)
    await records.add(call("c1"))
    await records.add(call("c2"))
    swap = sa.text("update calls set result = (select result from calls where id='c1')")
    await journal.run(lambda c: c.execute(swap) and None)
    with pytest.raises(ToolError, match="calls/result/c2 cannot be decrypted"):
        await records.find("c2")
    plain = sa.text("update calls set result = '{}' where id='c2'")
    await journal.run(lambda c: c.execute(plain) and None)
    with pytest.raises(ToolError, match="cannot be decrypted"):
        await records.find("c2")
    await journal.close()


async def test_a_change_of_keys_is_gone_on_with_where_it_was_cut_off(tmp_path: Path) -> None:
    journal, records = await opened(tmp_path)
    for n in range(250):
        await records.add(call(f"c{n:03}"))
    before = (tmp_path / FILE).read_text()
    journal.vault.renew()
    assert await journal.run(journal.vault.reseal) == 200
    await journal.close()  # as a crash would

    journal, records = await opened(tmp_path)
    assert journal.vault.keys == 2
    journal.vault.renew()
    assert journal.vault.keys == 2, "one change of keys at a time"
    while await journal.run(journal.vault.reseal):
        pass
    journal.vault.forget_old()
    await journal.close()
    after = (tmp_path / FILE).read_text()
    assert len(after.split()) == 1
    assert after != before
    journal, records = await opened(tmp_path)
    assert [await records.find(f"c{n:03}") for n in (0, 249)] == [call("c000"), call("c249")]
    await journal.close()


async def test_keys_of_the_settings_are_changed_there(tmp_path: Path) -> None:
    journal, records = await opened(tmp_path, KEYS[0])
    await records.add(call("c1"))
    with pytest.raises(ToolError, match="comes from the settings"):
        journal.vault.renew()
    await journal.close()
    journal, _ = await opened(tmp_path, ",".join(reversed(KEYS)))
    while await journal.run(journal.vault.reseal):
        pass
    await journal.close()
    journal, records = await opened(tmp_path, KEYS[1])
    assert await records.find("c1") == call("c1")
    await journal.close()
    assert not (tmp_path / FILE).exists()


async def test_what_an_earlier_version_left_plain_is_encrypted_at_start(
    database: str, tmp_path: Path
) -> None:
    journal = await Journal.open(database, Vault.open(tmp_path, KEYS[0]))
    await Records(journal, lambda: NOON).add(call("c1"))
    job = {"tenant": "t", "tenant_uid": "u", "job": "j", "saved": NOON, "result": '{"log": "x"}'}

    def plain(connection: sa.Connection) -> None:
        connection.execute(sa.delete(meta).where(meta.c.key == CHECK))
        connection.execute(sa.update(calls).values(arguments='{"a": 1}', result='{"b": 2}'))
        connection.execute(sa.insert(job_results).values(**job))

    await journal.run(plain)
    await journal.close()
    journal = await Journal.open(database, Vault.open(tmp_path, KEYS[0]))
    assert all(value.startswith("1.") for _, *values in await raw(journal) for value in values)
    found = await Records(journal, lambda: NOON).find("c1")
    assert found is not None
    assert (found.arguments, found.result) == ({"a": 1}, {"b": 2})
    await journal.close()


async def test_servers_that_share_a_database_share_its_key(
    postgresql: Callable[[], str], tmp_path: Path
) -> None:
    url = postgresql()
    journal = await Journal.open(url, Vault.open(tmp_path / "a"))
    with pytest.raises(ToolError, match="its key is missing"):
        await Journal.open(url, Vault.open(tmp_path / "b"))
    await journal.close()
