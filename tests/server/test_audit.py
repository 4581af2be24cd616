from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from server.audit import Audit
from server.journal import Journal, audit
from tools.calls import Caller, Outcome, Problem, State
from tools.errors import Code

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def test_every_call_is_on_record_as_it_was(database: str) -> None:
    journal = await Journal.open(database)
    times = (NOON + timedelta(seconds=n) for n in range(100))
    log = Audit(journal, lambda: next(times))
    agent = Caller.of("copilot", person="olivia", agent=True, door="mcp")
    refused = Problem(code=Code.PERMISSION_DENIED, message="No.")
    for outcome in (
        Outcome(state=State.SUCCEEDED, tool="tenant_list"),
        Outcome(state=State.DENIED, tool="tenant_list", error=refused),
        Outcome(state=State.RUNNING, tool="tenant_create", call_id="c1"),
    ):
        log.note(
            caller=agent, tool=outcome.tool, tenant="café\0", outcome=outcome, policy="p",
            duration_ms=1.5,
        )  # fmt: skip
    await log.flush()
    await log.flush()
    query = sa.select(audit).order_by(audit.c.time)
    rows: list[Any] = list(await journal.run(lambda c: c.execute(query).mappings().all()))
    await journal.close()
    assert [row["time"] for row in rows] == [NOON + timedelta(seconds=n) for n in range(3)]
    assert [row["state"] for row in rows] == ["succeeded", "denied", "running"]
    assert [row["code"] for row in rows] == ["", "permission_denied", ""]
    assert [row["call_id"] for row in rows] == ["", "", "c1"]
    assert {row["tenant"] for row in rows} == {"caf\\xe9"}
    assert {(row["subject"], row["person"], row["door"], row["duration_ms"]) for row in rows} == {
        ("copilot", "olivia", "mcp", 1.5)
    }
