"""One request of somebody who signed in: what they may be shown, and what they sent."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from chatops.conversation import Conversations
from server.doors.web.sessions import Sessions
from server.identity.code_flow import CodeFlow
from server.identity.signing_in import SignIn
from tools.calls import Caller, Gate, Outcome, Problem, Role
from tools.errors import Code, ToolError
from tools.tool import catalog

# A section that has not answered by then says so, and the page is shown.
SECTION_S = 8.0
MOST_WAITING = 100


@dataclass
class Web:
    """What the door is handed, and what it remembers. `who` gives the caller of a token, `health`
    is the last that was heard of it; `sign_in` and `code_flow` let in who has a password, or an
    identity provider."""

    gate: Gate
    who: Callable[[str], Awaitable[Caller | None]]
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


@dataclass
class Visit:
    """`shown` are the tools that the caller may be shown. `form` is what was sent; `refused` and
    `previewed` are what came of it, for its page to show."""

    web: Web
    request: Request
    caller: Caller
    shown: frozenset[str]
    form: Form = field(default_factory=lambda: Form([]))
    refused: Problem | None = None
    previewed: Outcome | None = None

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

    def may(self, tool: str, tenant: str = "") -> bool:
        """Is there a use in showing a button for it? The gate is asked again when it is pressed."""
        if tool not in self.shown:
            return False
        if not tenant or self.caller.operator:
            return True
        grant = self.caller.grants.get(tenant)
        return bool(grant and grant.role.covers(catalog()[tool].role))

    @property
    def tenants(self) -> list[str]:
        """Those of somebody who has not all of them."""
        return sorted(self.caller.grants)

    def query(self, name: str, default: str = "") -> str:
        return self.request.query_params.get(name, default)[:300].strip()

    def typed(self, form: str, name: str, default: Any = "") -> Any:
        """What stands in a field: what was typed, where its form comes back."""
        return self.form.one(name) if self.form.one("form") == form else default

    def at_form(self) -> bool:
        """Does the form that was sent stand on its page, to say there what came of it?"""
        sent = self.form
        return bool(sent.one("form")) and self.may(sent.one("tool"), sent.one("a.tenant"))

    def key(self) -> str:
        return secrets.token_urlsafe(12)

    async def waiting(self) -> int:
        found = await self.find("call_list", state="waiting", limit=MOST_WAITING)
        return len(found.answer.get("calls", ()))

    @property
    def role(self) -> str:
        if self.caller.operator:
            return Role.OPERATOR.value
        return ", ".join(f"{g.role.value} in {t}" for t, g in sorted(self.caller.grants.items()))
