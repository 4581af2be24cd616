"""One way to ask at each door, and one word for what came of it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from server.remote import RemoteGate
from server.remote_chat import ChatGate, Linked
from server.seat import SOCKET
from tools.calls import Caller, Problem
from tools.errors import Code, ToolError
from tools.tool import Effect, Tool

DOORS = ("rest", "socket", "mcp")
NO = frozenset({Code.PERMISSION_DENIED, Code.UNAUTHENTICATED})


@dataclass(frozen=True)
class Said:
    """What a door answered: all of it as text, and in a word."""

    text: str
    code: Code | None = None

    @property
    def word(self) -> str:
        if self.code in NO:
            return "no"
        return "hidden" if self.code is Code.NOT_FOUND else "yes"


Ask = Callable[[Tool, Mapping[str, Any]], Awaitable[Said]]


@asynccontextmanager
async def door(name: str, url: str, state: Path, token: str) -> AsyncIterator[Ask]:
    async with AsyncExitStack() as stack:
        if name == "mcp":
            headers = {"Authorization": f"Bearer {token}"}
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=30))
            transport = streamable_http_client(f"{url}/mcp", http_client=http)
            client = await stack.enter_async_context(Client(transport, mode="2026-07-28"))
            yield _mcp(client)
        elif name == "slack":  # the token is Slack's, and who speaks there has come with a colon
            user, _, token = token.partition(":")
            spoken = ChatGate(url, token)
            stack.push_async_callback(spoken.close)
            yield _remote(spoken, Linked(subject="", person="", user=user, door="slack"))
        else:
            gate = RemoteGate(url if name == "rest" else state / SOCKET, token)
            stack.push_async_callback(gate.close)
            yield _remote(gate, Caller.of("", door="cli"))


def _remote(gate: RemoteGate, caller: Caller) -> Ask:
    async def ask(tool: Tool, arguments: Mapping[str, Any]) -> Said:
        if tool.effect is Effect.STREAM:
            try:
                pieces = [piece async for piece in gate.stream(caller, tool.name, arguments)]
            except ToolError as error:
                return Said(Problem.of(error).model_dump_json(), error.code)
            return Said(json.dumps(pieces))
        preview = tool.effect is Effect.WRITE
        outcome = await gate.call(caller, tool.name, arguments, preview=preview)
        return Said(outcome.model_dump_json(), outcome.error and outcome.error.code)

    return ask


def _mcp(client: Client) -> Ask:
    async def ask(tool: Tool, arguments: Mapping[str, Any]) -> Said:
        preview = {"preview": True} if tool.effect is Effect.WRITE else {}
        try:
            result = await client.call_tool(tool.name, dict(arguments) | preview)
        except MCPError as error:  # not offered to this caller
            return Said(str(error), Code.PERMISSION_DENIED)
        text = "\n".join(part.text for part in result.content)
        text += json.dumps(result.structured_content)
        code = Code(text.partition(":")[0]) if result.is_error else None
        return Said(text, code)

    return ask
