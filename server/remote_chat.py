"""A `chatops.house.House` that is a client of a running server, for `pilothouse slack`."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from chatops.conversation import Event, Turn
from chatops.house import Change
from chatops.store import Card
from server.remote import RemoteGate
from tools.alerts import Incident
from tools.calls import Caller, Problem
from tools.errors import Code, ToolError
from tools.holdings import CallRecord

if TYPE_CHECKING:
    import ssl

    import httpx

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
CARDS: TypeAdapter[list[Card]] = TypeAdapter(list[Card])
INCIDENTS: TypeAdapter[list[Incident]] = TypeAdapter(list[Incident])
TALK = "/api/v1/chat"
SILENT_S = 30.0  # a server that follows gives a sign of life three times in this
AWAY = Problem(
    code=Code.UNAVAILABLE,
    message="Pilothouse does not answer at the moment.",
    hint="Try again in a minute. What is decided meanwhile is shown when it is back.",
)


class Linked(Caller):
    """Who a user of chat is. The server is told the user, and finds out by itself who that is."""

    user: str


class ChatGate(RemoteGate):
    """The gate of a server for who is linked in chat. `refused` is set once it lets us in no
    more."""

    def __init__(self, where: str | Path, token: str, tls: "ssl.SSLContext | bool" = True) -> None:
        super().__init__(where, token, "/chat", tls)
        self.refused = asyncio.Event()

    async def ask_house(self, method: str, **given: Any) -> Any:
        """Raises `ToolError`."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = await self._send(
            "POST", f"/house/{method}", headers=headers, json=given, timeout=SILENT_S
        )
        return self._page(answer).get("result")

    async def watch(self) -> AsyncIterator[dict[str, Any]]:
        """What there is to show anew, line by line. Raises `ToolError`."""
        import httpx

        headers = {"Authorization": f"Bearer {self.token}"}
        timeout = httpx.Timeout(SILENT_S)
        try:
            stream = self._connected().stream("GET", "/watch", headers=headers, timeout=timeout)
            async with stream as answer:
                if not answer.is_success:
                    await answer.aread()
                    self._page(answer)
                async for line in answer.aiter_lines():
                    said = dict(json.loads(line))
                    if problem := said.get("error"):
                        raise self._told(Problem.model_validate(problem))
                    yield said
        except httpx.HTTPError as error:
            raise self._unreached(error) from error

    def _headers(self, caller: Caller) -> dict[str, str]:
        assert isinstance(caller, Linked)
        return super()._headers(caller) | {"X-Pilothouse-User": caller.user}

    def _page(self, answer: "httpx.Response") -> dict[str, Any]:
        try:
            return super()._page(answer)
        except ToolError as error:
            raise self._told(Problem.of(error)) from None

    def _told(self, problem: Problem) -> ToolError:
        if problem.code is Code.UNAUTHENTICATED:
            self.refused.set()
        return ToolError(problem.code, problem.message, problem.hint)

    def _unreached(self, error: Exception) -> ToolError:
        if super()._unreached(error).lost:
            return ToolError(
                Code.UNAVAILABLE,
                "Pilothouse went away in the middle of it.",
                "`calls` shows whether it took the call.",
                lost=True,
            )
        return ToolError(AWAY.code, AWAY.message, AWAY.hint)


class RemoteTalks:
    """`chatops.conversation.Conversations` with the agent of a server."""

    def __init__(self, gate: ChatGate) -> None:
        self._gate = gate
        self.ready: Problem | None = AWAY

    async def ask(
        self,
        caller: Caller,
        message: str,
        *,
        conversation: str = "",
        thread: str = "",
        context: str = "",
    ) -> AsyncIterator[Event]:
        said = {"message": message, "conversation": conversation, "thread": thread}
        async for event in self._gate.events(TALK, caller, said | {"context": context}):
            yield EVENT.validate_python(event)

    async def turns(self, caller: Caller, conversation: str) -> Sequence[Turn]:
        found = await self._gate.get(f"{TALK}/{conversation}", caller)
        return TypeAdapter(list[Turn]).validate_python(found["turns"])

    async def cancel(self, caller: Caller, conversation: str) -> bool:
        answer = await self._gate.post(f"{TALK}/{conversation}/cancel", caller)
        return bool(answer["cancelled"])


class RemoteHouse:
    """See `chatops/house.py`."""

    by_email = False  # that would let who has the token say whom to take somebody for

    def __init__(self, where: str | Path, token: str, tls: "ssl.SSLContext | bool" = True) -> None:
        self.gate = ChatGate(where, token, tls)
        self.conversations = RemoteTalks(self.gate)

    async def person(self, user: str) -> Caller | None:
        found = await self.gate.ask_house("person", user=user)
        return found and Linked.model_validate(found | {"user": user})

    async def recognize(self, user: str, email: str) -> Caller | None:
        return None

    async def login(self, user: str, called: str) -> str:
        return str(await self.gate.ask_house("login", user=user, called=called))

    async def logout(self, user: str) -> None:
        await self.gate.ask_house("logout", user=user)

    async def users(self, person: str) -> Sequence[str]:
        return list(await self.gate.ask_house("users", person=person))

    async def bound(self, channel: str) -> str:
        return str(await self.gate.ask_house("bound", channel=channel))

    async def bind(self, user: str, channel: str, tenant: str) -> None:
        await self.gate.ask_house("bind", user=user, channel=channel, tenant=tenant)

    async def channels_of(self, tenant: str) -> Sequence[str]:
        return list(await self.gate.ask_house("channels_of", tenant=tenant))

    async def call(self, id: str) -> CallRecord:
        return CallRecord.model_validate(await self.gate.ask_house("call", id=id))

    async def waiting(self) -> Sequence[str]:
        return list(await self.gate.ask_house("waiting"))

    async def alerts(self) -> Sequence[Incident]:
        return INCIDENTS.validate_python(await self.gate.ask_house("alerts"))

    async def watch(self) -> AsyncIterator[Change]:
        try:
            async for said in self.gate.watch():
                if "listens" in said:
                    missing = said["listens"]
                    self.conversations.ready = missing and Problem.model_validate(missing)
                    yield None
                elif "call" in said:
                    yield str(said["call"])
                elif "alert" in said:
                    yield Incident.model_validate(said["alert"])
        finally:
            self.conversations.ready = AWAY

    async def cards(self, call_id: str = "") -> Sequence[Card]:
        return CARDS.validate_python(await self.gate.ask_house("cards", call_id=call_id))

    async def keep_card(self, card: Card) -> None:
        await self.gate.ask_house("keep_card", card=vars(card))

    async def showed(self, card: Card, shown: str) -> None:
        await self.gate.ask_house("showed", card=vars(card), shown=shown)

    async def close(self) -> None:
        await self.gate.close()
