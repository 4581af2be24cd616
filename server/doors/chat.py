"""The door of `pilothouse slack`, where that is a process of its own.

It comes with a token that allows nothing by itself (`token create --slack`). With it, it speaks for
people who are linked in chat, each request naming who speaks there; who that is here, the server
finds out by itself. Beside it are the few things that messages in channels need: see
`chatops/house.py`. docs/chatops.md says what somebody could do who stole such a token.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Any

from pydantic import ValidationError, validate_call
from pydantic_core import to_jsonable_python
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from chatops.store import Short, User
from server.chat import Chat
from server.doors.http import line
from server.doors.rest import chat
from server.doors.rest.calling import NDJSON, body_of, call_tool
from server.doors.rest.inside import Inside, caller_of, token_of
from server.events import Dropped, Event
from server.tls import STATE
from tools.alerts import Incident
from tools.calls import Caller, Problem
from tools.errors import Code, ToolError
from tools.holdings import CallRecord
from tools.tool import catalog

PATH = "/chat"
USER = "x-pilothouse-user"
BEAT_S = 10.0
# What would outlive the token: whoever stole it could make themselves at home.
WITHHELD = frozenset({"tokens", "users", "workspaces", "chat", "account"})
OFFERED = frozenset(tool.group for tool in catalog().values()) - WITHHELD


class ChatDoor:
    """`speaks` says whether a token is one for chat; `afar` lets them come from other machines
    without a certificate."""

    def __init__(
        self,
        inside: Inside,
        house: Chat,
        speaks: Callable[[str], Awaitable[bool]],
        *,
        apart: bool,
        afar: bool,
    ) -> None:
        self._inside = replace(inside, spoken_for=self.spoken_for)
        self._chat = house
        self._speaks = speaks
        self._apart, self._afar = apart, afar
        ours = ("login", "logout", "users", "bound", "bind", "channels_of", "cards", "keep_card",
                "showed")  # fmt: skip
        methods = {name: getattr(house, name) for name in ours}
        methods |= {n: getattr(self, n) for n in ("person", "call", "waiting", "alerts")}
        self._methods = {name: validate_call(method) for name, method in methods.items()}

    def routes(self) -> list[Route]:
        tools, talk = f"{PATH}/api/v1/tools", f"{PATH}/api/v1/chat"
        return [
            Route(f"{PATH}/house/{{method}}", self._house, methods=["POST"]),
            Route(f"{PATH}/watch", self._watch, methods=["GET"]),
            Route(tools, self._tools, methods=["GET"]),
            Route(f"{tools}/{{name}}", partial(call_tool, self._inside), methods=["POST"]),
            Route(talk, partial(chat.ask, self._inside), methods=["POST"]),
            Route(f"{talk}/{{id}}", partial(chat.show, self._inside), methods=["GET"]),
            Route(f"{talk}/{{id}}/cancel", partial(chat.cancel, self._inside), methods=["POST"]),
        ]

    async def spoken_for(self, request: HTTPConnection) -> Caller:
        """Who is linked to the user that is named. Raises `ToolError`."""
        await self._let_in(request)
        found = await self._chat.person(_user(request))
        if found is None:
            raise ToolError(
                Code.PERMISSION_DENIED,
                "Nobody here is linked to that user.",
                "They link themselves with `login`.",
            )
        return _less(found)

    async def _let_in(self, request: HTTPConnection) -> None:
        token = token_of(request)
        if not token or not await self._speaks(token):
            raise ToolError(
                Code.UNAUTHENTICATED,
                "This is no token for `pilothouse slack`, or it is expired or revoked."
                if token
                else "A token for `pilothouse slack` is needed.",
                "An operator makes one with `pilothouse token create --slack`.",
            )
        if not (self._afar or self._inside.local or _near(request)):
            raise ToolError(
                Code.PERMISSION_DENIED,
                "This token is taken from this machine only, or with a client's certificate.",
                "Run `pilothouse slack` beside the server; or set slack.from_afar there.",
            )
        if not self._apart:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "Slack is not run by a process of its own here.",
                "Set slack.apart in the server's settings, and start it again.",
            )

    async def _house(self, request: Request) -> Response:
        await self._let_in(request)
        name = request.path_params["method"]
        if (method := self._methods.get(name)) is None:
            raise ToolError(Code.NOT_FOUND, "Chat has no such method.", "Use the same version.")
        given = await body_of(request)
        try:
            found = await method(**given)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))[:64]
            said = f"{where}: {fault['msg']}."
            raise ToolError(Code.INVALID_ARGUMENT, said, "Use the same version.") from None
        return JSONResponse({"result": to_jsonable_python(found)})

    # ---- the house, as far as a channel or somebody in chat may see it

    async def person(self, user: User) -> Caller | None:
        found = await self._chat.linked(user)
        return found and _less(found)

    async def call(self, id: Short) -> CallRecord:
        found = await self._chat.call(id)
        if not await self._chat.shows(found.id):
            raise ToolError(Code.NOT_FOUND, "There is no such call for chat.", "")
        return found

    async def waiting(self) -> Sequence[str]:
        return [id for id in await self._chat.waiting() if await self._chat.shows(id)]

    async def alerts(self) -> Sequence[Incident]:
        kept = await self._chat.alerts()
        return [one for one in kept if await self._chat.told(one.tenant, one.tenant_uid, "")]

    async def _tools(self, request: Request) -> Response:
        shown = await self._inside.gate.tools(await caller_of(self._inside, request))
        return JSONResponse({"tools": [info.model_dump(mode="json") for info in shown]})

    async def _watch(self, request: Request) -> Response:
        """Line by line what there is to show anew, to one process at a time: two would each post
        it. With each sign of life it is asked anew whether that is still let in."""
        await self._let_in(request)
        if self._chat.followed:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                "Another `pilothouse slack` is connected.",
                "Stop one of them; this one takes over when the other has gone.",
            )
        return StreamingResponse(self._lines(request), media_type=NDJSON)

    async def _lines(self, request: Request) -> AsyncIterator[bytes]:
        if self._chat.followed:
            return
        self._chat.followed = True
        talks = self._chat.conversations.ready
        try:
            watch = self._chat.listen()
            yield line({"listens": talks and talks.model_dump(mode="json")})
            beat = time.monotonic() + BEAT_S
            while True:
                events = await watch.more(max(0.0, beat - time.monotonic()))
                await self._let_in(request)
                for event in [event for event in events if await self._told(event)]:
                    change = await self._chat.change(event)
                    if isinstance(change, str):
                        yield line({"call": change})
                    elif change:
                        yield line({"alert": change.model_dump(mode="json")})
                if time.monotonic() >= beat:
                    beat = time.monotonic() + BEAT_S
                    yield line({})
        except Dropped:
            return
        except ToolError as error:
            yield line({"error": Problem.of(error).model_dump(mode="json")})
        finally:
            self._chat.followed = False

    async def _told(self, event: Event) -> bool:
        return await self._chat.told(event.tenant, event.tenant_uid, event.person)


def _user(request: HTTPConnection) -> str:
    return request.headers.get(USER, "")


def _less(caller: Caller) -> Caller:
    """Without what would outlive the token."""
    offered = OFFERED if caller.toolsets is None else caller.toolsets & OFFERED
    return caller.model_copy(update={"toolsets": offered})


def _near(request: HTTPConnection) -> bool:
    """From this machine and not by way of a proxy, or with a certificate."""
    state: Mapping[str, Any] = request.scope.get("state", {})
    if state.get(STATE):
        return True
    if request.client is None or {"forwarded", "x-forwarded-for"} & {*request.headers.keys()}:
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False
