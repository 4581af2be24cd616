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
from typing import Any, Self, TypeAlias

import sqlalchemy as sa

from server.journal import Journal, Json, Time
from tools.calls import Caller, Grant, Role
from tools.context import Directory, TokenInfo
from tools.errors import Code, ToolError

Row: TypeAlias = dict[str, Any]
Rights: TypeAlias = tuple[bool, dict[str, Grant]]  # operator, and the role in each tenant

# How late another server's revocation may be noticed, where there are several.
BELIEVED_S = 2.0
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
    """The tokens in the journal's database, and in memory. It is `tools.context.Tokens`."""

    def __init__(
        self, journal: Journal, directory: Directory, clock: Callable[[], datetime]
    ) -> None:
        self._journal = journal
        self._directory = directory
        self._clock = clock
        # A DuckDB file has one owner; another database may be written by other servers.
        self._alone = journal.engine.dialect.name == "duckdb"
        self._rows: dict[str, Row] = {}
        self._read_at = 0.0

    @classmethod
    async def open(
        cls,
        journal: Journal,
        directory: Directory,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Self:
        await journal.run(lambda connection: metadata.create_all(connection))
        identity = cls(journal, directory, clock)
        await identity._read()
        return identity

    async def identify(self, token: str, door: str) -> Caller | None:
        """Whose token this is, or None. What comes through MCP is an agent."""
        if not self._alone and time.monotonic() - self._read_at > BELIEVED_S:
            await self._read()
        now = self._clock()
        row = self._rows.get(sha256(token))
        if row is None or not _valid(row, now):
            return None
        operator, grants = self._rights(row)
        if not operator and not grants:
            return None
        if row["last_used"] is None or now - row["last_used"] > USE_NOTED:
            row["last_used"] = now
            await self._update(row["id"], last_used=now)
        return Caller.of(
            row["subject"],
            person=row["person"],
            agent=row["agent"] or door.startswith("mcp"),
            operator=operator,
            grants=grants,
            door=door,
        )

    def local(self, door: str, tool: str = "") -> Caller | None:
        """The operating system's user, while there are no tokens: an agent with an operator's
        rights, which can never decide; a person only to make the first token."""
        if self.any():
            return None
        first = tool == "token_create" and door == "cli"
        return Caller.of(user(), operator=True, agent=not first, door=door)

    def still(self, caller: Caller) -> Caller | None:
        """A caller of earlier with what is left of those rights, or None."""
        same = [r for r in self._rows.values() if r["subject"] == caller.subject]
        if not same:
            return caller  # came in before there were tokens
        now = self._clock()
        rights = [self._rights(r) for r in same if r["person"] == caller.person and _valid(r, now)]
        operator = caller.operator and any(o for o, _ in rights)
        grants = _capped(caller.grants, rights)
        if not operator and not grants:
            return None
        return caller.model_copy(update={"operator": operator, "grants": grants})

    def operators(self) -> int:
        """How many people are operators."""
        now = self._clock()
        return len({r["person"] for r in self._rows.values() if _decides(r) and _valid(r, now)})

    def any(self) -> bool:
        """Was there ever a token?"""
        return bool(self._rows)

    def count(self) -> int:
        """How many tokens let somebody in."""
        return sum(_valid(row, self._clock()) for row in self._rows.values())

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
        if not self.any() and (agent or not operator):
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
        if sha256 in self._rows:
            raise ToolError(Code.ALREADY_EXISTS, "There is such a token.", "Make up another.")
        if self._rights(row) != (operator, _grants(row)):
            raise ToolError(
                Code.PERMISSION_DENIED,
                f"{subject} would be allowed more than {person}, whom it acts for.",
                "Give the agent at most the role of its person.",
            )
        insert = sa.insert(tokens).values(**row)
        await self._journal.run(lambda connection: connection.execute(insert) and None)
        self._rows[sha256] = row
        return _info(row)

    async def list(self) -> Sequence[TokenInfo]:
        return [_info(row) for row in self._rows.values()]

    async def revoke(self, id: str) -> TokenInfo:
        row = next((row for row in self._rows.values() if row["id"] == id), None)
        if row is None:
            raise ToolError(Code.NOT_FOUND, f"There is no token {id}.", "token_list shows them.")
        now = self._clock()
        if [r["id"] for r in self._rows.values() if _decides(r) and _valid(r, now)] == [id]:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "This is the last operator's token: nobody could make another.",
                "Make a new operator's token first.",
            )
        if row["revoked"] is None:
            row["revoked"] = now
            await self._update(id, revoked=now)
        return _info(row)

    def _rights(self, row: Row) -> Rights:
        """What a token allows: to an agent, never more than to the person it acts for, where that
        person has (or had) a token of their own."""
        operator, grants = row["operator"], _grants(row)
        own = [r for r in self._rows.values() if r["person"] == row["person"] and not r["agent"]]
        if not row["agent"] or not own:
            return operator, grants
        rights = [(r["operator"], _grants(r)) for r in own if _valid(r, self._clock())]
        return operator and any(o for o, _ in rights), _capped(grants, rights)

    async def _read(self) -> None:
        query = sa.select(tokens).order_by(tokens.c.created)
        rows = await self._journal.run(lambda c: c.execute(query).mappings().all())
        self._rows = {row["sha256"]: dict(row) for row in rows}
        self._read_at = time.monotonic()

    async def _update(self, id: str, **values: datetime) -> None:
        statement = sa.update(tokens).where(tokens.c.id == id).values(**values)
        await self._journal.run(lambda connection: connection.execute(statement) and None)

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


def _capped(grants: Mapping[str, Grant], rights: Iterable[Rights]) -> dict[str, Grant]:
    """The grants, each at most what one of the rights gives in the same tenant."""
    rights = list(rights)
    capped = {}
    for tenant, grant in grants.items():
        roles = [Role.OPERATOR for operator, _ in rights if operator]
        roles += [g.role for _, of in rights if (g := of.get(tenant)) and g.uid == grant.uid]
        if roles:
            best = max(roles, key=list(Role).index)
            capped[tenant] = grant if best.covers(grant.role) else Grant(role=best, uid=grant.uid)
    return capped


def _decides(row: Row) -> bool:
    return bool(row["operator"] and not row["agent"])


def _valid(row: Row, now: datetime) -> bool:
    return row["revoked"] is None and (row["expires"] is None or now < row["expires"])


def _grants(row: Row) -> dict[str, Grant]:
    return {t: Grant(role=Role(role), uid=uid) for t, (role, uid) in row["grants"].items()}


def _info(row: Row) -> TokenInfo:
    roles = {tenant: grant.role for tenant, grant in _grants(row).items()}
    return TokenInfo.model_validate({**row, "tenants": roles})
