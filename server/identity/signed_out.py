"""Sessions of the page that somebody ended before their time: a copy of their cookie is worthless.

Such a session is known by nothing but its cookie, so it is those that are over that are kept, for
as long as they would have lasted.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import sqlalchemy as sa

from server.identity.rows import Rows
from server.journal import Journal, Time

metadata = sa.MetaData()
signed_out = sa.Table(
    "signed_out",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("until", Time, nullable=False),
    sa.Column("created", Time, nullable=False),
)


class SignedOut:
    """The ids of sessions that are over, in the journal's database and in memory."""

    def __init__(self, journal: Journal, clock: Callable[[], datetime]) -> None:
        self.rows = Rows(journal, signed_out)
        self._clock = clock

    async def add(self, id: str, until: float) -> None:
        """`until` is when it would have ended by itself, in seconds since 1970."""
        now = self._clock()
        await self.rows.drop(*(id for id, row in self.rows.all.items() if row["until"] <= now))
        await self.rows.put({"id": id, "until": datetime.fromtimestamp(until, UTC), "created": now})

    async def has(self, id: str) -> bool:
        await self.rows.fresh()
        return id in self.rows.all
