"""One request of somebody who signed in: what they may be shown, and what they sent."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from chatops.conversation import Conversations
from server.admission import Fate
from server.doors.web.sessions import Sessions
from server.identity.code_flow import CodeFlow
from server.identity.signing_in import SignIn
from tools.calls import Caller, Gate, Outcome, Problem, Role
from tools.errors import Code, ToolError

# A section that has not answered by then says so, and the page is shown.
SECTION_S = 8.0
MOST_WAITING = 200


@dataclass
class Web:
    """What the door is handed, and what it remembers. `who` gives the caller of a token, `foresee`
    what would become of a call (of whom, of which tool, in which tenant, standing for which tool);
    `health` is the last that was heard of it; `sign_in` and `code_flow` let in who has a password,
    or an identity provider."""

    gate: Gate
    who: Callable[[str], Awaitable[Caller | None]]
    foresee: Callable[[Caller, str, str, str], Fate]
    sessions: Sessions
    version: str
    plans: tuple[str, ...] = ()
    conversations: Conversations | None = None
    health: dict[str, Any] = field(default_factory=dict)
    sign_in: SignIn | None = None
    code_flow: CodeFlow | None = None


class Form:
    """What was sent. Of a name that stands there twice the last counts: a button comes after what
    its form says without it."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def one(self, name: str) -> str:
        return next((value for given, value in reversed(self.pairs) if given == name), "")

    def every(self, name: str) -> list[str]:
        return [value for given, value in self.pairs if given == name]

    def arguments(self) -> dict[str, str]:
        return {name[2:]: v for name, v in self.pairs if name.startswith("a.") and v != ""}


@dataclass
class Found:
    """What a read answered, or why it did not."""

    answer: dict[str, Any] = field(default_factory=dict)
    error: Problem | None = None


def decides(call: Mapping[str, Any]) -> bool:
    """Does it wait for the one who looks?"""
    return bool({"approve", "confirm"} & set(call.get("may", ())))


@dataclass
class Visit:
    """`form` is what was sent; `refused` and `previewed` are what came of it, for its page to
    show."""

    web: Web
    request: Request
    caller: Caller
    form: Form = field(default_factory=lambda: Form([]))
    refused: Problem | None = None
    previewed: Outcome | None = None
    forms: set[str] = field(default_factory=set)  # those that the page turned out to have
    _waiting: Found | None = None

    async def read(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """What a read answers. Raises `ToolError`."""
        given = {name: value for name, value in arguments.items() if value not in ("", None)}
        outcome = await self.web.gate.call(self.caller, tool, given)
        if error := outcome.error:
            raise ToolError(error.code, error.message, error.hint)
        return outcome.answer or {}

    async def find(self, tool: str, /, **arguments: Any) -> Found:
        """The same for one section of many, which says itself what went wrong."""
        try:
            async with asyncio.timeout(SECTION_S):
                return Found(await self.read(tool, **arguments))
        except ToolError as error:
            return Found(error=Problem.of(error))
        except TimeoutError:
            late = f"{tool} has not answered within {SECTION_S:g} s."
            hint = "The other parts of this page are up to date; load it again for this one."
            return Found(error=Problem(code=Code.DEADLINE_EXCEEDED, message=late, hint=hint))

    def may(self, tool: str, tenant: str = "", doing: str = "") -> str:
        """Is there a use in showing a button for it, and what would become of it? Empty where the
        policy denies it. The gate is asked again when it is pressed."""
        fate = self.web.foresee(self.caller, tool, tenant, doing)
        return "" if fate == "denied" else fate

    @property
    def tenants(self) -> list[str]:
        """Those of somebody who has not all of them."""
        return sorted(self.caller.grants)

    def query(self, name: str, default: str = "") -> str:
        return self.request.query_params.get(name, default)[:300].strip()

    def typed(self, form: str, name: str, default: Any = "") -> Any:
        """What stands in a field: what was typed, where its form comes back."""
        return self.form.one(name) if self.form.one("form") == form else default

    def has(self, form: str) -> bool:
        """The page has this form; what came of it is said there if it was the one that was sent."""
        self.forms.add(form)
        return True

    def said_at_form(self) -> bool:
        return self.form.one("form") in self.forms

    def key(self) -> str:
        return secrets.token_urlsafe(12)

    async def waiting(self) -> Found:
        """What waits for a decision, what this person may decide first; asked once for a page."""
        if self._waiting is None:
            found = await self.find("call_list", state="waiting", limit=MOST_WAITING)
            found.answer.setdefault("calls", []).sort(key=lambda row: not decides(row))
            self._waiting = found
        return self._waiting

    @property
    def role(self) -> str:
        if self.caller.operator:
            return Role.OPERATOR.value
        return ", ".join(f"{g.role.value} in {t}" for t, g in sorted(self.caller.grants.items()))
