"""Who calls, by what they came with; and the local caller while nobody is known yet."""

import getpass
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Self

from server.identity.rights import Rights
from server.identity.tokens import Tokens, metadata, sha256
from server.journal import Journal
from tools.calls import AGENT_DOORS, Caller
from tools.context import Directory


class Identity:
    """Everybody who may come in. Whatever a person comes with, they are one person."""

    def __init__(
        self, journal: Journal, directory: Directory, clock: Callable[[], datetime]
    ) -> None:
        self.tokens = Tokens(
            journal, directory, clock, self._own_rights, self._deciders, self._first
        )

    @classmethod
    async def open(
        cls,
        journal: Journal,
        directory: Directory,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Self:
        await journal.run(lambda connection: metadata.create_all(connection))
        identity = cls(journal, directory, clock)
        await identity.tokens.read()
        return identity

    async def close(self) -> None:
        await self.tokens.rows.close()

    async def identify(self, token: str, door: str) -> Caller | None:
        """Whose token this is, or None. What comes through MCP is an agent."""
        return await self.identify_sha256(sha256(token), door)

    async def identify_sha256(self, sha256: str, door: str) -> Caller | None:
        """The same for who keeps no more of a token than we do."""
        row = await self.tokens.find(sha256)
        if row is None or not (rights := self.tokens.allows(row)):
            return None
        return Caller.of(
            row["subject"],
            person=row["person"],
            agent=row["agent"] or door.startswith(AGENT_DOORS),
            operator=rights.operator,
            grants=rights.grants,
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
        same = [r for r in self.tokens.rows.all.values() if r["subject"] == caller.subject]
        if not same:
            return caller  # came in before there were tokens
        now = [
            self.tokens.allows(row)
            for row in same
            if row["person"] == caller.person and self.tokens.valid(row)
        ]
        left = Rights(caller.operator, caller.grants).within(now)
        if not left:
            return None
        return caller.model_copy(update={"operator": left.operator, "grants": left.grants})

    def operators(self) -> int:
        """How many people are operators."""
        return len(set(self._deciders().values()))

    def any(self) -> bool:
        """Was there ever a token?"""
        return bool(self.tokens.rows.all)

    def count(self) -> int:
        """How many tokens let somebody in."""
        return sum(map(self.tokens.valid, self.tokens.rows.all.values()))

    def _own_rights(self, person: str) -> Sequence[Rights] | None:
        own = list(self.tokens.of(person))
        rights = [self.tokens.allows(row) for row in own if self.tokens.valid(row)]
        return rights if own else None

    def _deciders(self) -> dict[str, str]:
        return {
            row["id"]: row["person"]
            for row in self.tokens.rows.all.values()
            if row["operator"] and not row["agent"] and self.tokens.valid(row)
        }

    def _first(self) -> str:
        if self.any():
            return ""
        return f"pilothouse token create --subject {user()} --operator"


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "local"
