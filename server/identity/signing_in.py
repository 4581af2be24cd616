"""Registering, signing in, going on, signing out. Passwords stay in here: no call, no log and no
record has them."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from server.identity.passwords import Passwords
from server.identity.people import People
from server.identity.rows import Row, Rows
from server.identity.sessions import Sessions, Signed
from server.identity.tokens import sha256
from server.journal import Journal, Time
from server.settings_identity import People as Settings
from tools.errors import Code, ToolError

# So many tries are free; then each takes twice as long to wait for as the one before.
FREE, FIRST_WAIT, LONGEST_WAIT = 5, timedelta(seconds=10), timedelta(minutes=15)
FORGOTTEN, MOST_TRIES = timedelta(days=1), 20_000

metadata = sa.MetaData()
tries = sa.Table(
    "sign_in_tries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),  # the email's SHA-256: it may be a password
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("until", Time, nullable=False),
    sa.Column("created", Time, nullable=False),
)

# What happened, and to whom: kept with the audit trail.
Note = Callable[[str, str, ToolError | None], None]


class SignIn:
    def __init__(
        self,
        journal: Journal,
        people: People,
        sessions: Sessions,
        clock: Callable[[], datetime],
        settings: Settings,
        taken: Callable[[str], bool],
    ) -> None:
        """`taken` says whether a subject is somebody's already, by a token."""
        self.tries = Rows(journal, tries)
        self.note: Note = lambda subject, what, error: None
        self._people = people
        self._sessions = sessions
        self._clock = clock
        self._settings = settings
        self._taken = taken
        self._passwords = Passwords()
        self._access = timedelta(minutes=settings.access_m)
        self._refresh = timedelta(days=settings.refresh_d)

    async def register(self, email: str, password: str, name: str, invitation: str) -> Row:
        """Raises `ToolError`. Without an invitation, only where anybody may register."""
        now = self._clock()
        hashed = await self._passwords.hashed(password, email)
        row = self._people.by_email(email)
        if invitation:
            code = sha256(invitation)
            good = row and row["invitation"] and now < row["invited_until"]
            if row is None or not good or not hmac.compare_digest(row["invitation"], code):
                raise self._refused("register", row)
            await self._sessions.end_all(row["id"])
            values = {"password": hashed, "invitation": "", "invited_until": None}
            if name:
                values["name"] = name
            if not await self._people.rows.change(
                row["id"], self._people.is_invited(code), **values
            ):
                raise self._refused("register", row)
        elif not self.open:
            raise ToolError(
                Code.PERMISSION_DENIED,
                "To register here takes an invitation.",
                "An operator sends one: `pilothouse user invite`.",
            )
        elif row or self._taken(email):
            raise ToolError(
                Code.ALREADY_EXISTS, "Somebody has this address.", "Sign in, or ask an operator."
            )
        else:
            row = await self._people.add(email, name=name, password=hashed, created_by="themselves")
        await self._forget(email)
        self.note(row["subject"], "register", None)
        return row

    async def login(
        self, email: str, password: str, lasts: timedelta | None = None
    ) -> tuple[Row, Signed]:
        """With `lasts`, a session of that length, for a browser. Raises `ToolError`, the same for
        somebody who is unknown and for a wrong password."""
        await self._try(email)
        row = self._people.by_email(email)
        here = row if row and row["password"] and self._people.active(row) else None
        same, better = await self._passwords.check(here["password"] if here else "", password)
        if here is None or not same:
            raise self._refused("login", row)
        await self._forget(email)
        if better:
            await self._people.rows.change(here["id"], password=better)
        self._people.rows.note(here["id"], last_used=self._clock())
        self.note(here["subject"], "login", None)
        if lasts:
            return here, await self._sessions.begin(here["id"], lasts)
        return here, await self._sessions.begin(here["id"], self._access, self._refresh)

    @property
    def open(self) -> bool:
        """May anybody register, invited or not?"""
        return self._settings.registration == "open"

    def any(self) -> bool:
        """Does anybody sign in here?"""
        return any(row["password"] for row in self._people.rows.all.values())

    async def refresh(self, token: str) -> Signed:
        """New tokens for old, once. Raises `ToolError`."""
        went_on = await self._sessions.go_on(token, self._access)
        if went_on is None:
            raise ToolError(
                Code.UNAUTHENTICATED,
                "This refresh token is worth nothing: it is unknown, used or expired.",
                "Sign in again. If you did not use it twice yourself, somebody else has it: the "
                "session has ended for both.",
            )
        session, signed = went_on
        row = self._people.rows.all.get(session["user_id"])
        if row is None or not self._people.active(row):
            await self._sessions.end(session["id"])
            raise ToolError(Code.UNAUTHENTICATED, "You may not come in any more.", "")
        return signed

    async def logout(self, token: str) -> None:
        """End the session of an access or a refresh token; one that there is not is no error."""
        await self._end(await self._sessions.of(token))

    async def logout_sha256(self, access: str) -> None:
        """The same for who keeps no more of an access token than we do."""
        await self._end(await self._sessions.find(access))

    async def change_password(self, token: str, old: str, new: str) -> None:
        """Of whom the access token is. All their other sessions end. Raises `ToolError`."""
        session = await self._sessions.find(sha256(token))
        row = self._people.rows.all.get(session["user_id"]) if session else None
        if session is None or row is None or not row["password"]:
            raise ToolError(
                Code.UNAUTHENTICATED, "Only who signed in here has a password.", "Sign in first."
            )
        await self._try(row["email"])
        same, _ = await self._passwords.check(row["password"], old)
        if not same:
            raise self._refused("password", row)
        hashed = await self._passwords.hashed(new, row["email"])
        await self._forget(row["email"])
        await self._people.rows.change(row["id"], password=hashed)
        await self._sessions.end_all(row["id"], but=session["id"])
        self.note(row["subject"], "password", None)

    async def _end(self, session: Row | None) -> None:
        if session:
            await self._sessions.end(session["id"])
            if row := self._people.rows.all.get(session["user_id"]):
                self.note(row["subject"], "logout", None)

    async def _try(self, email: str) -> None:
        """Counted before it is looked at, so that many at once are not all free."""
        id, now = _of(email), self._clock()
        row = self.tries.all.get(id)
        if row and now - row["until"] > FORGOTTEN:
            row["failures"] = 0
        if row and row["failures"] >= FREE and now < row["until"]:
            raise ToolError(
                Code.RESOURCE_EXHAUSTED,
                "There were too many wrong passwords for this address.",
                "Wait, and try again.",
                retry_after=(row["until"] - now).total_seconds(),
            )
        failures = row["failures"] + 1 if row else 1
        beyond = failures - FREE
        wait = min(FIRST_WAIT * 2 ** min(beyond, 10), LONGEST_WAIT) if beyond >= 0 else timedelta()
        if row:
            self.tries.note(id, failures=failures, until=now + wait)
        else:
            full = len(self.tries.all) >= MOST_TRIES
            row = {"id": id, "failures": failures, "until": now + wait, "created": now}
            await self.tries.put(row)
            if full:
                await self._make_room()

    async def _forget(self, email: str) -> None:
        if (id := _of(email)) in self.tries.all:
            await self.tries.drop(id)

    async def _make_room(self) -> None:
        rows = sorted(self.tries.all.values(), key=lambda row: row["until"])
        await self.tries.drop(*(row["id"] for row in rows[: MOST_TRIES // 10]))

    def _refused(self, what: str, row: Row | None) -> ToolError:
        said = {
            "login": "The email address or the password is wrong.",
            "password": "The old password is wrong.",
            "register": "The invitation is not for this address, was used, or has expired.",
        }
        error = ToolError(Code.UNAUTHENTICATED, said[what], "An operator can invite you (anew).")
        self.note(row["subject"] if row else "unknown", what, error)
        return error


def _of(email: str) -> str:
    return hashlib.sha256(email.strip().casefold().encode(errors="surrogatepass")).hexdigest()
