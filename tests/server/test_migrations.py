"""The state's tables: those that the code declares, however old the state is that they come from."""

import importlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from server.journal import Journal, meta
from server.migrations import MIGRATIONS, migrate
from tools.errors import Code, ToolError

ROOT = Path(__file__).parents[2]
COLUMNS = "select table_name, column_name, data_type, is_nullable from information_schema.columns"
KEYS = (
    "select table_name, k.column_name from information_schema.table_constraints t "
    "join information_schema.key_column_usage k using (constraint_name, table_name) "
    "where constraint_type = 'PRIMARY KEY'"
)
OURS = " table_schema in ('main', 'public')"
# What an earlier version kept, beside the tables of the journal.
LINKED = datetime(2026, 11, 20, 12, 0, 42, tzinfo=UTC).timestamp()
BEFORE = (
    'create table if not exists chat_people ("user" text primary key, subject text not null, '
    "linked float)",
    f"insert into chat_people values ('U1', 'olivia', {LINKED})",
    "alter table chat_people alter column linked set not null",
)


def declared() -> list[sa.MetaData]:
    """What each file that declares a table declares."""
    found = []
    for folder in ("server", "chatops", "tools", "recommender"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if re.search(r"= sa\.Table\(", file.read_text()):
                name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
                module = importlib.import_module(name)
                found += [v for v in vars(module).values() if isinstance(v, sa.MetaData)]
    assert len(found) > 5
    return found


def schema(connection: sa.Connection) -> tuple[set[Any], set[Any]]:
    columns = connection.execute(sa.text(f"{COLUMNS} where{OURS}")).all()
    keys = connection.execute(sa.text(f"{KEYS} and t.{OURS.strip()}")).all()
    return {tuple(row) for row in columns}, {tuple(row) for row in keys}


def emptied(connection: sa.Connection) -> None:
    for name in {row[0] for row in schema(connection)[0]}:
        connection.execute(sa.text(f"drop table {name}"))


async def test_migrations_make_the_tables_that_the_code_declares(database: str) -> None:
    journal = await Journal.open(database)
    made = await journal.run(schema)

    def create(connection: sa.Connection) -> None:
        emptied(connection)
        for metadata in declared():
            metadata.create_all(connection)

    await journal.run(create)
    assert await journal.run(schema) == made
    await journal.close()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
async def test_a_state_of_each_earlier_version_becomes_one_of_now(
    database: str, version: int
) -> None:
    journal = await Journal.open(database)
    now = await journal.run(schema)

    def back(connection: sa.Connection) -> None:
        emptied(connection)
        for migration in MIGRATIONS[:version]:
            migration(connection)
        connection.execute(sa.insert(meta).values(key="version", value=version))
        for statement in BEFORE:
            connection.execute(sa.text(statement))

    await journal.run(back)
    await journal.run(migrate)
    assert await journal.run(schema) == now
    known = sa.text("select subject from chat_people")
    assert await journal.run(lambda c: c.execute(known).scalars().all()) == ["olivia"]
    await journal.close()


async def test_a_migration_that_breaks_off_leaves_the_state_as_it_was(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server import migrations

    journal = await Journal.open(database)
    before = await journal.run(schema)
    await journal.close()

    def half(connection: sa.Connection) -> None:
        connection.execute(sa.text("drop table chat_people"))
        raise ToolError(Code.INTERNAL, "It broke off.", "")

    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, half))
    with pytest.raises(ToolError):
        await Journal.open(database)
    monkeypatch.undo()
    journal = await Journal.open(database)
    assert await journal.run(schema) == before
    await journal.close()
