"""A disk that takes no more while a server runs on it, and then does again."""

import asyncio
import json
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx

from tests.house import OLIVIA, opened
from tests.processes import Server
from tests.soak.test_load import Place, served
from tests.soak.test_load import place as place


@contextmanager
def full(server: Server) -> Iterator[None]:
    """No file of the server's can be written: what a full disk is to it, also where nothing may be
    mounted. (The limit says `File too large` in place of `No space left on device`.)"""
    pid = server.process.pid
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


@asynccontextmanager
async def events(server: Server, token: str) -> AsyncIterator[list[Any]]:
    """What is told live of calls, as it comes in."""
    told: list[Any] = []
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as http:
        ready = asyncio.Event()

        async def read() -> None:
            async with http.stream("GET", "/api/v1/events?types=call") as answer:
                ready.set()
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        told.append(json.loads(line.removeprefix("data: ")))

        reading = asyncio.create_task(read())
        await ready.wait()
        yield told
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_a_full_disk_refuses_changes_and_answers_reads_and_is_over_when_there_is_room(
    place: Place,
) -> None:
    olivia, agent = place.tokens["olivia"], place.tokens["olivia-agent"]
    path = f"/apis/apps/v1/namespaces/{place.tenant}/deployments/web"

    async with served(place) as server, events(server, olivia) as told:

        async def scale(token: str, replicas: int) -> Any:
            about = {"tenant": place.tenant, "name": "web", "replicas": replicas}
            return await server.call(token, "workload_scale", **about)

        async def replicas() -> int:
            return int((await place.kube.api.get(path))["spec"]["replicas"])

        before = await scale(olivia, 1)
        assert before["state"] == "succeeded", before
        waiting = await scale(agent, 3)
        with full(server):
            for refused in (
                await scale(olivia, 2),
                await server.call(olivia, "call_confirm", id=waiting["call_id"]),
            ):
                assert refused["status"] == 503, refused
                assert "Nothing can be recorded: the disk of the state is full" in refused["detail"]
                assert "Make room" in refused["hint"]
            assert await replicas() == 1
            for tool in ("workload_list", "call_list", "tenant_get", "audit_list"):
                about = {} if tool in ("call_list", "audit_list") else {"tenant": place.tenant}
                answer = await server.call(olivia, tool, **about)
                assert answer["state"] == "succeeded", answer
        after = await server.call(olivia, "call_confirm", id=waiting["call_id"])
        assert after["state"] == "succeeded", after
        assert await replicas() == 3
        async with asyncio.timeout(10):
            while not any(e["id"] == after["call_id"] and e["state"] == "succeeded" for e in told):
                await asyncio.sleep(0.01)
        trail = await server.call(olivia, "audit_list", limit=50)
        on_record = {(line["tool"], line["state"]) for line in trail["answer"]["lines"]}
        assert {("workload_list", "succeeded"), ("workload_scale", "failed")} <= on_record
        assert "Traceback" not in "".join(server.said)
        server.process.send_signal(signal.SIGKILL)
        await server.process.wait()
    async with opened(place.settings) as house:
        for outcome in (before, after):
            assert (await house.state(outcome["call_id"])).value == "succeeded"
        verified = await house.call(OLIVIA, "audit_verify")
        assert verified.answer is not None
        assert verified.answer["faults"] == []
