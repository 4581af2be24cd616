"""A stand-in for the Anthropic API: streams scripted turns, holds requests to the real one's rules.

A script is a list of steps, one for each request in turn. A step is an `Answer`, a `Refusal`, or a
function from the request's body to one of them. When the script is at its end, it says "Done.".
"""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

from aiohttp import web
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
KEY = "key-for-tests"
_numbers = itertools.count(1)


@dataclass
class Answer:
    """`cut` breaks the connection off after so many events; `error` ends the stream with one of
    this type; `hold` lets the rest wait until it is set."""

    text: str = ""
    uses: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stop: str = ""
    cut: int | None = None
    error: str = ""
    hold: asyncio.Event | None = None


@dataclass
class Refusal:
    status: int
    type: str
    headers: dict[str, str] = field(default_factory=lambda: {"retry-after": "0"})


Step: TypeAlias = Answer | Refusal
Scripted: TypeAlias = Step | Callable[[dict[str, Any]], Step]


def says(text: str) -> Answer:
    return Answer(text)


def uses(*calls: tuple[str, dict[str, Any]], text: str = "") -> Answer:
    return Answer(text, list(calls))


class AnthropicServer:
    """`requests` are the bodies that were accepted; `faults` why others were not."""

    def __init__(self) -> None:
        self.url = ""
        self.script: list[Scripted] = []
        self.requests: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self._cache: set[str] = set()

    def play(self, *steps: Scripted) -> None:
        """What comes next, and all that was before forgotten."""
        self.script = list(steps)
        self.requests, self.faults = [], []

    def results(self, request: int = -1) -> list[dict[str, Any]]:
        """The tool results that came with a request."""
        last = self.requests[request]["messages"][-1]["content"]
        return [block for block in last if block["type"] == "tool_result"]

    def told(self) -> str:
        """All that the model was told, as text."""
        return json.dumps([r["messages"] for r in self.requests], ensure_ascii=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if (given or request.headers.get("x-api-key")) != KEY:
            return _refused(401, "authentication_error", "invalid API key")
        if "anthropic-version" not in request.headers:
            return _refused(400, "invalid_request_error", "anthropic-version: header is required")
        body = await request.json()
        if fault := fault_in(body):
            self.faults.append(fault)
            return _refused(400, "invalid_request_error", fault)
        self.requests.append(body)
        step = self.script.pop(0) if self.script else says("Done.")
        step = step(body) if callable(step) else step
        if isinstance(step, Refusal):
            return _refused(step.status, step.type, step.type, step.headers)
        return await self._stream(request, body, step)

    async def _stream(
        self, request: web.Request, body: dict[str, Any], answer: Answer
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for number, event in enumerate(_events(body, answer, self._usage(body))):
            if answer.cut == number:
                assert request.transport
                request.transport.abort()
                return response
            if answer.hold and event["type"] == "content_block_stop":
                await answer.hold.wait()
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
            await response.write(data.encode())
        return response

    def _usage(self, body: dict[str, Any]) -> dict[str, int]:
        """A token is four characters. What stands before a mark is read from the cache when the
        same stood before a mark earlier."""
        whole, marked = "", []
        for block in _blocks(body):
            plain = {k: v for k, v in block.items() if k != "cache_control"}
            whole += json.dumps(plain)
            if "cache_control" in block:
                marked.append(whole)
        cached = max((len(m) for m in marked if m in self._cache), default=0)
        # The real one also finds a longer prefix than is marked now, if it was marked before.
        cached = max((len(m) for m in self._cache if whole.startswith(m)), default=cached)
        written = max((len(m) for m in marked), default=0)
        self._cache.update(marked)
        return {
            "input_tokens": (len(whole) - max(written, cached)) // 4,
            "cache_read_input_tokens": cached // 4,
            "cache_creation_input_tokens": max(0, written - cached) // 4,
            "output_tokens": 1,
        }


@asynccontextmanager
async def anthropic_server() -> AsyncIterator[AnthropicServer]:
    server = AnthropicServer()
    app = web.Application(client_max_size=32 << 20)
    app.router.add_post("/v1/messages", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


def _refused(
    status: int, type: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    body = {"type": "error", "error": {"type": type, "message": message}}
    return web.json_response(body, status=status, headers=headers)


def _events(body: dict[str, Any], answer: Answer, usage: dict[str, int]) -> list[dict[str, Any]]:
    message = {
        "id": f"msg_{next(_numbers):06}", "type": "message", "role": "assistant", "content": [],
        "model": body["model"], "stop_reason": None, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}, {"type": "ping"}]
    size = 0
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if answer.text:
        pieces = [answer.text[i : i + 12] for i in range(0, len(answer.text), 12)]
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for name, given in answer.uses:
        text = json.dumps(given)
        pieces = [text[i : i + 40] for i in range(0, len(text), 40)]
        use = {"type": "tool_use", "id": f"toolu_{next(_numbers):06}", "name": name, "input": {}}
        blocks.append((use, [{"type": "input_json_delta", "partial_json": p} for p in pieces]))
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        for delta in deltas:
            size += len(json.dumps(delta))
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    if answer.error:
        error = {"type": answer.error, "message": "Overloaded"}
        return [*events, {"type": "error", "error": error}]
    stop = answer.stop or ("tool_use" if answer.uses else "end_turn")
    delta = {"stop_reason": stop, "stop_sequence": None}
    end = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": size // 4 + 1}}
    return [*events, end, {"type": "message_stop"}]


# ---- what the real one refuses


def fault_in(body: dict[str, Any]) -> str:
    """Why the real API would answer 400, or empty."""
    checks = (_fields(body), _tools(body), _messages(body), _marks(body))
    return next((fault for fault in checks if fault), "")


def _fields(body: dict[str, Any]) -> str:
    known = {"model", "max_tokens", "messages", "system", "tools", "tool_choice", "stream"}
    if extra := body.keys() - known:
        return f"{sorted(extra)[0]}: Extra inputs are not permitted"
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        return "max_tokens: Input should be greater than or equal to 1"
    if body.get("stream") is not True:
        return "stream: the stand-in streams"
    return ""


def _tools(body: dict[str, Any]) -> str:
    names = [tool["name"] for tool in body.get("tools", [])]
    if len(set(names)) != len(names):
        return "tools: Tool names must be unique."
    return _declared(json.dumps(body.get("tools", [])))


@lru_cache(32)
def _declared(tools: str) -> str:
    """The same are sent with every request."""
    for number, tool in enumerate(json.loads(tools)):
        schema = tool.get("input_schema")
        if not NAME.match(tool["name"]):
            return f"tools.{number}.name: String should match pattern"
        if not isinstance(schema, dict) or schema.get("type") != "object":
            return f"tools.{number}.input_schema.type: Field required"
        if {"oneOf", "allOf", "anyOf"} & schema.keys():
            return f"tools.{number}.input_schema: does not support oneOf at the top level"
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            return f"tools.{number}.input_schema: JSON schema is invalid: {error.message}"
    return ""


def _messages(body: dict[str, Any]) -> str:
    messages = body.get("messages") or []
    if not messages or messages[0]["role"] != "user":
        return "messages: first message must use the user role"
    if messages[-1]["role"] != "user":
        return "This model does not support assistant message prefill."
    seen: set[str] = set()
    open_uses: list[str] = []
    for number, message in enumerate(messages):
        content, role = message["content"], message["role"]
        if not content:
            return f"messages.{number}: content must be non-empty"
        kinds = [block["type"] for block in content]
        results = [b["tool_use_id"] for b in content if b["type"] == "tool_result"]
        if missing := set(open_uses) - set(results):
            return (
                f"messages.{number}: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {sorted(missing)[0]}"
            )
        if unknown := set(results) - set(open_uses):
            return f"messages.{number}: unexpected `tool_use_id` found: {sorted(unknown)[0]}"
        if len(results) != len(set(results)):
            return "each tool_use must have a single result"
        if results and kinds[: len(results)] != ["tool_result"] * len(results):
            return f"messages.{number}: `tool_result` blocks must come first"
        for block in content:
            if block["type"] == "text" and not block["text"].strip():
                return f"messages.{number}: text content blocks must contain non-whitespace text"
        open_uses = [b["id"] for b in content if b["type"] == "tool_use"]
        if open_uses and role != "assistant":
            return f"messages.{number}: `tool_use` blocks can only be in `assistant` messages"
        if seen & set(open_uses):
            return "messages: `tool_use` ids must be unique"
        seen |= set(open_uses)
    return ""


def _marks(body: dict[str, Any]) -> str:
    found = sum("cache_control" in block for block in _blocks(body))
    if found > 4:
        return f"A maximum of 4 blocks with cache_control may be provided. Found {found}."
    return ""


def _blocks(body: dict[str, Any]) -> list[dict[str, Any]]:
    """All that is cached, in its order."""
    messages = [b for m in body["messages"] for b in m["content"]]
    return [*body.get("tools", []), *body.get("system", []), *messages]
