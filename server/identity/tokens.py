"""Tokens: what programs, and people without another way to sign in, come with.

A token is `ph_` and 43 random characters, and only its SHA-256 is kept. It belongs to a subject,
and what it allows in a tenant to that tenant's uid.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from server.identity.rights import Rights, granted, rights_of
from server.identity.rows import Row, Rows
from server.journal import Journal, Json, Time
from tools.calls import Caller, Role
from tools.errors import Code, ToolError
from tools.holdings import Directory, TokenInfo

USE_NOTED = timedelta(minutes=1)
# Whom a token acts for that allows nothing but to speak for who is linked in chat: no subject's
# name has a star.
LINKED = "*"
LINKED_LASTS = timedelta(days=90)

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


def new_token(kind: str = "ph_") -> tuple[str, str]:
    """A token, and its SHA-256 for `token_create`."""
    token = kind + secrets.token_urlsafe(32)
    return token, sha256(token)


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


class Tokens:
    """The tokens in the journal's database, and in memory. It is `tools.context.Tokens`."""

    def __init__(
        self,
        journal: Journal,
        directory: Directory,
        clock: Callable[[], datetime],
        rights: Callable[[str], Sequence[Rights] | None],
        deciders: Callable[[], Mapping[str, str]],
        first: Callable[[], str],
    ) -> None:
        """`rights` are what a person has of their own (None: nobody is known by that name),
        `deciders` everything that makes a person an operator (an id, and whom), and `first` how
        the first operator is made, while there is none."""
        self.rows = Rows(journal, tokens)
        self._directory = directory
        self._clock = clock
        self._rights = rights
        self._deciders = deciders
        self._first = first
        self._by_sha256: dict[str, str] = {}

    async def read(self) -> None:
        await self.rows.read()
        self._index()

    async def find(self, sha256: str) -> Row | None:
        """A token that lets somebody in."""
        if await self.rows.fresh():
            self._index()
        row = self.rows.all.get(self._by_sha256.get(sha256, ""))
        if row is None or not self.valid(row):
            return None
        now = self._clock()
        if row["last_used"] is None or now - row["last_used"] > USE_NOTED:
            self.rows.note(row["id"], last_used=now)
        return row

    def allows(self, row: Row) -> Rights:
        """What a token allows: to an agent, never more than to the person it acts for, where that
        person is (or was) known by something of their own."""
        rights = rights_of(row)
        if row["agent"] and (own := self._rights(row["person"])) is not None:
            return rights.within(own)
        return rights

    def valid(self, row: Row) -> bool:
        in_time = row["expires"] is None or self._clock() < row["expires"]
        return row["revoked"] is None and in_time

    def of(self, person: str) -> Iterator[Row]:
        """Every token that a person has or had of their own."""
        yield from (r for r in self.rows.all.values() if r["person"] == person and not r["agent"])

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
        slack: bool = False,
    ) -> TokenInfo:
        if slack and (operator or tenants or agent or person):
            raise ToolError(
                Code.INVALID_ARGUMENT,
                "A token for Slack allows nothing by itself: it speaks for who is linked there.",
                "Leave out operator, tenants, agent and person.",
            )
        if not operator and not tenants and not slack:
            raise ToolError(
                Code.INVALID_ARGUMENT,
                "This token would allow nothing.",
                "Give it tenants with a role in each, or make it an operator's.",
            )
        if person and person != subject and not agent:
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"{subject} is to act for {person} and yet not be an agent.",
                "Make it an agent's token, or leave the person out.",
            )
        if slack:
            agent, person = True, LINKED
            expires_days = expires_days or LINKED_LASTS / timedelta(days=1)
        if (how := self._first()) and (agent or not operator):
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "The first token must be for an operator who is a person: without one, nobody "
                "could make the next.",
                how,
            )
        grants = Rights(operator, await granted(self._directory, tenants))
        now = self._clock()
        row: dict[str, Any] = {
            "id": f"t-{secrets.token_hex(4)}",
            "sha256": sha256,
            "subject": subject,
            "person": person or subject,
            "agent": agent,
            "operator": operator,
            "grants": grants.stored(),
            "created": now,
            "created_by": by.person,
            "expires": now + timedelta(days=expires_days) if expires_days else None,
            "last_used": None,
            "revoked": None,
        }
        if sha256 in self._by_sha256:
            raise ToolError(Code.ALREADY_EXISTS, "There is such a token.", "Make up another.")
        if self.allows(row) != grants:
            raise ToolError(
                Code.PERMISSION_DENIED,
                f"{subject} would be allowed more than {person}, whom it acts for.",
                "Give the agent at most the role of its person.",
            )
        await self.rows.add(row)
        self._by_sha256[sha256] = row["id"]
        return _info(row)

    async def list(self) -> Sequence[TokenInfo]:
        return [_info(row) for row in self.rows.all.values()]

    async def revoke(self, id: str) -> TokenInfo:
        row = self.rows.all.get(id)
        if row is None:
            raise ToolError(Code.NOT_FOUND, f"There is no token {id}.", "token_list shows them.")
        if list(self._deciders()) == [id]:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "This is the last operator's token: nobody could make another.",
                "Make a new operator's token first.",
            )
        if row["revoked"] is None:
            await self.rows.change(id, revoked=self._clock())
        return _info(row)

    def _index(self) -> None:
        self._by_sha256 = {row["sha256"]: id for id, row in self.rows.all.items()}


def _info(row: Row) -> TokenInfo:
    roles = {tenant: grant.role for tenant, grant in rights_of(row).grants.items()}
    return TokenInfo.model_validate({**row, "tenants": roles})
