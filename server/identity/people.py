"""People: those who sign in here, and those (and the programs) that an identity provider sent.

A person is known by one subject, whatever they come with. What the identity provider said of
somebody holds as long as their token does, and for calls that wait a while longer; what a
workspace gives them is theirs until they leave it.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from server.identity.claims import Claimed
from server.identity.rights import Rights, rights_of
from server.identity.rows import Row, Rows
from server.identity.workspaces import Workspaces
from server.journal import Journal, Json, Time
from tools.calls import Grant
from tools.errors import Code, ToolError
from tools.holdings import Directory

USE_NOTED = timedelta(minutes=1)

metadata = sa.MetaData()
users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("issuer", sa.Text, nullable=False),  # of whom an identity provider sent
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("agent", sa.Boolean, nullable=False),
    sa.Column("operator", sa.Boolean, nullable=False),
    sa.Column("grants", Json, nullable=False),
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("invitation", sa.Text, nullable=False),
    sa.Column("invited_until", Time),
    sa.Column("created", Time, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("last_used", Time),
    sa.Column("disabled", Time),
    sa.Column("deleted", Time),
)


class People:
    """The users in the journal's database, and in memory."""

    def __init__(
        self,
        journal: Journal,
        directory: Directory,
        workspaces: Workspaces,
        clock: Callable[[], datetime],
        remembered: timedelta,
    ) -> None:
        """`remembered` is how long what an identity provider said holds for what waits."""
        self.rows = Rows(journal, users)
        self.workspaces = workspaces
        self._directory = directory
        self._clock = clock
        self._remembered = remembered

    def find(self, subject: str) -> Row | None:
        """Who has this subject; somebody who was deleted, too, if nobody else has it now."""
        same = [row for row in self.rows.all.values() if row["subject"] == subject]
        return next((row for row in same if not row["deleted"]), same[-1] if same else None)

    def by_email(self, email: str) -> Row | None:
        """Who signs in here with this address."""
        email = email.strip().casefold()
        rows = self.rows.all.values()
        here = (row for row in rows if not row["issuer"] and not row["deleted"])
        return next((row for row in here if row["email"].casefold() == email), None)

    async def add(self, email: str, **given: Any) -> Row:
        """Somebody who is to sign in here, known by their address. Raises `ToolError`."""
        email = email.strip().lower()
        known = self.find(email)
        if self.by_email(email) or (known and not known["deleted"]):
            raise ToolError(
                Code.ALREADY_EXISTS, f"There is a user {email}.", "user_list shows them all."
            )
        return await self.rows.add(self.new(subject=email, person=email, email=email, **given))

    def is_invited(self, code: str) -> sa.ColumnElement[bool]:
        return users.c.invitation == code

    def of_person(self, person: str) -> Iterator[Row]:
        """Every user that a person is or was themselves."""
        yield from (r for r in self.rows.all.values() if r["person"] == person and not r["agent"])

    def subject_by_email(self, email: str) -> str | None:
        """The subject of the one person who has this address, or None."""
        found = {
            row["subject"]
            for row in self.rows.all.values()
            if row["email"].lower() == email.lower() and email and self.active(row)
            if not row["agent"]
        }
        return found.pop() if len(found) == 1 else None

    def active(self, row: Row) -> bool:
        return row["disabled"] is None and row["deleted"] is None

    def rights(self, row: Row) -> Rights:
        """What a user may now."""
        if not self.active(row):
            return Rights()
        said = rights_of(row)
        last = row["last_used"]
        if row["issuer"] and (last is None or self._clock() - last > self._remembered):
            said = Rights()
        return self.workspaces.rights(row["person"] if row["agent"] else row["subject"]) | said

    async def sent(self, claimed: Claimed, issuer: str) -> Row | None:
        """Who an identity provider sent, kept with what it said of them; None for somebody who may
        nothing. Raises `ToolError` where another is known by that name."""
        row = self.find(claimed.subject)
        now = self._clock()
        if row and row["deleted"]:
            row = None
        if row and (row["issuer"], row["person"]) != (issuer, claimed.person):
            raise ToolError(
                Code.UNAUTHENTICATED,
                f"{claimed.subject} is known here as somebody else.",
                "An operator sees who with user_list; one of the two needs another name.",
            )
        grants = {}
        for tenant, role in claimed.tenants.items():
            if found := await self._directory.find(tenant):
                grants[tenant] = Grant(role=role, uid=found.uid)
        said = Rights(claimed.operator, grants)
        if row is None:
            if not said and not self.workspaces.rights(claimed.subject):
                return None
            return await self.rows.add(
                self.new(
                    subject=claimed.subject,
                    person=claimed.person,
                    issuer=issuer,
                    email=claimed.email,
                    name=claimed.name,
                    agent=claimed.agent,
                    operator=said.operator,
                    grants=said.stored(),
                    created_by=issuer,
                    last_used=now,
                )
            )
        # Who comes by themselves but once is a person, whatever else comes in their name.
        agent = row["agent"] and claimed.agent
        changed = rights_of(row) != said or row["agent"] != agent
        if changed or now - (row["last_used"] or row["created"]) > USE_NOTED:
            values = {"operator": said.operator, "grants": said.stored(), "agent": agent}
            values |= {"email": claimed.email, "name": claimed.name, "last_used": now}
            self.rows.note(row["id"], **values)
        return row

    def new(self, **given: Any) -> Row:
        """A row with what was not given left out."""
        empty: Row = {
            "id": f"u-{secrets.token_hex(6)}",
            "issuer": "",
            "name": "",
            "agent": False,
            "operator": False,
            "grants": {},
            "password": "",
            "invitation": "",
            "invited_until": None,
            "created": self._clock(),
            "last_used": None,
            "disabled": None,
            "deleted": None,
        }
        return empty | given

    def operators(self) -> Sequence[Row]:
        """The people who decide for the platform."""
        return [
            row
            for row in self.rows.all.values()
            if row["operator"] and not row["agent"] and self.rights(row).operator
            if row["issuer"] or row["password"]
        ]
