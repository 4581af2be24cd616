"""Who calls, by what they came with; and the local caller while nobody is known yet."""

import getpass
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, Self

from server.identity.accounts import Accounts
from server.identity.certificates import PREFIX, Certificates
from server.identity.claims import claimed
from server.identity.issuer import Issuer
from server.identity.people import People
from server.identity.rights import Rights
from server.identity.rows import Row
from server.identity.sessions import Sessions
from server.identity.signed_out import SignedOut
from server.identity.signing_in import SignIn
from server.identity.tokens import LINKED, Tokens, sha256
from server.identity.workspaces import Workspaces
from server.journal import Journal
from server.settings_identity import CertificateCaller, Oidc
from server.settings_identity import People as PeopleSettings
from tools.calls import AGENT_DOORS, Caller
from tools.errors import Code, ToolError
from tools.holdings import Directory


class Identity:
    """Everybody who may come in. Whatever a person comes with, they are one person."""

    def __init__(
        self,
        journal: Journal,
        directory: Directory,
        clock: Callable[[], datetime],
        oidc: Oidc,
        audience: Sequence[str],
        signing: PeopleSettings,
        certified: Mapping[str, CertificateCaller],
    ) -> None:
        self._clock = clock
        self.issuer = Issuer(oidc) if oidc.issuer else None
        self.audience = audience
        self.certificates = Certificates(directory, certified)
        self.workspaces = Workspaces(journal, directory, clock)
        remembered = timedelta(hours=oidc.remember_h)
        self.people = People(journal, directory, self.workspaces, clock, remembered)
        self.sessions = Sessions(journal, clock)
        self.signed_out = SignedOut(journal, clock)
        self.tokens = Tokens(
            journal, directory, clock, self._own_rights, self._deciders, self._first
        )
        self.accounts = Accounts(
            self.people,
            self.sessions,
            self._deciders,
            clock,
            timedelta(days=signing.invitation_d),
        )
        self.sign_in = SignIn(
            journal, self.people, self.sessions, clock, signing, self._holds_a_token
        )
        self._tables = (
            self.tokens.rows,
            self.people.rows,
            self.workspaces.rows,
            self.sessions.rows,
            self.signed_out.rows,
            self.sign_in.tries,
        )

    @classmethod
    async def open(
        cls,
        journal: Journal,
        directory: Directory,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        oidc: Oidc | None = None,
        audience: Sequence[str] = (),
        signing: PeopleSettings | None = None,
        certified: Mapping[str, CertificateCaller] | None = None,
    ) -> Self:
        """`audience` are the names that an issuer's tokens for us go by."""
        identity = cls(
            journal,
            directory,
            clock,
            oidc or Oidc(),
            audience,
            signing or PeopleSettings(),
            certified or {},
        )
        for rows in identity._tables:
            await rows.read()
        await identity.tokens.read()
        await identity.sessions.read()
        return identity

    async def close(self) -> None:
        if self.issuer:
            await self.issuer.close()
        for rows in self._tables:
            await rows.close()

    async def identify(self, token: str, door: str) -> Caller | None:
        """Whose token this is, or None. What comes through MCP is an agent. Raises `ToolError` for
        an identity provider's token that is refused, saying why."""
        if self.issuer and token.count(".") == 2:
            row, agent = await self._sent(await self.issuer.claims(token, self.audience))
            return self._user(row, door, agent)
        if token.startswith(PREFIX):
            found = await self.certificates.find(token)
            return self._certified(*found, door) if found else None
        return await self.identify_sha256(sha256(token), door)

    async def signed_in_elsewhere(self, claims: Mapping[str, Any], lasts: timedelta) -> str:
        """The token of a session for whom the identity provider says these claims of. Raises
        `ToolError` for somebody who may nothing."""
        row, _ = await self._sent(claims)
        return (await self.sessions.begin(row["id"], lasts)).access

    async def identify_sha256(self, sha256: str, door: str) -> Caller | None:
        """The same for who keeps no more of a token than we do."""
        if session := await self.sessions.find(sha256):
            await self._fresh()
            row = self.people.rows.all.get(session["user_id"])
            return self._user(row, door) if row else None
        row = await self.tokens.find(sha256)
        if row is None:
            return None
        if row["person"] == LINKED:
            raise ToolError(
                Code.UNAUTHENTICATED,
                "This token is for `pilothouse slack`, and lets nobody in here.",
                "Come with one of your own: `pilothouse token create`.",
            )
        return self._caller(row, self.tokens.allows(row), door)

    async def speaks(self, token: str) -> bool:
        """Is this the token of somebody who may speak for who is linked in chat?"""
        row = await self.tokens.find(sha256(token))
        return row is not None and row["person"] == LINKED

    async def person(self, name: str, door: str) -> Caller | None:
        """Somebody with all that they may by themselves, or None: for a door that knows who is
        there by other means than what it is shown."""
        await self._fresh()
        rights = reduce(or_, self._own_rights(name) or (), Rights())
        if not rights:
            return None
        return Caller.of(name, operator=rights.operator, grants=rights.grants, door=door)

    def local(self, door: str, tool: str = "") -> Caller | None:
        """The operating system's user, while there are no tokens: an agent with an operator's
        rights, which can never decide; a person only to make the first token."""
        if self.any():
            return None
        first = tool == "token_create" and door == "cli"
        return Caller.of(user(), operator=True, agent=not first, door=door)

    def still(self, caller: Caller) -> Caller | None:
        """A caller of earlier with what is left of those rights, or None."""
        known = self.people.find(caller.subject)
        same = [r for r in self.tokens.rows.all.values() if r["subject"] == caller.subject]
        now = self.certificates.still(caller)
        if not same and known is None and not now:
            # Who came in before there were tokens.
            return caller if caller.subject == user() else None
        now += [
            self.tokens.allows(row)
            for row in same
            if row["person"] == caller.person and self.tokens.valid(row)
        ]
        if known and known["person"] == caller.person:
            now.append(self._allowed(known))
        left = Rights(caller.operator, caller.grants).within(now)
        if not left:
            return None
        return caller.model_copy(update={"operator": left.operator, "grants": left.grants})

    def now(self) -> datetime:
        return self._clock()

    def operators(self) -> int:
        """How many people are operators."""
        return len(set(self._deciders().values()))

    def any(self) -> bool:
        """Was there ever a token?"""
        return bool(self.tokens.rows.all)

    def count(self) -> int:
        """How many tokens let somebody in."""
        return sum(map(self.tokens.valid, self.tokens.rows.all.values()))

    def subject_by_email(self, email: str) -> str | None:
        """The one person who has this address, or None."""
        return self.people.subject_by_email(email)

    async def _sent(self, claims: Mapping[str, Any]) -> tuple[Row, bool]:
        """Who an identity provider's claims are of, and whether an agent brings them."""
        assert self.issuer is not None
        said = claimed(claims, self.issuer.settings)
        await self._fresh()
        row = await self.people.sent(said, self.issuer.settings.issuer)
        if row is None or self._user(row, "", said.agent) is None:
            raise ToolError(
                Code.PERMISSION_DENIED,
                f"{said.subject} may do nothing here.",
                "The identity provider gives them no group that is a role here, or an operator "
                "has shut them out.",
            )
        return row, said.agent

    async def _fresh(self) -> None:
        await self.people.rows.fresh()
        await self.workspaces.rows.fresh()

    def _user(self, row: Row, door: str, agent: bool = False) -> Caller | None:
        """A user as a caller. One who signed in here may have nothing to do yet."""
        if not self.people.active(row):
            return None
        return self._caller(row | {"agent": row["agent"] or agent}, self._allowed(row), door)

    def _allowed(self, row: Row) -> Rights:
        rights = self.people.rights(row)
        own = self._own_rights(row["person"]) if row["agent"] else None
        return rights if own is None else rights.within(own)

    def _caller(self, row: Row, rights: Rights, door: str) -> Caller | None:
        if not rights and not row.get("password"):
            return None
        return Caller.of(
            row["subject"],
            person=row["person"],
            agent=row["agent"] or door.startswith(AGENT_DOORS),
            operator=rights.operator,
            grants=rights.grants,
            door=door,
        )

    def _holds_a_token(self, subject: str) -> bool:
        rows = self.tokens.rows.all.values()
        return any(
            subject.casefold() in (r["subject"].casefold(), r["person"].casefold()) for r in rows
        )

    def _certified(self, caller: Caller, rights: Rights, door: str) -> Caller | None:
        own = self._own_rights(caller.person) if caller.agent else None
        row = {"subject": caller.subject, "person": caller.person, "agent": caller.agent}
        return self._caller(row, rights if own is None else rights.within(own), door)

    def _own_rights(self, person: str) -> Sequence[Rights] | None:
        """What a person may by each thing that they have of their own; None where nobody is, or
        was, known by that name."""
        held = list(self.tokens.of(person))
        known = list(self.people.of_person(person))
        if not held and not known:
            return None
        return [self.tokens.allows(row) for row in held if self.tokens.valid(row)] + [
            self.people.rights(row) for row in known
        ]

    def _deciders(self) -> dict[str, str]:
        held = {
            row["id"]: row["person"]
            for row in self.tokens.rows.all.values()
            if row["operator"] and not row["agent"] and self.tokens.valid(row)
        }
        return held | {row["id"]: row["person"] for row in self.people.operators()}

    def _first(self) -> str:
        if self.any() or self.people.operators():
            return ""
        return f"pilothouse token create --subject {user()} --operator"


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "local"
