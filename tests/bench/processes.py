"""The servers of the bench, each a process of its own, and a world to measure in."""

import asyncio
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from server.commands.doctor_cluster import cluster_roles
from server.identity import new_token
from server.policy import files
from server.remote import RemoteGate
from server.seat import SOCKET
from tests.bench.bare import Cluster
from tools.calls import Caller, Outcome, State
from tools.errors import ToolError

ROOT = Path(__file__).parents[2]
STARTED_S = 60.0
REGION, BUCKET, OIDC = "eu-west-1", "tenants", "oidc.example/id/bench"
AWS = {"AWS_ACCESS_KEY_ID": "practice", "AWS_SECRET_ACCESS_KEY": "practice"}
PRACTICE_AWS = """
import threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print("http://%s:%s" % server.get_host_and_port(), flush=True)
threading.Event().wait()
"""
# With this an operator waits for nobody, so that no human's time is in what is measured.
AT_ONCE = """
@id("bench-operators-at-once")
permit (principal, action == Action::"unattended", resource)
when { !principal.agent && context.role == "operator" };
"""

UNHURRIED = "calls_per_second = 0\nconcurrent = 0\n"


@contextmanager
def process(*arguments: str, log: Path, **environment: str) -> "Iterator[subprocess.Popen[str]]":
    """Python with these arguments, until it is left. Its first line can be read."""
    with (
        log.open("a") as errors,
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as run,
    ):
        try:
            yield run
        finally:
            run.terminate()
            try:
                run.wait(15)
            except subprocess.TimeoutExpired:
                run.kill()


def first_line(run: "subprocess.Popen[str]", log: Path) -> str:
    assert run.stdout is not None
    line = run.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"a server did not start: {log.read_text()[-2000:]}")
    return line


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def practice_cluster(home: Path, name: str = "practice") -> Iterator[str]:
    """A practice cluster; its kubeconfig."""
    kubeconfig, log = home / f"{name}.kubeconfig", home / f"{name}.log"
    with process("-m", "server.sandbox", "--kubeconfig", str(kubeconfig), log=log) as run:
        first_line(run, log)
        yield str(kubeconfig)


@contextmanager
def practice_aws(home: Path) -> Iterator[str]:
    log = home / "aws.log"
    with process("-c", PRACTICE_AWS, log=log, **AWS) as run:
        yield first_line(run, log)


@dataclass
class World:
    """A cluster, an account, Pilothouse over both, and what tenants are to be called here."""

    name: str
    home: Path
    kubeconfig: str
    aws_url: str
    admin: Cluster
    url: str = ""
    operator: RemoteGate = field(default_factory=lambda: RemoteGate(""))
    mark: str = field(default_factory=lambda: f"bench-{uuid.uuid4().hex[:6]}")

    async def call(self, tool: str, **arguments: Any) -> Outcome:
        """By an operator whom nobody has to approve."""
        outcome = await self.operator.call(Caller.of(""), tool, arguments, wait_s=60)
        assert outcome.state is State.SUCCEEDED, outcome
        return outcome

    async def token(self, by: RemoteGate, subject: str, **what: Any) -> str:
        token, sha256 = new_token()
        made = await by.call(
            Caller.of("", door="cli"),
            "token_create",
            {"sha256": sha256, "subject": subject, **what},
        )
        assert made.state is State.SUCCEEDED, made
        return token


@asynccontextmanager
async def world(home: Path, kubeconfig: str = "") -> AsyncIterator[World]:
    """The practice world, or the cluster of a kubeconfig; what was made there goes at the end."""
    home.mkdir()
    os.environ.update(AWS)
    async with AsyncExitStack() as stack:
        name = "real API server" if kubeconfig else "practice cluster"
        kubeconfig = kubeconfig or stack.enter_context(practice_cluster(home))
        aws_url = stack.enter_context(practice_aws(home))
        admin = Cluster(kubeconfig)
        await admin.connect()
        stack.push_async_callback(admin.close)
        here = World(name, home, kubeconfig, aws_url, admin)
        await _furnish(here)
        stack.push_async_callback(_clear, here)
        await stack.enter_async_context(_served(here))
        yield here


async def _furnish(here: World) -> None:
    for role in (r for r in cluster_roles() if r["kind"] == "ClusterRole"):
        path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role['metadata']['name']}"
        await applied(here.admin, path, role)
    session = boto3.Session(region_name=REGION)
    s3, iam = (session.client(service, endpoint_url=here.aws_url) for service in ("s3", "iam"))
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    iam.create_open_id_connect_provider(Url=f"https://{OIDC}", ThumbprintList=["0" * 40])


async def applied(cluster: Cluster, path: str, body: dict[str, Any]) -> Any:
    """An object, applied by the bare client; its path says its name."""
    name = path.removesuffix("/status").rpartition("/")[2]
    body = body | {"metadata": {"name": name} | body.get("metadata", {})}
    return await cluster.request(
        "PATCH",
        path,
        params={"fieldManager": "bench", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        json=body,
    )


async def _clear(here: World) -> None:
    found = await here.admin.request("GET", "/api/v1/namespaces")
    for item in found["items"]:
        name = item["metadata"]["name"]
        if name.startswith(here.mark):
            await here.admin.request("DELETE", f"/api/v1/namespaces/{name}")


@asynccontextmanager
async def _served(here: World) -> AsyncIterator[None]:
    """`pilothouse serve`, and an operator of it, who may ask as often as they like."""
    async with another(here, "state", UNHURRIED) as (url, operator):
        here.url, here.operator = url, operator
        yield


@asynccontextmanager
async def another(here: World, name: str, limits: str) -> AsyncIterator[tuple[str, RemoteGate]]:
    """One more `pilothouse serve` over this world, and an operator of it."""
    state, port, log = here.home / name, free_port(), here.home / f"{name}.log"
    state.mkdir()
    policy = state / "policy.cedar"
    policy.write_text(files("server").joinpath("policy.cedar").read_text() + AT_ONCE)
    (state / "pilothouse.toml").write_text(
        f'kubeconfig = "{here.kubeconfig}"\nport = {port}\npolicy = "{policy}"\n'
        f'[aws]\nregion = "{REGION}"\nbucket = "{BUCKET}"\nendpoint = "{here.aws_url}"\n'
        f'oidc_provider = "{OIDC}"\n[limits]\ngrace_s = 1\n{limits}'
    )
    with process("-m", "server.start", "serve", "--state", str(state), log=log, **AWS):
        socket_gate = RemoteGate(state / SOCKET)
        await _answers(socket_gate, log)
        token = await here.token(socket_gate, "olivia", operator=True)
        await socket_gate.close()
        url = f"http://127.0.0.1:{port}"
        operator = RemoteGate(url, token)
        yield url, operator
        await operator.close()


async def _answers(gate: RemoteGate, log: Path) -> None:
    end = time.monotonic() + STARTED_S
    while True:
        try:
            await gate.get("/local")
            return
        except ToolError:
            if time.monotonic() > end:
                raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}") from None
        await asyncio.sleep(0.05)


@contextmanager
def bare_server(here: World, user: str) -> Iterator[str]:
    """The SDK's server over HTTP, acting as this ServiceAccount; its URL."""
    port, log = free_port(), here.home / "bare.log"
    with process("-m", "tests.bench.bare", str(port), here.kubeconfig, user, log=log):
        end = time.monotonic() + STARTED_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise RuntimeError(f"it did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
