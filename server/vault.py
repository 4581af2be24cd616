"""Plans and what came of them, encrypted at rest: AES-256-GCM, a value bound to its place, so that
who can write the database can neither read one nor put another's there.

The key is in the state directory (`pilothouse.key`, for this user alone), or in the setting `key`
where several servers share a database. Of several keys the first encrypts, and all decrypt.
"""

import base64
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import sqlalchemy as sa

from chatops.memory import talks
from server.journal import calls, job_results, meta, steps
from tools.errors import Code, ToolError

FILE = "pilothouse.key"
CHECK = "key_check"
UNSIGNED = "pilothouse"  # what was sealed there at first
BATCH = 200
Row: TypeAlias = Mapping[str, Any] | sa.RowMapping
VERSION = "1"


class Sealed(NamedTuple):
    """The columns of a table that are encrypted, and those that say which row it is."""

    table: sa.Table
    names: tuple[str, ...]
    columns: tuple[str, ...]


TABLES = (
    Sealed(calls, ("id",), ("arguments", "plan", "previews", "result", "error")),
    Sealed(steps, ("call_id", "change_id", "did"), ("seen",)),
    Sealed(job_results, ("tenant", "tenant_uid", "job"), ("result",)),
    Sealed(talks, ("id", "subject", "person", "thread"), ("said",)),
)
PLACES = {sealed.table.name: sealed for sealed in TABLES}


class Vault:
    """Encrypts and decrypts. Without a file its keys are what they were made with."""

    def __init__(self, keys: Sequence[bytes] = (), file: Path | None = None) -> None:
        self._file = file
        self._secret = secrets.token_hex(32)
        self._take(keys)

    @classmethod
    def open(cls, state: Path, given: str = "") -> Self:
        """The keys that are given, else those in the file. Raises `ToolError`."""
        if given:
            return cls([_key(word) for word in given.split(",")])
        file = state / FILE
        try:
            lines = file.read_text().split() if file.exists() else []
        except OSError as error:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"The key of the state, {file}, cannot be read: {error.strerror}.",
                "Make it readable for this user.",
            ) from None
        return cls([_key(line) for line in lines], file)

    @property
    def keys(self) -> int:
        return len(self._ciphers)

    def sealed(self, table: sa.Table, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row as it is stored."""
        place = PLACES[table.name]
        found = dict(row)
        for column in place.columns:
            if found.get(column) is not None:
                found[column] = self.seal(found[column], _where(place, column, row))
        return found

    def opened(self, table: sa.Table, row: Row) -> dict[str, Any]:
        """The row as it was before it was sealed. Raises `ToolError`."""
        place = PLACES[table.name]
        found = dict(row)
        for column in place.columns:
            if found.get(column) is not None:
                found[column] = self.open_value(found[column], _where(place, column, row))
        return found

    def seal(self, value: Any, where: str) -> str:
        nonce = os.urandom(12)
        text = json.dumps(value, separators=(",", ":"), default=str).encode()
        box = nonce + self._ciphers[self._current].encrypt(nonce, text, where.encode())
        return f"{VERSION}.{self._current}.{base64.b64encode(box).decode()}"

    def open_value(self, text: str, where: str) -> Any:
        from cryptography.exceptions import InvalidTag

        version, _, rest = text.partition(".")
        name, _, body = rest.partition(".")
        if version == VERSION and name in self._ciphers:
            box = base64.b64decode(body)
            try:
                return json.loads(self._ciphers[name].decrypt(box[:12], box[12:], where.encode()))
            except InvalidTag:
                pass
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"What is recorded at {where} cannot be decrypted: it was changed, or its key is gone.",
            "Restore the state from a copy, with the key that belongs to it.",
        )

    def mac(self, text: str) -> str:
        """A signature (HMAC-SHA256, hex) by a secret of the state's, which lies sealed in it and
        stays the same when the key is changed."""
        return hmac.new(self._secret.encode(), text.encode(), "sha256").hexdigest()

    def check(self, connection: sa.Connection) -> None:
        """Do the keys belong to this database? A new one gets a key. Raises `ToolError`."""
        known = connection.execute(sa.select(meta.c.value).where(meta.c.key == CHECK)).scalar()
        if known is None:
            if not self._ciphers:
                self._take([os.urandom(32)])
                self._write()
            while self._seal_next(connection, plain=True):
                pass
            self._note(connection)
            return
        if not self._ciphers:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "The state is encrypted, and its key is missing.",
                f"Put {self._file or FILE} back, or set PILOTHOUSE_KEY to what it holds.",
            )
        try:
            secret = self.open_value(known, CHECK)
        except ToolError:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "The state is encrypted with another key than the one that is here.",
                "Give the key that belongs to it: the file pilothouse.key, or PILOTHOUSE_KEY.",
            ) from None
        if secret == UNSIGNED:
            self._note(connection)
        else:
            self._secret = secret

    def renew(self) -> None:
        """Take a new key, unless an earlier change of keys is not through. Raises `ToolError`."""
        if len(self._ciphers) > 1:
            return
        if self._file is None:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "The key comes from the settings, so it is changed there.",
                "Start with PILOTHOUSE_KEY=NEW,OLD, rotate, and take the old one out.",
            )
        self._take([os.urandom(32), *self._raw])
        self._write()

    def reseal(self, connection: sa.Connection) -> int:
        """Encrypt some more with the current key, and say how many values; none are left at 0."""
        done = self._seal_next(connection)
        if not done:
            self._note(connection)
        return done

    def forget_old(self) -> None:
        """Drop the keys that nothing is encrypted with any more."""
        if self._file is not None:
            self._take(self._raw[:1])
            self._write()

    def _seal_next(self, connection: sa.Connection, *, plain: bool = False) -> int:
        current = f"{VERSION}.{self._current}."
        there = sa.inspect(connection)
        for place in TABLES:
            if not there.has_table(place.table.name):
                continue  # whoever owns it makes it later
            for name in place.columns:
                column = place.table.c[name]
                names = [place.table.c[n] for n in place.names]
                query = sa.select(*names, column).where(
                    column.is_not(None), ~column.startswith(current, autoescape=True)
                )
                if rows := connection.execute(query.limit(BATCH)).mappings().all():
                    for row in rows:
                        where = _where(place, name, row)
                        was = json.loads(row[name]) if plain else self.open_value(row[name], where)
                        same = [n == row[n.name] for n in names]
                        # Another server may just have written it anew.
                        change = sa.update(place.table).where(*same, column == row[name])
                        connection.execute(change.values({name: self.seal(was, where)}))
                    return len(rows)
        return 0

    def _note(self, connection: sa.Connection) -> None:
        connection.execute(sa.delete(meta).where(meta.c.key == CHECK))
        sealed = self.seal(self._secret, CHECK)
        connection.execute(sa.insert(meta).values(key=CHECK, value=sealed))

    def _take(self, keys: Iterable[bytes]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._raw = list(keys)
        self._ciphers = {sha256(key).hexdigest()[:8]: AESGCM(key) for key in self._raw}
        self._current = next(iter(self._ciphers), "")

    def _write(self) -> None:
        """Durable before anything is encrypted with it."""
        if self._file is None:
            return
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        new.unlink(missing_ok=True)
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            lines = "".join(base64.b64encode(key).decode() + "\n" for key in self._raw)
            os.write(file, lines.encode())
            os.fsync(file)
        finally:
            os.close(file)
        new.replace(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _where(place: Sealed, column: str, row: Row) -> str:
    return "/".join((place.table.name, column, *(str(row[name]) for name in place.names)))


def _key(word: str) -> bytes:
    try:
        key = base64.b64decode(word.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            "The key of the state is no key: 32 bytes in base64 are wanted.",
            "`openssl rand -base64 32` makes one.",
        )
    return key
