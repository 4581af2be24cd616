"""Conversations: each is its person's alone, and none is kept for ever. One that is going on is
held here; what was said lies sealed in the database, so that it goes on after a restart. It owns
that table, and is handed a database to have it in."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias

import sqlalchemy as sa
import structlog

from chatops.conversation import Turn
from chatops.store import Run
from tools.calls import Caller
from tools.errors import Code, ToolError

log = structlog.get_logger(__name__)

Owner: TypeAlias = tuple[str, str]

metadata = sa.MetaData()
talks = sa.Table(
    "chat_talks",
    metadata,
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("thread", sa.Text, nullable=False),
    sa.Column("used", sa.Double, nullable=False),
    sa.Column("said", sa.Text, nullable=False),
)


class Seals(Protocol):
    """Makes `said` of a row unreadable, and readable again for that same row."""

    def sealed(self, table: sa.Table, row: Mapping[str, Any]) -> dict[str, Any]: ...

    def opened(self, table: sa.Table, row: Mapping[str, Any] | sa.RowMapping) -> dict[str, Any]: ...


@dataclass(eq=False)
class Talk:
    """A conversation. A round is a turn's messages as the model is sent them; `turns` are what its
    person sees; `task` is the turn under way."""

    id: str
    owner: Owner
    thread: str = ""
    rounds: list[list[dict[str, Any]]] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    task: "asyncio.Task[None] | None" = None

    def messages(self) -> list[dict[str, Any]]:
        """All rounds, as the model is sent them: after a turn that failed two of the person's
        messages stand one behind the other, which are one to the API."""
        found: list[dict[str, Any]] = []
        for message in (m for round in self.rounds for m in round):
            if found and found[-1]["role"] == message["role"]:
                whole = [*found[-1]["content"], *message["content"]]
                found[-1] = found[-1] | {"content": whole}
            else:
                found.append(message)
        return found

    def forget(self, most: int) -> None:
        """Drop the oldest rounds until what is sent has at most `most` characters."""
        sizes = [len(str(round)) for round in self.rounds]
        while len(self.rounds) > 1 and sum(sizes) > most:
            del self.rounds[0], sizes[0]


def owner(caller: Caller) -> Owner:
    return caller.subject, caller.person


class Memory:
    def __init__(
        self,
        run: Run,
        seals: Seals,
        clock: Callable[[], datetime],
        *,
        most: int = 1000,
        each: int = 50,
        keep: timedelta = timedelta(days=1),
    ) -> None:
        """At most `most` conversations, `each` of one person, each for `keep` after its last
        turn."""
        self._run, self._seals, self._clock = run, seals, clock
        self._most, self._each, self._keep_s = most, each, keep.total_seconds()
        self._one = asyncio.Lock()
        self.under_way: dict[str, Talk] = {}

    async def open(self) -> None:
        await self._run(lambda c: c.execute(sa.delete(talks).where(self._old())) and None)

    async def claim(self, caller: Caller, id: str = "", thread: str = "") -> Talk:
        """The caller's conversation with this id, or in this thread of a door's, begun if there is
        none; without either, a new one. It is theirs alone until it is settled. Raises
        `ToolError`: also while it is claimed."""
        mine = owner(caller)
        async with self._one:
            for talk in self.under_way.values():
                if talk.owner == mine and (talk.id == id or (thread and talk.thread == thread)):
                    raise ToolError(
                        Code.FAILED_PRECONDITION,
                        "The last question in this conversation is still being answered.",
                        "Wait for the answer, or cancel it.",
                    )
            found = await self._read(mine, id, thread) if id or thread else None
            if found is None and id:
                raise _none()
            talk = found or Talk(secrets.token_hex(8), mine, thread)
            self.under_way[talk.id] = talk
            return talk

    async def settle(self, talk: Talk) -> None:
        """Its turn is over: keep it, and drop what is too much or too old."""
        subject, person = talk.owner
        said = {"rounds": talk.rounds, "turns": [t.model_dump(mode="json") for t in talk.turns]}
        row: dict[str, Any] = {
            "id": talk.id,
            "subject": subject,
            "person": person,
            "thread": talk.thread,
        }
        row |= {"used": self._clock().timestamp(), "said": said}
        theirs = sa.and_(talks.c.subject == subject, talks.c.person == person)
        latest = sa.select(talks.c.id).order_by(talks.c.used.desc())
        kept = self._seals.sealed(talks, row)

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(talks).where(talks.c.id == talk.id))
            connection.execute(sa.insert(talks).values(**kept))
            few = latest.where(theirs).limit(self._each)
            connection.execute(sa.delete(talks).where(theirs, talks.c.id.not_in(few)))
            few = latest.limit(self._most)
            too_many = talks.c.id.not_in(few)
            connection.execute(sa.delete(talks).where(sa.or_(self._old(), too_many)))

        try:
            await self._run(work)
        except Exception as error:  # the answer is there all the same
            log.warning("a conversation was not kept", why=str(error)[:200])
        finally:
            self.under_way.pop(talk.id, None)

    async def find(self, caller: Caller, id: str) -> Talk:
        """To look at. Raises `ToolError`, the same for what is not there and what is somebody
        else's."""
        talk = self.under_way.get(id) or await self._read(owner(caller), id, "")
        if talk is None or talk.owner != owner(caller):
            raise _none()
        return talk

    async def count(self) -> int:
        query = sa.select(sa.func.count()).select_from(talks)
        return await self._run(lambda c: c.execute(query).scalar_one())

    async def _read(self, mine: Owner, id: str, thread: str) -> Talk | None:
        which = talks.c.id == id if id else talks.c.thread == thread
        theirs = [talks.c.subject == mine[0], talks.c.person == mine[1], ~self._old()]
        query = sa.select(talks).where(which, *theirs).order_by(talks.c.used.desc()).limit(1)
        row = await self._run(lambda c: c.execute(query).mappings().first())
        if row is None:
            return None
        said = self._seals.opened(talks, row)["said"]
        turns = [Turn.model_validate(turn) for turn in said["turns"]]
        return Talk(row["id"], mine, row["thread"], said["rounds"], turns)

    def _old(self) -> sa.ColumnElement[bool]:
        return talks.c.used < self._clock().timestamp() - self._keep_s


def _none() -> ToolError:
    return ToolError(
        Code.NOT_FOUND,
        "There is no such conversation of yours (any more).",
        "Leave `conversation` out to begin one.",
    )
