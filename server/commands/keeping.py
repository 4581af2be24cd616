"""Looking after the state: copied, put back, its key changed. It takes no token: who may read the
state directory has it all."""

import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server import anchors, copies
from server.audit import BACKUP, ROTATE, Audit
from server.commands.running import DONE
from server.commands.show import err
from server.identity import user
from server.journal import Journal
from server.remote import RemoteGate
from server.seat import SOCKET, Seat
from server.settings import Settings, load
from server.vault import Vault
from tools.errors import Code, ToolError


async def backup(file: Path, **where: Any) -> int:
    settings = load(**where)

    async def here(journal: Journal) -> dict[str, Any]:
        return {"file": str(await copies.backup(journal, settings.state, datetime.now(UTC)))}

    made = Path((await _owner(settings, "/local/backup", BACKUP, here))["file"])
    _move(made, file)
    err.print(f"{file} holds the state and its key: keep it where nobody else can read it.")
    return DONE


async def restore(file: Path, **where: Any) -> int:
    settings = load(**where)
    seat = Seat.take(settings.state)
    if seat is None:
        raise ToolError(
            Code.FAILED_PRECONDITION, "The state is in use.", "Stop Pilothouse, and try again."
        )
    try:
        before = copies.restore(file, settings.state)
        key = settings.key.get_secret_value()
        journal = await Journal.open(settings.database_url, Vault.open(settings.state, key))
        await journal.close()
    finally:
        seat.leave()
    err.print(f"{settings.state} is as {file} has it.")
    if before:
        err.print(f"What was there is in {before}.")
    return DONE


async def rotate(**where: Any) -> int:
    async def here(journal: Journal) -> dict[str, Any]:
        return {"values": await copies.rotate(journal)}

    done = await _owner(load(**where), "/local/rotate-key", ROTATE, here)
    err.print(f"{done['values']} values are encrypted with a new key. Make a new backup.")
    return DONE


async def _owner(
    settings: Settings, path: str, what: str, here: Callable[[Journal], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """Done by whoever owns the state, and on record there as `what`; by ourselves where nobody
    does."""
    if (seat := Seat.take(settings.state)) is None:
        remote = RemoteGate(settings.state / SOCKET)
        try:
            return await remote.post(path)
        finally:
            await remote.close()
    try:
        vault = Vault.open(settings.state, settings.key.get_secret_value())
        journal = await Journal.open(settings.database_url, vault)
        audit = Audit(journal, lambda: datetime.now(UTC), settings.state / anchors.FILE)
        try:
            async with audit.of_the_state(what, user()):
                return await here(journal)
        finally:
            await journal.close()
    finally:
        seat.leave()


def _move(made: Path, file: Path) -> None:
    try:
        shutil.move(made, file)
    except OSError as error:
        made.unlink(missing_ok=True)
        raise ToolError(
            Code.INVALID_ARGUMENT, f"{file} cannot be written: {error.strerror}.", "Name another."
        ) from None
