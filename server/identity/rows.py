"""A small table, whole in memory: everybody who calls is looked up in one of these."""

import asyncio
import time
from typing import Any, TypeAlias

import sqlalchemy as sa
import structlog

from server.journal import Journal
from tools.errors import ToolError

Row: TypeAlias = dict[str, Any]
log = structlog.get_logger(__name__)

# How late another server's revocation may be noticed, where there are several.
BELIEVED_S = 2.0
NOTED_S = 1.0


class Rows:
    """Rows by their `id`, the oldest first. What is changed is in the database before it counts."""

    def __init__(self, journal: Journal, table: sa.Table) -> None:
        self._journal = journal
        self._table = table
        # A DuckDB file has one owner; another database may be written by other servers.
        self._alone = journal.engine.dialect.name == "duckdb"
        self._read_at = 0.0
        self._noted: dict[str, Row] = {}
        self._writing: asyncio.Task[None] | None = None
        self.all: dict[str, Row] = {}

    async def read(self) -> None:
        query = sa.select(self._table).order_by(self._table.c.created)
        rows = await self._journal.run(lambda c: c.execute(query).mappings().all())
        self.all = {row["id"]: dict(row) | self._noted.get(row["id"], {}) for row in rows}
        self._read_at = time.monotonic()

    async def fresh(self) -> bool:
        """Look again where others may have written; False where that was not needed."""
        if self._alone or time.monotonic() - self._read_at <= BELIEVED_S:
            return False
        await self.read()
        return True

    async def add(self, row: Row) -> Row:
        insert = sa.insert(self._table).values(**row)
        await self._journal.run(lambda c: c.execute(insert) and None)
        self.all[row["id"]] = row
        return row

    async def put(self, row: Row) -> None:
        """Counts in this process at once; whatever had the id is replaced."""
        self.all[row["id"]] = row
        delete = sa.delete(self._table).where(self._table.c.id == row["id"])
        insert = sa.insert(self._table).values(**row)

        def write(connection: sa.Connection) -> None:
            connection.execute(delete)
            connection.execute(insert)

        await self._journal.run(write)

    async def change(self, id: str, *where: sa.ColumnElement[bool], **values: Any) -> bool:
        """False where the row is not (any more) as `where` says."""
        here = self._table.c.id
        statement = sa.update(self._table).where(here == id, *where).values(**values)
        changed = statement.returning(here)
        done = await self._journal.run(lambda c: bool(c.execute(changed).all()))
        if done and id in self.all:
            self.all[id].update(values)
        return done

    async def drop(self, *ids: str) -> None:
        statement = sa.delete(self._table).where(self._table.c.id.in_(ids))
        await self._journal.run(lambda c: c.execute(statement) and None)
        for id in ids:
            self.all.pop(id, None)

    def note(self, id: str, **values: Any) -> None:
        """A change that may come late, and be lost in a crash: nobody waits for it."""
        self.all[id].update(values)
        self._noted.setdefault(id, {}).update(values)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._soon())

    async def flush(self) -> None:
        noted, self._noted = self._noted, {}
        if not noted:
            return
        changes = [
            sa.update(self._table).where(self._table.c.id == id).values(**values)
            for id, values in noted.items()
        ]

        def write(connection: sa.Connection) -> None:
            for change in changes:
                connection.execute(change)

        await self._journal.run(write)

    async def close(self) -> None:
        if self._writing:
            self._writing.cancel()
        await self.flush()

    async def _soon(self) -> None:
        await asyncio.sleep(NOTED_S)
        try:
            await self.flush()
        except ToolError as error:
            log.error("the times of the last use were not written", why=str(error))
