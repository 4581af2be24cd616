"""Users as the tools see and change them."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from server.identity.passwords import is_hash
from server.identity.people import People
from server.identity.rows import Row
from server.identity.sessions import Sessions
from tools.calls import Caller, Role
from tools.errors import Code, ToolError
from tools.holdings import UserInfo


class Accounts:
    """It is `tools.context.People`."""

    def __init__(
        self,
        people: People,
        sessions: Sessions,
        deciders: Callable[[], Collection[str]],
        clock: Callable[[], datetime],
        invited: timedelta,
    ) -> None:
        """`deciders` are the ids of all that makes somebody an operator; an invitation holds for
        `invited`."""
        self._people = people
        self._sessions = sessions
        self._deciders = deciders
        self._clock = clock
        self._invited = invited

    async def account(self, caller: Caller) -> UserInfo:
        row = self._people.find(caller.subject)
        if row and not row["deleted"]:
            return self._info(row)
        return UserInfo(
            id="", subject=caller.subject, state="active", operator=caller.operator,
            workspaces=self._people.workspaces.of(caller.subject),
        )  # fmt: skip

    async def list(self) -> Sequence[UserInfo]:
        return [self._info(row) for row in self._people.rows.all.values() if not row["deleted"]]

    async def get(self, id: str) -> UserInfo:
        return self._info(self._row(id))

    async def create(
        self,
        by: Caller,
        *,
        email: str,
        name: str,
        operator: bool,
        invitation: str,
        password_hash: str,
    ) -> UserInfo:
        if password_hash and not is_hash(password_hash):
            raise ToolError(
                Code.INVALID_ARGUMENT,
                "password_hash is neither Argon2 nor bcrypt.",
                "Leave it out, and send an invitation.",
            )
        row = await self._people.add(
            email, name=name, operator=operator, password=password_hash, created_by=by.person
        )
        if invitation:
            await self._invite(row, invitation)
        return self._info(row)

    async def change(self, by: Caller, id: str, **values: Any) -> UserInfo:
        if not id:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"{by.subject} comes with a token or a certificate, and has no account here.",
                "Sign in, to change yours.",
            )
        row = self._row(id)
        invitation, disabled = values.pop("invitation", ""), values.pop("disabled", None)
        if row["issuer"] and (invitation or "operator" in values):
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"{row['subject']} comes from {row['issuer']}, which says what they may.",
                "Change their groups there; here they can be shut out, or put into a workspace.",
            )
        if disabled or values.get("operator") is False:
            self._not_the_last(row)
        if disabled is not None:
            values["disabled"] = self._clock() if disabled else None
        if values:
            await self._people.rows.change(row["id"], **values)
        if disabled:
            await self._sessions.end_all(row["id"])
        if invitation:
            await self._invite(row, invitation)
        return self._info(row)

    async def delete(self, id: str) -> UserInfo:
        row = self._row(id)
        if row["issuer"]:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"{row['issuer']} would send {row['subject']} again.",
                "Shut them out: user_update with disabled.",
            )
        self._not_the_last(row)
        gone = self._info(row).model_copy(update={"state": "deleted"})
        await self._people.rows.change(
            row["id"], deleted=self._clock(), email="", name="", password="", invitation="",
            operator=False, grants={},
        )  # fmt: skip
        await self._sessions.end_all(row["id"])
        await self._people.workspaces.leave(row["subject"])
        return gone

    async def _invite(self, row: Row, invitation: str) -> None:
        until = self._clock() + self._invited
        await self._people.rows.change(row["id"], invitation=invitation, invited_until=until)

    def _row(self, id: str) -> Row:
        row = self._people.rows.all.get(id) or self._people.find(id)
        if row is None or row["deleted"]:
            raise ToolError(Code.NOT_FOUND, f"There is no user {id[:64]}.", "user_list shows them.")
        return row

    def _not_the_last(self, row: Row) -> None:
        if list(self._deciders()) == [row["id"]]:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "This is the last operator: nobody could let others in.",
                "Make another operator first.",
            )

    def _info(self, row: Row) -> UserInfo:
        state = "active" if row["password"] or row["issuer"] else "invited"
        roles: dict[str, Role] = self._people.workspaces.of(row["subject"])
        return UserInfo.model_validate(
            row | {"state": "disabled" if row["disabled"] else state, "workspaces": roles}
        )
