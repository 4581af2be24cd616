"""The conversation over REST: a real server and client, and a stand-in for Claude."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chatops.agent import Agent
from chatops.claude import Model
from server.doors.http import Guard
from server.doors.rest import Inside, rest_app
from server.serving import listen, served
from tests.chatops.anthropic_server import (
    Answer,
    AnthropicServer,
    Refusal,
    anthropic_server,
    says,
    uses,
)
from tests.chatops.talking import ANN, BOB, GET, SCALE, Scripted, memory, talking
from tools.calls import Caller, Outcome, State

pytestmark = pytest.mark.asyncio(loop_scope="module")
PEOPLE = {"of-ann": ANN, "of-bob": BOB}


class Door:
    def __init__(self, url: str, gate: Scripted, claude: AnthropicServer, inside: Inside) -> None:
        self.url, self.gate, self.claude, self.inside = url, gate, claude, inside

    def client(self, token: str = "of-ann") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door() -> AsyncIterator[Door]:
    async def who(token: str, door: str, tool: str) -> Caller | None:
        return PEOPLE.get(token)

    async def nothing() -> Any:
        return {}

    gate = Scripted()
    async with anthropic_server() as claude:
        agent = talking(gate, claude).agent
        inside = Inside(gate, who, nothing, nothing, "1", conversations=agent)
        listener = listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = Guard(rest_app(inside), hosts=("127.0.0.1",), origins=(), most_body=1 << 20)
        async with served(app, listener, 1):
            yield Door(url, gate, claude, inside)
        await agent.stop()


async def test_a_message_gets_an_answer_and_the_conversation_goes_on(door: Door) -> None:
    door.claude.play(uses(GET), says("Acme is fine."), says("It still is."))
    async with door.client() as client:
        first = await client.post("/api/v1/chat", json={"message": "How is acme?", "context": ""})
        assert first.status_code == 200
        body = first.json()
        assert body["text"] == "Acme is fine."
        assert body["calls"][0]["tool"] == "tenant_get"
        assert body["spent"]["calls"] == 1
        assert body["configuration"] == []
        again = {"message": "And now?", "conversation": body["conversation"]}
        assert (await client.post("/api/v1/chat", json=again)).json()["text"] == "It still is."
        shown = (await client.get(f"/api/v1/chat/{body['conversation']}")).json()
    assert [turn["message"] for turn in shown["turns"]] == ["How is acme?", "And now?"]


async def test_it_streams_text_and_tool_calls_as_they_come(door: Door) -> None:
    held = asyncio.Event()
    door.claude.play(uses(GET, text="I look."), Answer("It is fine.", hold=held))
    seen: list[dict[str, Any]] = []
    async with (
        door.client() as client,
        client.stream(
            "POST", "/api/v1/chat", json={"message": "Hi"}, headers={"Accept": "text/event-stream"}
        ) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
                if "fine" in seen[-1].get("text", ""):
                    held.set()  # it came before the model was done
    kinds = list(dict.fromkeys(event["type"] for event in seen))
    assert kinds == ["begun", "text", "calling", "called", "done"]
    assert seen[-1]["reply"]["text"] == "I look.\n\nIt is fine."


@pytest.mark.parametrize("stream", [False, True], ids=["JSON", "events"])
async def test_who_hangs_up_ends_the_turn(door: Door, stream: bool) -> None:
    door.claude.play(uses(GET))
    door.gate.go, door.gate.started = asyncio.Event(), asyncio.Event()
    headers = {"Accept": "text/event-stream"} if stream else {}
    async with door.client() as client:
        asking = asyncio.create_task(
            client.post("/api/v1/chat", json={"message": "Hi"}, headers=headers)
        )
        await asyncio.wait_for(door.gate.started.wait(), 10)
        asking.cancel()
        await asyncio.wait([asking])
        async with asyncio.timeout(10):
            while door.gate.running:
                await asyncio.sleep(0.01)
    door.gate.go = None


async def test_a_turn_is_cancelled_from_elsewhere(door: Door) -> None:
    door.claude.play(uses(SCALE))
    door.gate.go = asyncio.Event()
    async with (
        door.client() as client,
        client.stream(
            "POST", "/api/v1/chat", json={"message": "Hi"}, headers={"Accept": "text/event-stream"}
        ) as answer,
        aclosing(answer.aiter_lines()) as lines,
    ):
        async for line in lines:
            event = json.loads(line[6:]) if line.startswith("data: ") else {}
            if event.get("type") == "begun":
                path = f"/api/v1/chat/{event['conversation']}/cancel"
            if event.get("type") == "calling":
                async with door.client("of-bob") as bob:
                    assert (await bob.post(path)).status_code == 404
                async with door.client() as ann:
                    assert (await ann.post(path)).json() == {"cancelled": True}
            if event.get("type") == "done":
                assert event["reply"]["stopped"] == "cancelled"
                break
        else:
            raise AssertionError("it did not end")
    door.gate.go = None


async def test_what_waits_is_told_with_how_a_person_goes_on(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Outcome(
        state=State.AWAITING_CONFIRMATION, tool="workload_scale", call_id="3f2", why="an agent",
        next="pilothouse confirm 3f2",
    )  # fmt: skip

    async def call(*_: Any, **__: Any) -> Outcome:
        return waits

    monkeypatch.setattr(door.gate, "call", call)
    door.claude.play(uses(SCALE), says("It waits for you."))
    async with door.client() as client:
        body = (await client.post("/api/v1/chat", json={"message": "scale it"})).json()
    (waiting,) = body["waiting"]
    assert waiting["call_id"] == "3f2"
    assert waiting["next"] == "pilothouse confirm 3f2"


async def test_what_goes_wrong_is_a_problem(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async with door.client() as client:
        for body in ({}, {"message": ""}, {"message": 3}, {"message": "x", "more": 1}):
            answer = await client.post("/api/v1/chat", json=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
        door.claude.play(Refusal(529, "overloaded_error", {"retry-after": "100"}))
        answer = await client.post("/api/v1/chat", json={"message": "Hi"})
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "100"
        assert answer.json()["reply"]["conversation"]
        lost = {"message": "Hi", "conversation": "made-up"}
        assert (await client.post("/api/v1/chat", json=lost)).status_code == 404
        monkeypatch.setattr(
            door.inside, "conversations", Agent(door.gate, Model("m", ""), str, memory())
        )
        answer = await client.post("/api/v1/chat", json={"message": "Hi"})
        assert answer.status_code == 409
        assert "ANTHROPIC_API_KEY" in answer.json()["hint"]
    async with door.client("nobody") as client:
        assert (await client.post("/api/v1/chat", json={"message": "Hi"})).status_code == 401
