"""Who calls: tokens, what each allows, and the local caller while there are none.

A token is `ph_` and 43 random characters, and only its SHA-256 is kept. It belongs to a subject,
and what it allows in a tenant to that tenant's uid.
"""

import getpass
import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import sqlalchemy as sa

from server.journal import Journal, Json, Time
from tools.calls import Caller, Grant, Role
from tools.context import Directory, TokenInfo
from tools.errors import Code, ToolError

# How long a token is believed without asking the database: how late a revocation may be elsewhere.
BELIEVED_S = 2.0
REMEMBERED = 4096
USE_NOTED = timedelta(minutes=1)

metadata = sa.MetaData()
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("agent", sa.Boolean, nullable=False),
    sa.Column("operator", sa.Boolean, nullable=False),
    sa.Column("grants", Json, nullable=False),
    sa.Column("created", Time, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires", Time),
    sa.Column("last_used", Time),
    sa.Column("revoked", Time),
)


def new_token() -> tuple[str, str]:
    """A token, and its SHA-256 for `token_create`."""
    token = "ph_" + secrets.token_urlsafe(32)
    return token, sha256(token)


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Identity:
    """The tokens in the journal's database. It is `tools.context.Tokens` for the gate."""

    def __init__(
        self, journal: Journal, directory: Directory, clock: Callable[[], datetime]
    ) -> None:
        self._journal = journal
        self._directory = directory
        self._clock = clock
        self._believed: dict[str, tuple[float, Caller | None]] = {}
        self._any = False

    @classmethod
    async def open(
        cls,
        journal: Journal,
        directory: Directory,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Self:
        await journal.run(lambda connection: metadata.create_all(connection))
        return cls(journal, directory, clock)

    async def identify(self, token: str, door: str) -> Caller | None:
        """Whose token this is, or None. What comes through MCP is an agent."""
        digest = sha256(token)
        until, caller = self._believed.get(digest, (0.0, None))
        if time.monotonic() >= until:
            now = self._clock()
            caller = await self._journal.run(lambda connection: _look_up(connection, digest, now))
            if len(self._believed) >= REMEMBERED:
                self._believed.clear()
            self._believed[digest] = time.monotonic() + BELIEVED_S, caller
        if caller is None:
            return None
        return caller.model_copy(
            update={"door": door, "agent": caller.agent or door.startswith("mcp")}
        )

    async def local(self, door: str, tool: str = "") -> Caller | None:
        """The operating system's user, while there are no tokens: an agent with an operator's
        rights, which can never decide; a person only to make the first token."""
        if await self.any():
            return None
        first = tool == "token_create" and door == "cli"
        return Caller.of(user(), operator=True, agent=not first, door=door)

    async def any(self) -> bool:
        """Was there ever a token?"""
        if not self._any:
            query = sa.select(sa.func.count()).select_from(tokens)
            self._any = bool(await self._journal.run(lambda c: c.execute(query).scalar()))
        return self._any

    async def count(self) -> int:
        """How many tokens let somebody in."""
        return sum(_valid(row, self._clock()) for row in await self._journal.run(_read))

    async def create(
        self,
        by: Caller,
        *,
        sha256: str,
        subject: str,
        tenants: Mapping[str, Role],
        operator: bool,
        agent: bool,
        person: str,
        expires_days: float | None,
    ) -> TokenInfo:
        if not operator and not tenants:
            raise ToolError(
                Code.INVALID_ARGUMENT,
                "This token would allow nothing.",
                "Give it tenants with a role in each, or make it an operator's.",
            )
        if Role.OPERATOR in tenants.values():
            raise ToolError(
                Code.INVALID_ARGUMENT,
                "`operator` is no role in a tenant.",
                "Use viewer, user or admin there, or make it an operator's token.",
            )
        if person and person != subject and not agent:
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"{subject} is to act for {person} and yet not be an agent.",
                "Make it an agent's token, or leave the person out.",
            )
        if not await self.any() and (agent or not operator):
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "The first token must be for an operator who is a person: without one, nobody "
                "could make the next.",
                f"pilothouse token create --subject {user()} --operator",
            )
        now = self._clock()
        row = {
            "id": f"t-{secrets.token_hex(4)}",
            "sha256": sha256,
            "subject": subject,
            "person": person or subject,
            "agent": agent,
            "operator": operator,
            "grants": {t: [r.value, await self._uid(t)] for t, r in tenants.items()},
            "created": now,
            "created_by": by.person,
            "expires": now + timedelta(days=expires_days) if expires_days else None,
            "last_used": None,
            "revoked": None,
        }
        await self._journal.run(lambda connection: _insert(connection, row, now))
        self._believed.clear()
        self._any = True
        return _info(row)

    async def list(self) -> Sequence[TokenInfo]:
        return [_info(row) for row in await self._journal.run(_read)]

    async def revoke(self, id: str) -> TokenInfo:
        now = self._clock()
        row = await self._journal.run(lambda connection: _revoke(connection, id, now))
        self._believed.clear()
        return _info(row)

    async def _uid(self, tenant: str) -> str:
        found = await self._directory.find(tenant)
        if found is None:
            raise ToolError(
                Code.NOT_FOUND,
                f"There is no tenant {tenant}.",
                "tenant_list shows those there are; tenant_create makes one.",
            )
        return found.uid


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "local"


Row = Mapping[str, Any]


def _read(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Row]:
    query = sa.select(tokens).where(*where).order_by(tokens.c.created)
    return [dict(row) for row in connection.execute(query).mappings()]


def _look_up(connection: sa.Connection, digest: str, now: datetime) -> Caller | None:
    row = next(iter(_read(connection, tokens.c.sha256 == digest)), None)
    if row is None or not _valid(row, now):
        return None
    if row["last_used"] is None or now - row["last_used"] > USE_NOTED:
        noted = sa.update(tokens).where(tokens.c.id == row["id"]).values(last_used=now)
        connection.execute(noted)
    operator, grants = _rights(connection, row, now)
    if not operator and not grants:
        return None
    return Caller.of(
        row["subject"], person=row["person"], agent=row["agent"], operator=operator, grants=grants
    )


def _rights(connection: sa.Connection, row: Row, now: datetime) -> tuple[bool, dict[str, Grant]]:
    """What a token allows: to an agent, never more than to the person it acts for, where that
    person has (or had) a token of their own."""
    operator, grants = row["operator"], _grants(row)
    if not row["agent"]:
        return operator, grants
    own = _read(connection, tokens.c.person == row["person"], ~tokens.c.agent)
    if not own:
        return operator, grants
    own = [r for r in own if _valid(r, now)]
    if any(r["operator"] for r in own):
        return operator, grants
    return False, {
        tenant: Grant(role=min(grant.role, best, key=list(Role).index), uid=grant.uid)
        for tenant, grant in grants.items()
        if (best := _best(own, tenant, grant.uid))
    }


def _best(rows: Iterable[Row], tenant: str, uid: str) -> Role | None:
    held = [g.role for r in rows if (g := _grants(r).get(tenant)) and g.uid == uid]
    return max(held, key=list(Role).index, default=None)


def _insert(connection: sa.Connection, row: Row, now: datetime) -> None:
    if _read(connection, tokens.c.sha256 == row["sha256"]):
        raise ToolError(Code.ALREADY_EXISTS, "There is such a token already.", "Make up another.")
    if _rights(connection, row, now) != (row["operator"], _grants(row)):
        raise ToolError(
            Code.PERMISSION_DENIED,
            f"{row['subject']} would be allowed more than {row['person']}, whom it acts for.",
            "Give the agent at most the role of its person.",
        )
    connection.execute(sa.insert(tokens).values(**row))


def _revoke(connection: sa.Connection, id: str, now: datetime) -> Row:
    rows = {row["id"]: row for row in _read(connection)}
    if id not in rows:
        raise ToolError(Code.NOT_FOUND, f"There is no token {id}.", "token_list shows them.")
    operators = [i for i, r in rows.items() if r["operator"] and not r["agent"] and _valid(r, now)]
    if operators == [id]:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            "This is the last operator's token: nobody could make another.",
            "Make a new operator's token first.",
        )
    if rows[id]["revoked"]:
        return rows[id]
    connection.execute(sa.update(tokens).where(tokens.c.id == id).values(revoked=now))
    return dict(rows[id]) | {"revoked": now}


def _valid(row: Row, now: datetime) -> bool:
    return row["revoked"] is None and (row["expires"] is None or now < row["expires"])


def _grants(row: Row) -> dict[str, Grant]:
    return {t: Grant(role=Role(role), uid=uid) for t, (role, uid) in row["grants"].items()}


def _info(row: Row) -> TokenInfo:
    roles = {tenant: grant.role for tenant, grant in _grants(row).items()}
    return TokenInfo.model_validate({**row, "tenants": roles})
