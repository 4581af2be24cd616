"""Sessions: what signing in gives. A short access token, and a refresh token that is good once.

A refresh token names its session and carries a secret. One that comes a second time was copied by
somebody, and nobody can tell by whom: the session ends, for both.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from server.identity.rows import Row, Rows
from server.identity.tokens import new_token, sha256
from server.journal import Journal, Time

ACCESS, REFRESH = "pa_", "pr_"

metadata = sa.MetaData()
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("access", sa.Text, nullable=False),
    sa.Column("access_until", Time, nullable=False),
    sa.Column("refresh", sa.Text, nullable=False),
    sa.Column("until", Time, nullable=False),
    sa.Column("created", Time, nullable=False),
)


@dataclass(frozen=True)
class Signed:
    """What somebody who signed in is handed, this once. Lifetimes are in seconds."""

    access: str
    access_s: float
    refresh: str = ""
    refresh_s: float = 0


class Sessions:
    """The sessions in the journal's database, and in memory."""

    def __init__(self, journal: Journal, clock: Callable[[], datetime]) -> None:
        self.rows = Rows(journal, sessions)
        self._clock = clock
        self._by_access: dict[str, str] = {}

    async def read(self) -> None:
        await self.rows.read()
        self._index()
        await self._forget()

    async def find(self, access_sha256: str) -> Row | None:
        """The session of an access token that holds."""
        if await self.rows.fresh():
            self._index()
        row = self.rows.all.get(self._by_access.get(access_sha256, ""))
        return row if row and self._clock() < row["access_until"] else None

    async def begin(
        self, user_id: str, access: timedelta, refresh: timedelta = timedelta()
    ) -> Signed:
        """A session, which can be gone on with for `refresh`."""
        id, now = secrets.token_hex(16), self._clock()
        token, hashed = new_token(ACCESS)
        secret = secrets.token_urlsafe(32)
        until = now + max(access, refresh)
        row = {
            "id": id,
            "user_id": user_id,
            "access": hashed,
            "access_until": now + access,
            "refresh": sha256(secret) if refresh else "",
            "until": until,
            "created": now,
        }
        await self._forget()
        await self.rows.add(row)
        self._by_access[hashed] = id
        if not refresh:
            return Signed(token, access.total_seconds())
        told = f"{REFRESH}{id}_{secret}"
        return Signed(token, access.total_seconds(), told, refresh.total_seconds())

    async def go_on(self, refresh: str, access: timedelta) -> tuple[Row, Signed] | None:
        """The session with new tokens; None where the refresh token is worth nothing (any more)."""
        id, _, secret = refresh.removeprefix(REFRESH).partition("_")
        row = self.rows.all.get(id)
        if row is None or not row["refresh"] or not refresh.startswith(REFRESH):
            return None
        now = self._clock()
        was, hashed = row["refresh"], sha256(secret)
        if now >= row["until"]:
            return None
        token, new_access = new_token(ACCESS)
        new_secret = secrets.token_urlsafe(32)
        holds = min(now + access, row["until"])
        rotated = hmac.compare_digest(was, hashed) and await self.rows.change(
            id,
            sessions.c.refresh == hashed,
            refresh=sha256(new_secret),
            access=new_access,
            access_until=holds,
        )
        if not rotated:
            await self.end(id)
            return None
        self._index()
        told = f"{REFRESH}{id}_{new_secret}"
        left = (row["until"] - now).total_seconds()
        return row, Signed(token, (holds - now).total_seconds(), told, left)

    async def of(self, token: str) -> Row | None:
        """The session of an access token, or of the refresh token that holds."""
        if not token.startswith(REFRESH):
            return await self.find(sha256(token))
        id, _, secret = token.removeprefix(REFRESH).partition("_")
        row = self.rows.all.get(id)
        return row if row and hmac.compare_digest(row["refresh"], sha256(secret)) else None

    async def end(self, *ids: str) -> None:
        await self.rows.drop(*ids)
        self._index()

    async def end_all(self, user_id: str, but: str = "") -> None:
        """Sign somebody out everywhere (but in one session)."""
        mine = [r["id"] for r in self.rows.all.values() if r["user_id"] == user_id]
        await self.end(*(id for id in mine if id != but))

    def _index(self) -> None:
        self._by_access = {row["access"]: id for id, row in self.rows.all.items()}

    async def _forget(self) -> None:
        now = self._clock()
        if over := [id for id, row in self.rows.all.items() if now >= row["until"]]:
            await self.end(*over)
