"""Events of a whole Pilothouse, over its sockets: what is used, what is recommended, and how far
a call is."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server import telling
from server.commands.serving import serving
from server.identity import Identity, new_token
from server.sandbox.prometheus import PracticePrometheus
from server.sandbox.usage import Life
from tests.conftest import Kube
from tests.house import OLIVIA, House, settings
from tests.lodging import deployment
from tools.calls import Role

pytestmark = pytest.mark.parametrize("kube", ["practice"], indirect=True)
TYPES = "call,metrics,recommendation,progress"


@dataclass
class Place:
    house: House
    url: str
    tenant: str
    other: str

    async def token(self, subject: str, **what: Any) -> str:
        token, sha256 = new_token()
        given: dict[str, Any] = {
            "tenants": {}, "operator": False, "agent": False, "person": "", "expires_days": None,
        }  # fmt: skip
        tokens = self.house.app.identity.tokens
        await tokens.create(OLIVIA, sha256=sha256, subject=subject, **given | what)
        return token


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "METRICS_EVERY_S", 0.05)
    monkeypatch.setattr(telling, "PROGRESS_EVERY_S", 0.005)
    monkeypatch.setattr(Identity, "still", lambda self, caller: caller)


@asynccontextmanager
async def opened(tmp_path: Path, kube: Kube, moto_url: str) -> AsyncIterator[Place]:
    """A tenant whose Deployment `web` has asked for ten times what it uses, and another."""
    tenant, other = (f"t-{uuid.uuid4().hex[:8]}" for _ in range(2))
    life = Life(tenant, "Deployment", "web", replicas=1, cpu_request=1.0, memory_request=2.0**30,
                cpu_limit=2.0, memory_limit=2.0**30, cpu=0.1, memory=150e6)  # fmt: skip
    async with AsyncExitStack() as stack:
        prometheus = stack.enter_context(PracticePrometheus([life]))
        there = settings(
            tmp_path, kube.kubeconfig, moto_url, port=0,
            prometheus={"url": prometheus.url, "every_h": 0},
        )  # fmt: skip
        app, url = await stack.enter_async_context(serving(there))
        house = House(app)
        for name in (tenant, other):
            await house.done("tenant_create", name=name, plan="pro")
        await house.done("resource_apply", tenant=tenant, manifest=deployment("web", 1))
        yield Place(house, url, tenant, other)
        for name in (tenant, other):
            await house.done("tenant_delete", tenant=name, objects="delete")


class Heard:
    """What one reader was told, by kind."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def of(self, kind: str) -> list[Any]:
        return [data for one, data in self.events if one == kind]

    def ended(self) -> int:
        return sum(call["state"] == "succeeded" for call in self.of("call"))

    async def stream(self, url: str, token: str) -> None:
        headers = {"authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{url}/api/v1/events?types={TYPES}") as answer,
        ):
            kind = ""
            self.events.append(("hello", None))
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    self.events.append((kind, json.loads(value)))

    async def socket(self, url: str, token: str) -> None:
        headers = {"authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(f"{url}/ws?types={TYPES}") as ws,
        ):
            await ws.send_json({"types": TYPES.split(",")})
            async for message in ws:
                event = message.json()
                self.events.append((event["event"], event["data"]))


async def test_what_is_used_what_is_recommended_and_how_far_a_call_is_reaches_who_may_see_it(
    kube: Kube, aws: Any, moto_url: str, tmp_path: Path, often: None
) -> None:
    operator, vera, stranger = heard = Heard(), Heard(), Heard()
    async with asyncio.timeout(60), opened(tmp_path, kube, moto_url) as place:
        house, url = place.house, place.url
        ways = (
            operator.stream(url, await place.token("root", operator=True)),
            vera.socket(url, await place.token("vera", tenants={place.tenant: Role.VIEWER})),
            stranger.stream(url, await place.token("stranger", tenants={place.other: Role.VIEWER})),
        )
        listening = [asyncio.create_task(way) for way in ways]
        await until(lambda: all(one.of("hello") for one in heard))
        await house.call(OLIVIA, "recommendation_analyze")
        scaled = await house.done("workload_scale", tenant=place.tenant, name="web", replicas=4)
        limits = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"}}
        await house.done("resource_apply", tenant=place.other, manifest=limits)
        await until(lambda: stranger.ended() and vera.ended() and operator.ended() == 2)
        await until(lambda: all(one.of("metrics") for one in (operator, vera)))
        for one in listening:
            one.cancel()
        await asyncio.gather(*listening, return_exceptions=True)

    for one in (operator, vera):
        used = one.of("metrics")[0]
        assert used["tenant"] == place.tenant
        assert used["cpu"] > 0
        assert used["memory"] > 1e6
        advice = one.of("recommendation")[0]
        assert (advice["tenant"], advice["name"], advice["state"]) == (place.tenant, "web", "open")
        advances = [said for said in one.of("progress") if said["id"] == scaled.call_id]
        assert advances
        assert all(said["done"] <= said["of"] == 1 for said in advances)
        assert "web" in advances[0]["message"]
    assert {said["tenant"] for kind, said in stranger.events if said} == {place.other}


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0.01)
