"""Copies of the state: for keeping elsewhere, while it is in use, and before it is brought up to
date. The database is copied between two transactions, in the journal's own thread, so that a copy
holds all that was acknowledged and nothing that is half done."""

import os
import shutil
import tarfile
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from server import anchors, vault
from server.journal import Journal
from tools.errors import Code, ToolError

DATABASE = "state.duckdb"
LOG = DATABASE + ".wal"
PARTS = (DATABASE, LOG, vault.FILE, anchors.FILE)


async def backup(journal: Journal, state: Path, now: datetime) -> Path:
    """A file in the state directory with all of it, its key too, for this user alone. What can be
    made anew (the history of metrics) is not in it. Raises `ToolError`."""
    _must_be_file(journal)
    target = state / f"backup-{now:%Y%m%d-%H%M%S-%f}.tar"

    def copy(connection: sa.Connection) -> None:
        target.unlink(missing_ok=True)
        file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                for name in PARTS:
                    if (state / name).exists():
                        tar.add(state / name, name, recursive=False)
            stream.flush()
            os.fsync(stream.fileno())

    try:
        await journal.run(copy)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"The state cannot be copied: {error.strerror}.",
            "Make room where the state directory is.",
        ) from None
    return target


def restore(file: Path, state: Path) -> Path | None:
    """Put a backup in the place of the state, which nobody may be using. Where the state that was
    there is kept now, if there was one. Raises `ToolError`."""
    try:
        with tarfile.open(file) as tar:
            members = {m.name: m for m in tar.getmembers() if m.name in PARTS and m.isfile()}
            if DATABASE not in members:
                raise _no_backup(file)
            new = state / "restoring"
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(mode=0o700, parents=True)
            for name, member in members.items():
                source = tar.extractfile(member)
                assert source is not None
                target = os.open(new / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with source, os.fdopen(target, "wb") as written:
                    shutil.copyfileobj(source, written)
                    os.fsync(written.fileno())
    except (OSError, tarfile.TarError) as error:
        raise _no_backup(file) from error
    before = _set_aside(state)
    for name in PARTS:
        if (new / name).exists():
            (new / name).replace(state / name)
    new.rmdir()
    return before


async def rotate(journal: Journal) -> int:
    """Encrypt everything with a new key, some at a time; how many values that were. What a stop
    cuts off, the next time goes on with. Raises `ToolError`."""
    journal.vault.renew()
    done = 0
    while some := await journal.run(journal.vault.reseal):
        done += some
    journal.vault.forget_old()
    return done


def _set_aside(state: Path) -> Path | None:
    there = [name for name in PARTS if (state / name).exists()]
    if not there:
        return None
    number = 1
    while (before := state / f"before-restore-{number}").exists():
        number += 1
    before.mkdir(mode=0o700)
    for name in there:
        (state / name).replace(before / name)
    return before


def _must_be_file(journal: Journal) -> None:
    if journal.engine.dialect.name != "duckdb":
        raise ToolError(
            Code.FAILED_PRECONDITION,
            "The state is in a database server.",
            "Copy it with that server's own tools (pg_dump), and keep PILOTHOUSE_KEY with it.",
        )


def _no_backup(file: Path) -> ToolError:
    return ToolError(
        Code.INVALID_ARGUMENT,
        f"{file} is no backup of Pilothouse.",
        "`pilothouse backup FILE` makes one.",
    )
