import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from server import anchors, copies
from server.audit import Audit
from server.identity import user
from server.journal import Journal, audit
from server.records import Records
from server.trail import verified
from server.vault import FILE, Vault
from tests.conftest import Kube
from tests.house import OLIVIA, opened, settings
from tests.server.test_cli import pilothouse
from tests.server.test_vault import call
from tools.calls import State
from tools.errors import Code, ToolError

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def state(path: Path) -> tuple[Journal, Records]:
    journal = await Journal.open(f"duckdb:///{path / 'state.duckdb'}", Vault.open(path))
    return journal, Records(journal, lambda: NOON)


async def test_a_copy_made_while_it_is_written_holds_all_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    import asyncio

    journal, records = await state(tmp_path)
    acknowledged: set[str] = set()

    async def write(name: str) -> None:
        for n in range(15):
            await records.add(call(f"{name}{n}"))
            acknowledged.add(f"{name}{n}")

    writers = [asyncio.create_task(write(name)) for name in "abc"]
    await asyncio.sleep(0)
    backups = []
    while not all(writer.done() for writer in writers):
        before = set(acknowledged)
        backups.append((before, await copies.backup(journal, tmp_path, datetime.now(UTC))))
    await asyncio.gather(*writers)
    await journal.close()
    assert len(backups) >= 2
    for number, (before, file) in enumerate((backups[0], backups[-1])):
        assert file.stat().st_mode & 0o777 == 0o600
        place = tmp_path / f"elsewhere{number}"
        place.mkdir()
        assert copies.restore(file, place) is None
        journal, records = await state(place)
        found = {c.id for c in await records.in_states(State.SUCCEEDED)}
        assert before <= found
        await journal.close()


async def test_the_command_copies_a_state_in_use_and_puts_it_back(
    kube: Kube, moto_url: str, tmp_path: Path
) -> None:
    import asyncio

    from server.connection import owning
    from server.seat import Seat

    place = tmp_path / "state"
    config = settings(place, kube.kubeconfig, moto_url)
    seat = Seat.take(place)
    assert seat is not None
    file = tmp_path / "copy.tar"
    where = ["--state", str(place), "--kubeconfig", kube.kubeconfig]
    async with owning(config, seat, None) as app:
        await app.gate.call(OLIVIA, "tenant_list", {})
        await asyncio.to_thread(pilothouse, "backup", str(file), *where)
        key = (place / FILE).read_text()
        await asyncio.to_thread(pilothouse, "key", "rotate", *where)
        assert (place / FILE).read_text() != key
        await asyncio.to_thread(pilothouse, "restore", str(file), *where, code=1)
    await asyncio.to_thread(pilothouse, "restore", str(file), *where)
    assert (place / FILE).read_text() == key
    assert (place / "before-restore-1" / "state.duckdb").exists()
    said = await asyncio.to_thread(pilothouse, "audit", "verify", *where)
    assert "The trail is whole." in said
    async with opened(config) as house:
        found = await house.call(OLIVIA, "audit_list", type="tenant_list")
        assert found.answer is not None
        assert found.answer["lines"]


async def test_who_copied_the_state_or_changed_its_key_is_on_record(
    kube: Kube, moto_url: str, tmp_path: Path
) -> None:
    """With a server and without one, which is no crash."""
    import asyncio

    from server.connection import owning
    from server.seat import Seat

    place = tmp_path / "state"
    config = settings(place, kube.kubeconfig, moto_url)
    where = ["--state", str(place), "--kubeconfig", kube.kubeconfig]
    seat = Seat.take(place)
    assert seat is not None
    async with owning(config, seat, None):
        await asyncio.to_thread(pilothouse, "backup", str(tmp_path / "1.tar"), *where)
        await asyncio.to_thread(pilothouse, "key", "rotate", *where)
    await asyncio.to_thread(pilothouse, "backup", str(tmp_path / "2.tar"), *where)
    await asyncio.to_thread(pilothouse, "key", "rotate", *where)
    async with opened(config) as house:
        query = sa.select(audit.c.tool, audit.c.subject, audit.c.state, audit.c.code)
        rows = await house.app.journal.run(lambda c: c.execute(query.order_by(audit.c.seq)).all())
        verified = await house.call(OLIVIA, "audit_verify")
    both = [("state_backup", user(), "succeeded", ""), ("key_rotate", user(), "succeeded", "")]
    ours = [tuple(row) for row in rows if row[0] != "audit_verify"]
    began = ("server_start", "pilothouse", "succeeded", "")
    over = ("server_stop", "pilothouse", "succeeded", "")
    assert ours == [began, *both, over, *both, began]
    assert verified.answer is not None
    assert verified.answer["faults"] == []


async def test_what_is_no_backup_leaves_the_state_as_it_is(tmp_path: Path) -> None:
    journal, _ = await state(tmp_path)
    await journal.close()
    before = (tmp_path / "state.duckdb").read_bytes()
    (tmp_path / "junk").write_bytes(b"junk" * 1000)
    with pytest.raises(ToolError, match="is no backup"):
        copies.restore(tmp_path / "junk", tmp_path)
    assert (tmp_path / "state.duckdb").read_bytes() == before


async def test_a_copy_is_kept_before_each_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server import migrations as module

    journal, records = await state(tmp_path)
    await records.add(call("c1"))
    await journal.close()
    now = len(module.MIGRATIONS)

    def spoil(connection: sa.Connection) -> None:
        connection.execute(sa.text("delete from calls"))

    monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, spoil))
    journal, records = await state(tmp_path)
    assert await records.find("c1") is None
    await journal.close()
    monkeypatch.undo()
    (tmp_path / f"state.duckdb.v{now}").replace(tmp_path / "state.duckdb")
    journal, records = await state(tmp_path)
    assert await records.find("c1") is not None
    await journal.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def again(place: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(("remount", *options)), str(place)], check=True)


# On the larger there is room for the log of what was written, but not for a checkpoint of it.
@pytest.mark.parametrize(("megabytes", "each"), [(3, 10_000), (24, 100_000)])
async def test_on_a_full_disk_writes_are_refused_and_reads_answered_and_nothing_is_lost(
    small: Path, megabytes: int, each: int
) -> None:
    again(small, f"size={megabytes}m")
    journal, records = await state(small)
    log = Audit(journal, lambda: NOON, small / anchors.FILE)
    await log.start()
    acknowledged = []
    for n in range(500):
        one = call(f"c{n}").model_copy(update={"result": {"log": os.urandom(each).hex()}})
        try:
            await records.add(one)
        except ToolError:
            break
        acknowledged.append(one.id)
    with pytest.raises(ToolError, match="the disk of the state is full") as refused:
        await records.add(one.model_copy(update={"id": "c-more"}))
    assert refused.value.code is Code.UNAVAILABLE
    assert 10 < len(acknowledged) < 500
    assert await records.find("c0") is not None
    log.note(caller=OLIVIA, tool="t", tenant="", policy="", duration_ms=1,
             outcome=call("x").outcome())  # fmt: skip
    again(small, "size=90m")
    await records.add(call("after"))
    await log.stop()
    assert (await verified(journal, small / anchors.FILE)).faults == []
    query = sa.select(audit.c.tool).order_by(audit.c.seq)
    told = await journal.run(lambda c: c.execute(query).scalars().all())
    assert told == ["server_start", "t", "server_stop"]
    await journal.close()
    journal, records = await state(small)
    assert [i for i in (*acknowledged, "after") if await records.find(i) is None] == []
    await journal.close()


async def test_a_read_only_disk_is_said_at_start(small: Path) -> None:
    journal, records = await state(small)
    await records.add(call("c1"))
    await journal.close()
    again(small, "ro")
    with pytest.raises(ToolError, match="cannot be written"):
        await state(small)
    again(small, "rw")
    journal, records = await state(small)
    assert await records.find("c1") is not None
    await journal.close()
