"""A read through the gate over MCP, against the SDK's server with the same tool and requests."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.bench.measuring import Figure, Go, in_turns, medians, rate, ratio, timed
from tests.bench.processes import World, applied, bare_server

PAIRS, CALLS = 25, 20
CALLERS, ROUNDS, CALLS_OF_EACH = 32, 15, 5
WORKLOADS = 6
READY_S = 30.0
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Client:
    """As lean a client of MCP as there can be, so that what is measured is the server."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str = "") -> None:
        self.session = session
        self.url = f"{url}/mcp"
        self.headers = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "MCP-Protocol-Version": VERSION,
            "Mcp-Method": "tools/call",
        }
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    async def call(self, tool: str, **arguments: Any) -> bytes:
        params = {"name": tool, "arguments": arguments, "_meta": META}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = self.headers | {"Mcp-Name": tool}
        async with self.session.post(self.url, json=message, headers=headers) as answer:
            content = await answer.read()
        if answer.status != 200 or b'"isError":false' not in content:
            raise RuntimeError(f"{tool} answered {answer.status}: {content[:500]!r}")
        return content


async def reads(here: World) -> list[Figure]:
    """Over MCP and streamable HTTP, asked by an agent with a viewer's token for one tenant, as whose
    ServiceAccount the cluster sees it. Against a server of the SDK without a token, whose tools send
    the same requests (the same table, page size, account) by aiohttp and answer with the rows. The
    client is as lean as can be, so that it is the servers that are compared."""
    tenant = f"{here.mark}-read"
    async with _asked(here, tenant) as (ours, bare):
        figures = []
        for tool, arguments, requests in (
            ("resource_list", {"tenant": tenant, "kind": "Deployment"}, "one request"),
            ("workload_list", {"tenant": tenant}, "four requests side by side"),
        ):
            one, other = [_rows(await c.call(tool, **arguments)) for c in (ours, bare)]
            assert one == other == WORKLOADS, (one, other)
            title = f"`{tool}`, {requests}, {here.name}"
            figures += await _figures(title, ours, bare, tool, arguments)
        return figures


async def _figures(
    title: str, ours: Client, bare: Client, tool: str, arguments: dict[str, Any]
) -> list[Figure]:
    def alone(client: Client) -> Go:
        return timed(lambda: client.call(tool, **arguments))

    def crowd(client: Client) -> Go:
        async def caller() -> None:
            for _ in range(CALLS_OF_EACH):
                await client.call(tool, **arguments)

        return timed(lambda: asyncio.gather(*(caller() for _ in range(CALLERS))))

    singles = await in_turns(alone(ours), alone(bare), PAIRS * CALLS, warm=20)
    at_once = await in_turns(crowd(ours), crowd(bare), ROUNDS)
    return [
        ratio(f"{title}: time of a call", 1.3, medians(singles, CALLS)),
        rate(
            f"{title}: calls in a second of {CALLERS} callers",
            0.7,
            at_once,
            CALLERS * CALLS_OF_EACH,
        ),
    ]


@asynccontextmanager
async def _asked(here: World, tenant: str) -> AsyncIterator[tuple[Client, Client]]:
    """A tenant with a few workloads, and a client of each server that may look at them."""
    await here.call("tenant_create", name=tenant, plan="pro")
    for n in range(WORKLOADS):
        path = f"/apis/apps/v1/namespaces/{tenant}/deployments/web-{n}"
        await applied(here.admin, path, _deployment(f"web-{n}"))
    await _ready(here, tenant)
    token = await here.token(
        here.operator, "copilot", person="olivia", agent=True, tenants={tenant: "viewer"}
    )
    user = f"system:serviceaccount:{tenant}:pilothouse-viewer"
    connector = aiohttp.TCPConnector(limit=2 * CALLERS)
    with bare_server(here, user) as url:
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Client(session, here.url, token), Client(session, url)


async def _ready(here: World, tenant: str) -> None:
    """A workload that is not ready is looked into, which would be more requests."""
    async with asyncio.timeout(READY_S):
        while True:
            path = f"/apis/apps/v1/namespaces/{tenant}/deployments"
            found = (await here.admin.request("GET", path))["items"]
            if all(d["status"].get("readyReplicas") == d["spec"]["replicas"] for d in found):
                return
            await asyncio.sleep(0.1)


def _deployment(name: str) -> dict[str, Any]:
    marks = {"app": name}
    main = {"name": "main", "image": "registry.k8s.io/pause:3.10"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": marks},
            "template": {"metadata": {"labels": marks}, "spec": {"containers": [main]}},
        },
    }


def _rows(content: bytes) -> int:
    found = json.loads(content)["result"]["structuredContent"]
    return len(found.get("rows") or found["workloads"])
