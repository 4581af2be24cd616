"""The state's tables, version by version.

Each migration is spelled out as it was on its day and never edited once it is released: a table is
changed by adding another. What is declared beside the code that uses it (`sa.Table`) is what all of
them together come to; a test holds the two to each other.
"""

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path

import sqlalchemy as sa

from server import chain
from server.journal import audit, meta
from tools.errors import Code, ToolError

Migration = Callable[[sa.Connection], None]


def _sql(text: str) -> Migration:
    def migrate(connection: sa.Connection) -> None:
        for statement in filter(str.strip, text.split(";")):
            connection.execute(sa.text(statement))

    return migrate


_first = _sql("""
create table meta (key text primary key, value text not null);
create table calls (
    id text primary key, created timestamp not null, updated timestamp not null,
    state text not null, tool text not null, arguments text not null, caller text not null,
    requester text not null, person text not null, tenant text not null,
    tenant_uid text not null, digest text not null, plan text, previews text, why text not null,
    policy text not null, expires timestamp, decision text not null, decided_by text not null,
    reason text not null, undoes text not null, undone_by text not null, result text, error text);
create table keys (
    requester text not null, key text not null, call_id text not null, request text not null,
    created timestamp not null, primary key (requester, key));
create table steps (
    call_id text not null, change_id text not null, did text not null, seen text,
    time timestamp not null);
create table audit (
    time timestamp not null, subject text not null, person text not null, door text not null,
    tool text not null, tenant text not null, call_id text not null, policy text not null,
    state text not null, code text not null, duration_ms double precision not null);
create table job_results (
    tenant text not null, tenant_uid text not null, job text not null, saved timestamp not null,
    result text not null, primary key (tenant, tenant_uid, job))
""")

_chained_audit = _sql("""
drop table audit;
create table audit (
    seq bigint not null, time timestamp not null, subject text not null, person text not null,
    door text not null, tool text not null, tenant text not null, tenant_uid text not null,
    call_id text not null, digest text not null, decision text not null, policy text not null,
    state text not null, code text not null, duration_ms double precision not null,
    hash text not null)
""")


def _chained(connection: sa.Connection) -> None:
    """Records made before there was a chain are chained as they are."""
    old = connection.execute(sa.text("select * from audit order by time")).mappings().all()
    _chained_audit(connection)
    if connection.dialect.name == "postgresql":
        # DuckDB finds its way by the order of the rows; there an index costs every read's record.
        connection.execute(sa.text("create unique index audit_seq on audit (seq)"))
    blank = {"tenant_uid": "", "digest": "", "decision": ""}
    moved = [{**blank, **row, "time": row["time"].replace(tzinfo=UTC)} for row in old]
    plain = [{name: row[name] for name in chain.COLUMNS[1:]} for row in moved]
    for record in chain.linked(plain, 0, ""):
        connection.execute(sa.insert(audit).values(**record))


# Until here each room made its tables by itself, when it was first entered.
_rooms = _sql("""
create table if not exists tokens (
    id text primary key, sha256 text not null, subject text not null, person text not null,
    agent boolean not null, operator boolean not null, grants text not null,
    created timestamp not null, created_by text not null, expires timestamp, last_used timestamp,
    revoked timestamp);
create table if not exists users (
    id text primary key, subject text not null, person text not null, issuer text not null,
    email text not null, name text not null, agent boolean not null, operator boolean not null,
    grants text not null, password text not null, invitation text not null,
    invited_until timestamp, created timestamp not null, created_by text not null,
    last_used timestamp, disabled timestamp, deleted timestamp);
create table if not exists workspaces (
    id text primary key, name text not null, description text not null, tenants text not null,
    members text not null, created timestamp not null, created_by text not null);
create table if not exists sessions (
    id text primary key, user_id text not null, access text not null,
    access_until timestamp not null, refresh text not null, until timestamp not null,
    created timestamp not null);
create table if not exists signed_out (
    id text primary key, until timestamp not null, created timestamp not null);
create table if not exists sign_in_tries (
    id text primary key, failures integer not null, until timestamp not null,
    created timestamp not null);
create table if not exists suggestions (
    id text primary key, place text not null, strategy text not null, cluster text not null,
    namespace text not null, kind text not null, name text not null, container text not null,
    title text not null, reason text not null, tool text not null, arguments text not null,
    evidence text not null, bound text not null, confidence double precision,
    monthly double precision not null, risk text not null, notes text not null,
    state text not null, created double precision not null, updated double precision not null,
    expires double precision not null, hidden_until double precision not null,
    run_id text not null, replaces text not null, replaced_by text not null,
    decided_by text not null, decided double precision, said text not null,
    call_id text not null, applied double precision, watch_until double precision, baseline text,
    figures text, why text not null, held boolean, undo_call text not null);
alter table suggestions add column if not exists deadline double precision;
create table if not exists suggestion_runs (
    id text primary key, state text not null, started_by text not null,
    started double precision not null, ended double precision, scope text not null,
    seen text not null, warnings text not null, recorded text not null, error text not null,
    hint text not null);
create table if not exists suggestion_turns (id integer primary key, taken bigint not null);
insert into suggestion_turns
    select 1, 0 where not exists (select 1 from suggestion_turns);
create table if not exists chat_people (
    "user" text primary key, subject text not null, linked double precision not null);
create table if not exists chat_codes (
    sha256 text primary key, "user" text not null, called text not null,
    expires double precision not null);
create table if not exists chat_bindings (
    channel text primary key, tenant text not null, tenant_uid text not null,
    setting text not null);
create table if not exists chat_cards (
    call_id text not null, channel text not null, ts text not null,
    posted double precision not null, shown text not null);
create table if not exists chat_alerts (
    id text primary key, tenant text not null, tenant_uid text not null, status text not null,
    updated double precision not null, incident text not null);
alter table chat_people alter column linked type double precision;
alter table chat_codes alter column expires type double precision;
alter table chat_cards alter column posted type double precision;
alter table chat_alerts alter column updated type double precision
""")

_talks = _sql("""
create table if not exists chat_talks (
    id text not null, subject text not null, person text not null, thread text not null,
    used double precision not null, said text not null);
alter table chat_talks alter column used type double precision
""")

# Numbered by their place; each is applied once.
MIGRATIONS: Sequence[Migration] = (_first, _chained, _rooms, _talks)


def migrate(connection: sa.Connection) -> None:
    """Apply what is missing; a database from a newer version is refused, untouched."""
    known = sa.inspect(connection).has_table("meta")
    version = 0
    if known:
        query = sa.select(meta.c.value).where(meta.c.key == "version")
        version = connection.execute(query).scalar() or 0
    if version > len(MIGRATIONS):
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"The state was written by a newer Pilothouse (version {version}; this one knows "
            f"{len(MIGRATIONS)}).",
            "Upgrade Pilothouse, or name another --state directory.",
        )
    if 0 < version < len(MIGRATIONS):
        _keep_copy(connection, version)
    for migration in MIGRATIONS[version:]:
        migration(connection)
    if version < len(MIGRATIONS):
        connection.execute(sa.delete(meta).where(meta.c.key == "version"))
        connection.execute(sa.insert(meta).values(key="version", value=len(MIGRATIONS)))


def _keep_copy(connection: sa.Connection, version: int) -> None:
    """The file as it was, beside it: what a migration spoilt can be had again. Another database is
    copied by who runs it."""
    file = connection.engine.url.database
    if connection.dialect.name == "duckdb" and file and Path(file).exists():
        for end in ("", ".wal"):
            if Path(file + end).exists():
                shutil.copy2(file + end, f"{file}.v{version}{end}")
