"""Announcements, posted to a receiver on this machine's loopback."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from server.announce import MOST_HELD, TRIES, Announcer, message
from server.records import Call
from server.settings import load
from tests.conftest import Kube, reached
from tests.house import AGENT, OLIVIA, opened, settings
from tests.lodging import deployment, with_bucket
from tools.calls import Caller, State
from tools.errors import ToolError
from tools.plan import Difference, Plan, Preview, Undo


@dataclass
class Receiver:
    """Answers each post with the next of `says`, and then always with 200; None is no answer."""

    url: str = ""
    says: list[int | None] = field(default_factory=list)
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.posts.append((dict(request.headers), await request.read()))
        self.came.set()
        status = self.says.pop(0) if self.says else 200
        if status is None:
            await asyncio.sleep(60)
        return web.Response(status=status or 200, headers={"location": "/elsewhere"})

    async def told(self, number: int) -> list[dict[str, Any]]:
        """What was posted, once so much was."""
        async with asyncio.timeout(20):
            while len(self.posts) < number:
                self.came.clear()
                await self.came.wait()
        return [json.loads(body) for _, body in self.posts]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def announcer(receiver: Receiver) -> AsyncIterator[Announcer]:
    announcer = Announcer(receiver.url, b"key", first_pause_s=0.001)
    announcer.start()
    yield announcer
    await announcer.stop()


def call(id: str = "c1", state: State = State.AWAITING_APPROVAL) -> Call:
    now = datetime.now(UTC)
    diff = [Difference(path="env[DB_PASSWORD].value", before="hunter2", after="hunter3")]
    preview = Preview(id="x", title="t", verb="update", how="server", undo=Undo.EXACT, diff=diff)
    return Call(
        id=id,
        created=now,
        updated=now,
        state=state,
        tool="workload_delete",
        arguments={"tenant": "acme", "token": "s3cret"},
        caller=Caller.of("ann"),
        plan=Plan.of("Delete web", []),
        previews=[preview],
        why="It deletes.",
    )


def signature(key: bytes, headers: dict[str, str], body: bytes) -> str:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


async def test_what_is_posted_is_signed_and_without_secrets(
    receiver: Receiver, announcer: Announcer
) -> None:
    announcer.announce(call())
    (told,) = await receiver.told(1)
    headers, body = receiver.posts[0]
    assert headers["webhook-signature"] == signature(b"key", headers, body)
    assert headers["webhook-id"] == "c1.awaiting_approval"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert (told["type"], told["data"]["id"]) == ("call.waiting", "c1")
    assert told["data"]["outcome"]["why"] == "It deletes."
    for secret in (b"hunter", b"s3cret"):
        assert secret not in body


def test_a_key_is_text_or_as_the_specification_writes_it() -> None:
    for secret in ("whsec_" + base64.b64encode(b"key of 24 bytes").decode(), "key of 24 bytes"):
        assert load(webhook={"secret": secret}).webhook.key == b"key of 24 bytes"


@pytest.mark.parametrize("secret", ["whsec_", "whsec_é", "whsec_a"])
def test_a_key_that_is_none_is_refused_at_start(secret: str) -> None:
    with pytest.raises(ToolError, match=r"webhook\.secret"):
        load(webhook={"secret": secret})


@pytest.mark.parametrize("url", ["hook", "ftp://x/", "http://", "http:///hook", "http://[::1"])
def test_an_address_that_is_none_is_refused_at_start(url: str) -> None:
    with pytest.raises(ToolError, match=r"webhook\.url"):
        load(webhook={"url": url})


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_what_the_receiver_could_not_take_is_posted_again_under_the_same_id(
    receiver: Receiver, announcer: Announcer, status: int
) -> None:
    receiver.says = [status, status]
    announcer.announce(call())
    await receiver.told(3)
    assert len({headers["webhook-id"] for headers, _ in receiver.posts}) == 1


async def test_posting_again_has_an_end_and_the_next_is_posted(
    receiver: Receiver, announcer: Announcer
) -> None:
    receiver.says = [500] * TRIES
    announcer.announce(call("first"))
    announcer.announce(call("second", State.SUCCEEDED))
    told = await receiver.told(TRIES + 1)
    assert [t["data"]["id"] for t in told] == ["first"] * TRIES + ["second"]
    assert told[-1]["type"] == "call.ended"


@pytest.mark.parametrize("status", [302, 400, 401, 404, 410])
async def test_what_the_receiver_refuses_is_posted_once(
    receiver: Receiver, announcer: Announcer, status: int
) -> None:
    receiver.says = [status]
    announcer.announce(call("first"))
    announcer.announce(call("second"))
    told = await receiver.told(2)
    assert [t["data"]["id"] for t in told] == ["first", "second"]


async def test_who_announces_waits_for_nobody_however_many_there_are(receiver: Receiver) -> None:
    receiver.says = [None] * 10
    announcer = Announcer(receiver.url)
    announcer.start()
    for n in range(MOST_HELD + 10):
        announcer.announce(call(f"c{n}"))
    await receiver.told(1)
    async with asyncio.timeout(5):
        await announcer.stop(grace_s=0.1)


def test_a_message_says_what_happened() -> None:
    assert json.loads(message(call()))["type"] == "call.waiting"
    assert json.loads(message(call(state=State.STUCK)))["type"] == "call.ended"


# ---- from a whole Pilothouse


@pytest.fixture
async def kube(practice: Any, tmp_path: Path) -> AsyncIterator[Kube]:
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    async with reached(str(tmp_path / "kubeconfig")) as kube:
        yield kube


async def test_a_waiting_call_is_announced_and_so_is_its_end(
    receiver: Receiver, kube: Kube, aws: Any, moto_url: str, tmp_path: Path
) -> None:
    hook = {"url": receiver.url, "secret": "key"}
    async with opened(settings(tmp_path, kube.kubeconfig, moto_url, webhook=hook)) as house:
        name = f"t-{tmp_path.name[-6:].strip('_').lower().replace('_', '-')}x"
        created = await house.done("tenant_create", name=name)
        await house.done("resource_apply", tenant=name, manifest=deployment(replicas=1))
        waits = await house.call(AGENT, "workload_scale", tenant=name, name="web", replicas=2)
        assert waits.state is State.AWAITING_CONFIRMATION
        await house.call(OLIVIA, "call_confirm", id=waits.call_id)
        told = await receiver.told(5)
    await kube.api.request("DELETE", f"/api/v1/namespaces/{name}")
    by_call = [(t["data"]["id"], t["type"]) for t in told]
    assert by_call.index((created.call_id, "call.waiting")) == 0
    assert (waits.call_id, "call.waiting") in by_call
    assert by_call[-1] == (waits.call_id, "call.ended")
    (waiting,) = [
        t["data"] for t in told if (t["data"]["id"], t["type"]) == (waits.call_id, "call.waiting")
    ]
    assert (waiting["requester"], waiting["person"]) == ("olivia-agent", "olivia")
    assert waiting["outcome"]["changes"][0]["diff"][0]["after"] == 2
    assert waiting["outcome"]["expires"]
    assert waits.call_id in waiting["outcome"]["next"]


@pytest.mark.parametrize("hook", ["http://127.0.0.1:1/", "hangs"])
async def test_a_receiver_that_is_away_holds_up_no_call(
    receiver: Receiver, kube: Kube, aws: Any, moto_url: str, tmp_path: Path, hook: str
) -> None:
    receiver.says = [None] * 100
    there = {"url": receiver.url if hook == "hangs" else hook}
    async with asyncio.timeout(30):
        async with opened(settings(tmp_path, kube.kubeconfig, moto_url, webhook=there)) as house:
            await with_bucket(house)
            for n in range(3):
                outcome = await house.call(OLIVIA, "tenant_create", name=f"t-away-{n}")
                assert outcome.state is State.AWAITING_APPROVAL
                rejected = await house.call(OLIVIA, "call_reject", id=outcome.call_id, reason="no")
                assert rejected.state is State.CANCELLED
