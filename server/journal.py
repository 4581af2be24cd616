"""The journal: every call, what it was allowed to do, and how far each of its changes has come.

One database, reached through SQLAlchemy Core so that DuckDB and PostgreSQL share the schema. All
of its work runs in one thread of its own. What is waiting there when the thread gets to it goes
into one transaction (a commit costs milliseconds, a statement does not), so changes that are
acknowledged side by side are made durable together.
"""

import asyncio
import json
import os
import queue
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError, OperationalError

from tools.errors import Code, ToolError

if TYPE_CHECKING:
    from server.vault import Vault

T = TypeVar("T")
log = structlog.get_logger(__name__)

LONG_LOG = 16 << 20
FOLD_AGAIN_S = 60.0

metadata = sa.MetaData()
sa.dialects.registry.register("duckdb", "server.dialect", "Dialect")


class Json(sa.types.TypeDecorator[Any]):
    """A JSON value as text: the same bytes on every database."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"), default=str)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else json.loads(value)


class Time(sa.types.TypeDecorator[datetime]):
    """A moment in UTC. Stored without a zone: DuckDB hands zones back as the machine's own."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", Json, nullable=False),
)

# What is text here and was more is encrypted: see `server/vault.py`.
calls = sa.Table(
    "calls",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created", Time, nullable=False),
    sa.Column("updated", Time, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("tool", sa.Text, nullable=False),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("caller", Json, nullable=False),
    sa.Column("requester", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("tenant_uid", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("plan", sa.Text),
    sa.Column("previews", sa.Text),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("expires", Time),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("undoes", sa.Text, nullable=False),
    sa.Column("undone_by", sa.Text, nullable=False),
    sa.Column("result", sa.Text),
    sa.Column("error", sa.Text),
)

# Apart from `calls` because DuckDB rewrites an indexed row on every update of it.
keys = sa.Table(
    "keys",
    metadata,
    sa.Column("requester", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("created", Time, nullable=False),
)

# What has become of each change: see `server/executor/ledger.py`.
steps = sa.Table(
    "steps",
    metadata,
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("change_id", sa.Text, nullable=False),
    sa.Column("did", sa.Text, nullable=False),
    sa.Column("seen", sa.Text),
    sa.Column("time", Time, nullable=False),
)

# Each record's hash covers the one before it: see `server/chain.py`.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("time", Time, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("door", sa.Text, nullable=False),
    sa.Column("tool", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("tenant_uid", sa.Text, nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("duration_ms", sa.Double, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

job_results = sa.Table(
    "job_results",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("tenant_uid", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("saved", Time, nullable=False),
    sa.Column("result", sa.Text, nullable=False),
)


class Journal:
    """The database and the one thread that works on it."""

    def __init__(self, engine: sa.Engine, vault: "Vault") -> None:
        self.engine = engine
        self.vault = vault
        file = engine.url.database if engine.dialect.name == "duckdb" else None
        self._log = Path(f"{file}.wal") if file else None
        self._fold_again = 0.0
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._drain, name="journal", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, url: str, vault: "Vault | None" = None) -> Self:
        """Open (and bring up to date) the database at an SQLAlchemy URL.

        `vault` encrypts what is in it; without one, with a key that is nowhere kept. Raises
        `ToolError` when the key is not its own, another process holds it, it cannot be written, or
        a newer version of Pilothouse wrote it.
        """
        from server.migrations import migrate
        from server.vault import Vault

        try:
            # One connection for the one thread: DuckDB's locks are the process's, not ours. What is
            # begun on it is ended by us, so that nothing is left to be rolled back.
            engine = sa.create_engine(
                url, poolclass=sa.pool.StaticPool, pool_reset_on_return=None, **_unhurried(url)
            )
            journal = cls(engine, vault or Vault([os.urandom(32)]))
        except sa.exc.ArgumentError as error:  # or no such kind of database
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"The setting `database` is no URL of a database: {error}.",
                "Such as postgresql://user@host/name; or leave it out.",
            ) from error
        except ImportError as error:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"No database driver for {url.partition(':')[0]}: {error}",
                "Install it beside Pilothouse, or leave the setting `database` out.",
            ) from error
        try:
            await journal.run(migrate)
            if vault:
                await journal.run(vault.check)
        except ToolError:
            await journal.close()
            raise
        except DBAPIError as error:
            await journal.close()
            raise _cannot_open(url, error) from error
        return journal

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in a transaction, in the journal's thread.

        It may be run twice, the first time undone (when something that shared its transaction
        failed), so it must touch nothing but the connection.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._work.put(_Work(work, loop, future))
        return await future

    async def close(self) -> None:
        self._work.put(None)
        await asyncio.to_thread(self._thread.join, 10)
        self.engine.dispose()

    def _drain(self) -> None:
        while (first := self._work.get()) is not None:
            batch, last = [first], False
            with suppress(queue.Empty):
                while len(batch) < 256:
                    item = self._work.get_nowait()
                    if item is None:
                        last = True
                        break
                    batch.append(item)
            if not self._together(batch):
                for item in batch:
                    if not self._together([item]):
                        item.fail()
            self._fold_log()
            if last:
                return

    def _fold_log(self) -> None:
        """Write what is in DuckDB's log into its file, once it is long. DuckDB would do so by
        itself, but where there is no room for it, it gives up the whole database: nothing could be
        read any more, not even after a restart."""
        if self._log is None or monotonic() < self._fold_again or not self._log.exists():
            return
        try:
            length = self._log.stat().st_size
            if length > LONG_LOG and shutil.disk_usage(self._log.parent).free > 3 * length:
                with self.engine.connect() as connection:
                    connection.connection.cursor().execute("checkpoint")
        except Exception as error:  # the driver's own, which are no others' kind
            log.error("the journal's log cannot be folded", why=str(error)[:300])
            self.engine.dispose()
            self._fold_again = monotonic() + FOLD_AGAIN_S

    def _together(self, batch: "list[_Work]") -> bool:
        try:
            with self.engine.begin() as connection:
                results = [item.work(connection) for item in batch]
        except Exception as error:
            batch[0].error = error
            if "has been invalidated" in str(error):
                self.engine.dispose()  # and the next one opens it anew
            return False
        for item, result in zip(batch, results, strict=True):
            item.succeed(result)
        return True


def insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, of many a column at a time: a third of the work of a row at a time."""
    if len(rows) == 1:
        connection.execute(sa.insert(table), dict(rows[0]))
        return
    given = {f"all_{c.name}": [row[c.name] for row in rows] for c in table.c}
    connection.execute(_insert(table), given)


@cache
def _insert(table: sa.Table) -> sa.Insert:
    columns = (
        sa.func.unnest(sa.cast(sa.bindparam(f"all_{c.name}", type_=kind), kind))
        for c in table.c
        if (kind := sa.ARRAY(c.type))
    )
    return sa.insert(table).from_select(list(table.c), sa.select(*columns))


class _Work:
    def __init__(
        self,
        work: Callable[[sa.Connection], Any],
        loop: asyncio.AbstractEventLoop,
        future: "asyncio.Future[Any]",
    ) -> None:
        self.work = work
        self.error: Exception | None = None
        self._loop = loop
        self._future = future

    def succeed(self, result: Any) -> None:
        self._settle(lambda: self._future.set_result(result))

    def fail(self) -> None:
        error = self.error or RuntimeError("the journal's work failed")
        if isinstance(error, OperationalError) and "Conflict on" in str(error):
            error = ToolError(
                Code.FAILED_PRECONDITION, "Somebody else was quicker.", "Read the call again."
            )
        elif isinstance(error, DBAPIError | OSError) and (why := _cannot_write(str(error))):
            error = ToolError(
                Code.UNAVAILABLE,
                f"Nothing can be recorded: {why}. So nothing is changed; reads are answered.",
                "Make room where the state directory is, or make it writable; then ask again.",
            )
        self._settle(lambda: self._future.set_exception(error))

    def _settle(self, set_it: Callable[[], None]) -> None:
        def unless_gone() -> None:
            if not self._future.done():
                set_it()

        with suppress(RuntimeError):  # the loop was closed under a caller that has gone
            self._loop.call_soon_threadsafe(unless_gone)


def _unhurried(url: str) -> dict[str, Any]:
    """What DuckDB is to be told: its log is ours to fold."""
    config = {"config": {"checkpoint_threshold": "1TB"}}
    return {"connect_args": config} if sa.make_url(url).get_backend_name() == "duckdb" else {}


def _cannot_write(said: str) -> str:
    low = said.lower()
    if "no space left" in low or "disk quota" in low or "disk full" in low or "too large" in low:
        return "the disk of the state is full"
    if "read-only" in low or "could not write" in low or "cannot write" in low:
        return "the state cannot be written"
    return ""


def _cannot_open(url: str, error: Exception) -> ToolError:
    text = str(error)
    where = url.partition(":///")[2] or sa.make_url(url).render_as_string(hide_password=True)
    if "lock" in text:
        return ToolError(
            Code.FAILED_PRECONDITION,
            f"Another process holds the state in {where}.",
            "Use the running one (its socket is in the state directory), or stop it first.",
        )
    if "ermission" in text or "read-only" in text.lower() or "Cannot open file" in text:
        return ToolError(
            Code.FAILED_PRECONDITION,
            f"The state in {where} cannot be written.",
            "Make it writable for this user, or name another --state directory.",
        )
    return ToolError(
        Code.FAILED_PRECONDITION,
        f"The state in {where} cannot be opened: {text.splitlines()[0]}",
        "Restore it from a copy, or name another --state directory.",
    )
