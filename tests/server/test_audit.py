import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from server import anchors, chain, copies
from server.audit import Audit
from server.journal import Journal, audit, meta
from server.migrations import migrate
from server.trail import verified
from server.vault import Vault
from tools.calls import Caller, Outcome, Problem, State
from tools.errors import Code

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
AGENT = Caller.of("copilot", person="olivia", agent=True, door="mcp")


def times() -> Callable[[], datetime]:
    passing: Iterator[datetime] = (NOON + timedelta(seconds=n) for n in range(10_000))
    return lambda: next(passing)


def noted(log: Audit, *outcomes: Outcome) -> None:
    for outcome in outcomes:
        log.note(
            caller=AGENT, tool=outcome.tool, tenant="café\0", outcome=outcome, policy="p",
            duration_ms=1.5,
        )  # fmt: skip


def read(n: int) -> Outcome:
    return Outcome(state=State.SUCCEEDED, tool=f"read_{n}")


async def rows(journal: Journal) -> list[Any]:
    query = sa.select(audit).order_by(audit.c.seq)
    return list(await journal.run(lambda c: c.execute(query).mappings().all()))


async def test_every_call_is_on_record_as_it_was(database: str) -> None:
    journal = await Journal.open(database)
    log = Audit(journal, times())
    refused = Problem(code=Code.PERMISSION_DENIED, message="No.")
    noted(
        log,
        Outcome(state=State.SUCCEEDED, tool="tenant_list"),
        Outcome(state=State.DENIED, tool="tenant_list", error=refused),
        Outcome(state=State.RUNNING, tool="tenant_create", call_id="c1"),
    )
    await log.flush()
    await log.flush()
    found = await rows(journal)
    await journal.close()
    assert [row["seq"] for row in found] == [1, 2, 3]
    assert [row["time"] for row in found] == [NOON + timedelta(seconds=n) for n in range(3)]
    assert [row["state"] for row in found] == ["succeeded", "denied", "running"]
    assert [row["decision"] for row in found] == ["", "denied", ""]
    assert [row["code"] for row in found] == ["", "permission_denied", ""]
    assert [row["call_id"] for row in found] == ["", "", "c1"]
    assert {row["tenant"] for row in found} == {"caf\\xe9"}
    assert {(row["subject"], row["person"], row["door"], row["duration_ms"]) for row in found} == {
        ("copilot", "olivia", "mcp", 1.5)
    }


CHANGES = {
    "update audit set subject='eve' where seq=5": "record 5 was changed",
    "update audit set duration_ms=2 where seq=5": "record 5 was changed",
    "update audit set hash='00' where seq=5": "record 5 was changed",
    "delete from audit where seq=5": "record 5 is missing",
    "delete from audit where seq between 4 and 6": "records 4 to 6 are missing",
    "delete from audit where seq=1": "record 1 is missing",
    "delete from audit where seq > 10": "records 11 to 12 are missing at the end",
    "delete from audit": "records 1 to 12 are missing at the end",
    "update audit set seq = case seq when 4 then 5 when 5 then 4 else seq end": "record 4 was",
    "insert into audit select * from audit where seq=7": "there are two records 7",
}


@pytest.fixture
async def kept(tmp_path: Path) -> Any:
    """Twelve records, written in batches by two who take turns, and anchored."""
    journal = await Journal.open(f"duckdb:///{tmp_path / 'state.duckdb'}")
    clock, file = times(), tmp_path / anchors.FILE
    for turn in range(4):
        log = Audit(journal, clock, file)
        noted(log, *(read(turn * 3 + n) for n in range(3)))
        await log.flush()
        await log.anchor()
    yield journal, file
    await journal.close()


async def test_a_trail_that_nobody_touched_is_whole(kept: Any) -> None:
    state = await verified(*kept)
    assert (state.records, state.anchors, state.faults) == (12, 4, [])


@pytest.mark.parametrize(("statement", "said"), CHANGES.items())
async def test_what_was_done_to_the_trail_is_found(kept: Any, statement: str, said: str) -> None:
    journal, file = kept
    await journal.run(lambda c: c.execute(sa.text(statement)) and None)
    state = await verified(journal, file)
    assert any(fault.startswith(said) for fault in state.faults), state.faults


async def test_a_chain_made_anew_over_a_changed_record_is_not_what_was_anchored(kept: Any) -> None:
    journal, file = kept
    found = [dict(row) for row in await rows(journal)]
    found[4]["subject"] = "eve"

    def again(connection: sa.Connection) -> None:
        connection.execute(sa.delete(audit))
        connection.execute(sa.insert(audit), list(chain.linked(found, 0, "")))

    await journal.run(again)
    state = await verified(journal, file)
    assert state.faults
    assert all("is not the one that was anchored" in fault for fault in state.faults)


async def test_who_can_write_all_of_the_state_but_not_read_its_key_makes_no_anchor(
    kept: Any, tmp_path: Path
) -> None:
    journal, file = kept
    own = list(anchors.read(file))
    found = [dict(row) for row in await rows(journal)]
    found[4]["subject"] = "eve"
    forged = list(chain.linked(found, 0, ""))

    def again(connection: sa.Connection) -> None:
        connection.execute(sa.delete(audit))
        connection.execute(sa.insert(audit), forged)

    await journal.run(again)
    file.unlink()
    for record in forged[2::3]:
        anchors.add(file, record["seq"], record["hash"], NOON, Vault([bytes(32)]).mac)
    assert "anchor of record 3 was changed" in str((await verified(journal, file)).faults)
    # Nor with the signature of another.
    lines = [anchor._replace(hash=forged[anchor.seq - 1]["hash"])._asdict() for anchor in own]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "anchor of record 6 was changed" in str((await verified(journal, file)).faults)
    # Nor with none.
    lines = [line | {"mac": ""} for line in lines]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "there is no anchor" in str((await verified(journal, file)).faults)


async def test_anchors_hold_when_the_key_is_changed_and_over_a_restart(tmp_path: Path) -> None:
    url, file = f"duckdb:///{tmp_path / 'state.duckdb'}", tmp_path / anchors.FILE
    for _ in range(2):
        journal = await Journal.open(url, Vault.open(tmp_path))
        log = Audit(journal, times(), file)
        await log.start()
        await copies.rotate(journal)
        await log.stop()
        state = await verified(journal, file)
        await journal.close()
    assert (state.anchors, state.faults) == (4, [])


async def test_an_anchor_that_a_crash_cut_off_takes_no_other_along(kept: Any) -> None:
    journal, file = kept
    with file.open("a") as torn:
        torn.write('{"seq": 99, "ha')
    anchors.add(file, 12, (await rows(journal))[-1]["hash"], NOON, journal.vault.mac)
    assert [anchor.seq for anchor in anchors.read(file)] == [3, 6, 9, 12, 12]
    assert (await verified(journal, file)).faults == []


async def test_several_servers_on_one_database_make_one_chain(
    postgresql: Callable[[], str], tmp_path: Path
) -> None:
    import asyncio

    url = postgresql()
    journals = [await Journal.open(url) for _ in range(3)]
    logs = [Audit(journal, times()) for journal in journals]

    async def write(log: Audit) -> None:
        for n in range(20):
            noted(log, read(n))
            await log.flush()

    await asyncio.gather(*map(write, logs))
    state = await verified(journals[0], None)
    assert (state.records, state.faults) == (60, [])
    for journal in journals:
        await journal.close()


async def test_a_start_after_a_crash_says_what_may_be_missing(tmp_path: Path) -> None:
    journal = await Journal.open(f"duckdb:///{tmp_path / 'state.duckdb'}")
    clock = times()
    for crash in (False, True, False):
        log = Audit(journal, clock)
        await log.start()
        if not crash:
            await log.stop()
    found = [(row["tool"], row["code"]) for row in await rows(journal)]
    await journal.close()
    assert found == [
        ("server_start", ""), ("server_stop", ""), ("server_start", ""),
        ("server_start", "reads_may_be_missing"), ("server_stop", ""),
    ]  # fmt: skip


async def test_records_from_before_there_was_a_chain_are_chained(database: str) -> None:
    journal = await Journal.open(database)
    old = [c for c in audit.c if c.name not in ("seq", "hash", "digest", "decision", "tenant_uid")]
    before = sa.Table("audit", sa.MetaData(), *(sa.Column(c.name, c.type) for c in old))
    blank = dict.fromkeys((c.name for c in old), "x") | {"duration_ms": 1.25}

    def back(connection: sa.Connection) -> None:
        audit.drop(connection)
        before.create(connection)
        lines = [blank | {"time": NOON + timedelta(seconds=n)} for n in range(3)]
        connection.execute(sa.insert(before), lines)
        connection.execute(sa.update(meta).where(meta.c.key == "version").values(value=1))
        migrate(connection)

    await journal.run(back)
    state = await verified(journal, None)
    assert (state.records, state.faults) == (3, [])
    await journal.close()
