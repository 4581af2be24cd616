"""What chat keeps: who is who, one-time codes, which channel is about which tenant, and the cards
that show a call. It owns these tables, and is handed a database to have them in."""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Protocol, TypeVar

import sqlalchemy as sa
from pydantic import StringConstraints

T = TypeVar("T")
Short = Annotated[str, StringConstraints(max_length=200)]
# Somebody in chat, with the workspace that they are of: `T1/U1`.
User = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,32}/[A-Z0-9]{1,32}$")]

CODE_VALID = timedelta(minutes=10)
CARDS_LIVE, MOST_CARDS = timedelta(days=30), 500
PLATFORM = "*"  # a channel that may see everything: the approvers'
# Without what is taken for something else when it is read from a screen.
LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"

metadata = sa.MetaData()
people = sa.Table(
    "chat_people",
    metadata,
    sa.Column("user", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("linked", sa.Double, nullable=False),
)
codes = sa.Table(
    "chat_codes",
    metadata,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("called", sa.Text, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
)
channels = sa.Table(
    "chat_bindings",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("tenant_uid", sa.Text, nullable=False),
    sa.Column("setting", sa.Text, nullable=False),  # what the settings last said of it
)
cards = sa.Table(
    "chat_cards",
    metadata,
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("ts", sa.Text, nullable=False),
    sa.Column("posted", sa.Double, nullable=False),
    sa.Column("shown", sa.Text, nullable=False),
)


class Run(Protocol):
    """Runs work in a transaction of the database."""

    def __call__(self, work: Callable[[sa.Connection], T]) -> Awaitable[T]: ...


@dataclass(frozen=True)
class Card:
    """A message that shows a call; `shown` tells apart what it shows."""

    call_id: Short
    channel: Short
    ts: Short
    shown: Short = ""


class Store:
    def __init__(self, run: Run, clock: Callable[[], datetime]) -> None:
        self._run = run
        self._clock = clock

    # ---- who is who

    async def subject(self, user: User) -> str | None:
        query = sa.select(people.c.subject).where(people.c.user == user)
        return await self._run(lambda c: c.execute(query).scalar())

    async def users(self, person: Short) -> Sequence[str]:
        query = sa.select(people.c.user).where(people.c.subject == person)
        return await self._run(lambda c: c.execute(query).scalars().all())

    async def link(self, user: User, subject: str) -> None:
        row = {"user": user, "subject": subject, "linked": self._now()}
        await self._replace(people, people.c.user == user, row)

    async def unlink(self, user: User) -> None:
        await self._delete(people, people.c.user == user)

    async def new_code(self, user: User, called: Short) -> str:
        """A code that ties this user to whoever redeems it, once, within ten minutes. `called` is
        the name that the one who redeems it is shown."""
        code = "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(3))
        expires = (self._clock() + CODE_VALID).timestamp()
        row = {"sha256": _sha256(code), "user": user, "called": called, "expires": expires}
        old = sa.or_(codes.c.user == user, codes.c.expires < self._now())
        await self._replace(codes, old, row)
        return code

    async def code(self, code: str) -> tuple[str, str] | None:
        """Whose code this is, and what they are called; None for one that is spent or too old."""
        query = sa.select(codes.c.user, codes.c.called).where(*self._valid(code))
        found = await self._run(lambda c: c.execute(query).first())
        return (found[0], found[1]) if found else None

    async def redeem(self, code: str, subject: str) -> str | None:
        """Tie the code's user to this subject; the user, or None for no such code."""
        spend = sa.delete(codes).where(*self._valid(code)).returning(codes.c.user)
        now = self._now()

        def work(connection: sa.Connection) -> str | None:
            user = connection.execute(spend).scalar()
            if user is not None:
                connection.execute(sa.delete(people).where(people.c.user == user))
                row = {"user": user, "subject": subject, "linked": now}
                connection.execute(sa.insert(people).values(**row))
            return user

        return await self._run(work)

    # ---- which channel is about what

    async def tenant_of(self, channel: str) -> str:
        """The tenant that a channel is bound to, `*` for the platform, or nothing."""
        query = sa.select(channels.c.tenant).where(channels.c.channel == channel)
        return await self._run(lambda c: c.execute(query).scalar()) or ""

    async def channels_of(self, tenant: str, uid: str = "") -> Sequence[str]:
        """Those bound to the tenant with this uid. What the settings bind to a name is about the
        first tenant of that name that there is, and about no later one."""
        named = channels.c.tenant == tenant
        query = sa.select(channels.c.channel, channels.c.tenant_uid).where(named)
        tied = sa.update(channels).where(named, channels.c.tenant_uid == "")

        def work(connection: sa.Connection) -> Sequence[str]:
            rows = connection.execute(query).all()
            if uid and any(not row.tenant_uid for row in rows):
                connection.execute(tied.values(tenant_uid=uid))
            return [row.channel for row in rows if row.tenant_uid in (uid, "")]

        return await self._run(work)

    async def bind(self, channel: str, tenant: str = "", uid: str = "") -> None:
        """To nothing, if no tenant is named; that holds until the settings say something new."""

        def work(connection: sa.Connection) -> None:
            said = sa.select(channels.c.setting).where(channels.c.channel == channel)
            setting = connection.execute(said).scalar() or ""
            connection.execute(sa.delete(channels).where(channels.c.channel == channel))
            row = {"channel": channel, "tenant": tenant, "tenant_uid": uid, "setting": setting}
            connection.execute(sa.insert(channels).values(**row))

        await self._run(work)

    async def bind_as_set(self, settings: Mapping[str, str]) -> None:
        """What the settings say of channels. Where they said so before, what was said in the
        channel since holds; what they do not say any more is undone."""

        def work(connection: sa.Connection) -> None:
            rows = connection.execute(sa.select(channels.c.channel, channels.c.setting)).all()
            before = {row.channel: row.setting for row in rows if row.setting}
            for channel in before.keys() | settings.keys():
                tenant = settings.get(channel, "")
                if before.get(channel) == tenant:
                    continue
                connection.execute(sa.delete(channels).where(channels.c.channel == channel))
                if tenant:
                    row = {"channel": channel, "tenant": tenant, "tenant_uid": ""}
                    connection.execute(sa.insert(channels).values(**row, setting=tenant))

        await self._run(work)

    # ---- messages that show a call

    async def keep_card(self, card: Card) -> None:
        row = {**asdict(card), "posted": self._now()}
        await self._run(lambda c: c.execute(sa.insert(cards).values(**row)) and None)

    async def cards(self, call_id: Short = "") -> Sequence[Card]:
        """The cards of one call; or the latest of all, those of a month at most."""
        month_ago = self._now() - CARDS_LIVE.total_seconds()
        which = cards.c.call_id == call_id if call_id else cards.c.posted > month_ago
        query = sa.select(cards.c.call_id, cards.c.channel, cards.c.ts, cards.c.shown)
        query = query.where(which).order_by(cards.c.posted.desc()).limit(MOST_CARDS)
        rows = await self._run(lambda c: c.execute(query).all())
        return [Card(*row) for row in rows]

    async def showed(self, card: Card, shown: Short) -> None:
        """What a card shows now; nothing where it is gone."""
        which = sa.and_(cards.c.channel == card.channel, cards.c.ts == card.ts)
        change: Any = sa.update(cards).where(which).values(shown=shown)
        if not shown:
            change = sa.delete(cards).where(which)
        await self._run(lambda c: c.execute(change) and None)

    def _now(self) -> float:
        return self._clock().timestamp()

    def _valid(self, code: str) -> tuple[sa.ColumnElement[bool], ...]:
        return codes.c.sha256 == _sha256(code), codes.c.expires >= self._now()

    async def _replace(
        self, table: sa.Table, which: sa.ColumnElement[bool], row: dict[str, Any]
    ) -> None:
        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(table).where(which))
            connection.execute(sa.insert(table).values(**row))

        await self._run(work)

    async def _delete(self, table: sa.Table, which: sa.ColumnElement[bool]) -> None:
        await self._run(lambda c: c.execute(sa.delete(table).where(which)) and None)


def _sha256(code: str) -> str:
    plain = "".join(letter for letter in code.upper() if letter in LETTERS)
    return hashlib.sha256(plain.encode()).hexdigest()
