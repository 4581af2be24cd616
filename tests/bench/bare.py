"""What we are measured against: a server of the SDK with nothing around it, and a bare client.

`python -m tests.bench.bare` serves over stdio; with a kubeconfig and an account to act as, over
HTTP: `python -m tests.bench.bare PORT KUBECONFIG USER`.
"""

import sys
from typing import Any

from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

# Beside the server itself everything is imported where it is used, as we do it.

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
# Pods that no controller made, as far as labels tell.
BARE_PODS = "!pod-template-hash,!controller-revision-hash,!job-name"
KINDS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
    "DaemonSet": "/apis/apps/v1/namespaces/{}/daemonsets",
    "Pod": "/api/v1/namespaces/{}/pods",
}


class Rows(BaseModel):
    """What both tools answer."""

    rows: list[dict[str, Any]]


class Cluster:
    """A kubeconfig's cluster by plain HTTP, with the client that is the quickest for it."""

    def __init__(self, kubeconfig: str, user: str = "") -> None:
        self.kubeconfig = kubeconfig
        self.user = user
        self.url = ""
        self.session: Any = None

    async def connect(self) -> None:
        import aiohttp
        from kubernetes.aio.client import Configuration
        from kubernetes.aio.client.rest import RESTClientObject
        from kubernetes.aio.config import load_kube_config

        known = type.__call__(Configuration)
        await load_kube_config(config_file=self.kubeconfig, client_configuration=known)
        token = await known.get_api_key_with_prefix("BearerToken", alias="authorization")
        headers = {"Authorization": token} if token else {}
        if self.user:
            headers["Impersonate-User"] = self.user
        connector = aiohttp.TCPConnector(ssl=RESTClientObject(known).ssl_context, limit=128)
        self.session = aiohttp.ClientSession(connector=connector, headers=headers)
        self.url = known.host.rstrip("/")

    async def request(
        self, method: str, path: str, *, accept: str = "application/json", **how: Any
    ) -> Any:
        import json

        headers = {"Accept": accept, **how.pop("headers", {})}
        async with self.session.request(method, self.url + path, headers=headers, **how) as answer:
            content = await answer.read()
            answer.raise_for_status()
        return json.loads(content)

    async def table(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        """The rows of a kind, each by the columns' names."""
        query = {"includeObject": "None", **query}
        found = await self.request("GET", path, accept=TABLE, params=query)
        names = [column["name"].lower() for column in found["columnDefinitions"]]
        return [dict(zip(names, row["cells"], strict=True)) for row in found["rows"]]

    async def close(self) -> None:
        await self.session.close()


def stdio_server() -> MCPServer:
    """Two tools, and nothing else."""
    server = MCPServer("bare")

    @server.tool()
    async def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    async def echo(text: str) -> str:
        """Say it again."""
        return text

    return server


def http_server(cluster: Cluster) -> MCPServer:
    """The two reads that we are measured by, each with the requests that ours makes."""
    server = MCPServer("bare", log_level="WARNING")

    @server.tool()
    async def resource_list(tenant: str, kind: str, limit: int = 50) -> Rows:
        """List the objects of a kind, as the API server tables them."""
        path = KINDS[kind].format(tenant)
        return Rows(rows=await cluster.table(path, {"limit": str(limit)}))

    @server.tool()
    async def workload_list(tenant: str) -> Rows:
        """List Deployments, StatefulSets, DaemonSets and bare pods."""
        import asyncio

        async def of(kind: str) -> list[dict[str, Any]]:
            query = {"limit": "500", "resourceVersion": "0"}
            if kind == "Pod":
                query["labelSelector"] = BARE_PODS
            rows = await cluster.table(KINDS[kind].format(tenant), query)
            return [{"kind": kind, **row} for row in rows]

        found = await asyncio.gather(*map(of, KINDS))
        return Rows(rows=[row for rows in found for row in rows])

    return server


async def serve(port: int, cluster: Cluster) -> None:
    import uvicorn

    await cluster.connect()
    app = http_server(cluster).streamable_http_app(stateless_http=True)
    config = uvicorn.Config(app, port=port, access_log=False, log_level="warning", ws="none")
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    if sys.argv[1:]:
        import asyncio

        asyncio.run(serve(int(sys.argv[1]), Cluster(*sys.argv[2:])))
    else:
        stdio_server().run()
