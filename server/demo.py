"""`pilothouse demo`: a practice cluster, a practice AWS and a small world, to try everything on."""

import asyncio
import json
import os
import shlex
import shutil
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.panel import Panel
from rich.syntax import Syntax

from server.commands.running import INTERRUPTED, must_have
from server.commands.show import err, out
from server.demo_world import EC2, RDS, TENANTS, manifests
from tools.calls import Caller, State
from tools.errors import Code, ToolError
from tools.provisioning import TENANT

if TYPE_CHECKING:
    from server.app import App
    from server.sandbox import PracticeCluster
    from server.settings import Settings

REGION, BUCKET = "eu-west-1", "pilothouse-tenants"
OIDC = "oidc.practice.example/id/demo"
# Whatever credentials are lying about are not for a practice AWS to see.
AWS = {"AWS_ACCESS_KEY_ID": "practice", "AWS_SECRET_ACCESS_KEY": "practice"}
NOT_AWS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL")

# Who there is: what each token is for, and what it allows.
PEOPLE: Mapping[str, tuple[str, dict[str, Any]]] = {
    "olivia": ("an operator, who asks", {"operator": True}),
    "oscar": ("an operator, who approves", {"operator": True}),
    "ada": ("admin of acme", {"tenants": {"acme": "admin"}}),
    "vera": ("viewer in acme", {"tenants": {"acme": "viewer"}}),
    "copilot": (
        "an agent that acts for olivia",
        {"operator": True, "agent": True, "person": "olivia"},
    ),
}


@dataclass
class Demo:
    """A running demo."""

    url: str
    settings: "Settings"
    tokens: dict[str, str]
    app: "App"


async def demo(port: int, state: Path | None) -> int:
    """Until Ctrl-C, which counts while it is starting too."""
    from server.commands.serving import stop_signals

    stop = stop_signals()
    shown = asyncio.create_task(_show(port, state, stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((shown, stopping), return_when=asyncio.FIRST_COMPLETED)
    err.print("Stopping …" if stop.is_set() else "", style="dim")
    with suppress(asyncio.CancelledError):
        return await shown
    return INTERRUPTED


async def _show(port: int, state: Path | None, stop: asyncio.Event) -> int:
    from server.commands.serving import cancelled_at

    status = err.status("Starting a practice cluster and a practice AWS …")
    starting = cancelled_at(stop)
    with status:
        async with running(port, state) as demo:
            starting.cancel()
            status.stop()
            welcome(demo, kept=state is not None)
            await stop.wait()
    return 0


@asynccontextmanager
async def running(port: int = 8000, state: Path | None = None) -> AsyncIterator[Demo]:
    """The demo while it is entered. A state of its own is removed at the end."""
    from server.commands.serving import serving
    from server.demo_usage import lives
    from server.logs import set_up
    from server.sandbox import PracticeCluster
    from server.sandbox.prometheus import PracticePrometheus
    from server.serving import listen

    listen("127.0.0.1", port).close()  # to say so before anything is started
    async with AsyncExitStack() as stack:
        home = stack.enter_context(_home(state))
        endpoint = stack.enter_context(_practice_aws())
        cluster = await stack.enter_async_context(PracticeCluster())
        cluster.kubeconfig(path=home / "kubeconfig")
        prometheus = stack.enter_context(PracticePrometheus(list(lives()), live=_live(cluster)))
        settings = _settings(home, port, endpoint, prometheus.url)
        set_up(settings)
        await _furnish(settings)
        app, url = await stack.enter_async_context(serving(settings))
        tokens = await _populate(app)
        if advisor := app.local_gate.advisor:
            await advisor.run("the demo")
        yield Demo(url, settings, tokens, app)


@contextmanager
def _home(state: Path | None) -> Iterator[Path]:
    if state is None:
        made = Path(tempfile.mkdtemp(prefix="pilothouse-demo-"))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return
    if state.exists() and any(state.iterdir()):
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"{state} is not empty, and the practice cluster begins empty every time.",
            "Name a new directory, or leave --state out for one that is removed at the end.",
        )
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    yield state.absolute()


@contextmanager
def _practice_aws() -> Iterator[str]:
    try:
        import moto.server
    except ImportError:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            "The practice AWS is not installed.",
            "pip install 'pilothouse[demo]'",
        ) from None
    import logging

    import httpx

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    before = {name: os.environ.get(name) for name in (*AWS, *NOT_AWS)}
    server = moto.server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    os.environ.update(AWS)
    for name in NOT_AWS:
        os.environ.pop(name, None)
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        # Of one process all practice accounts are the same: what an earlier demo left is no part.
        httpx.post(f"{endpoint}/moto-api/reset", timeout=10).raise_for_status()
        yield endpoint
    finally:
        server.stop()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _settings(home: Path, port: int, endpoint: str, prometheus: str) -> "Settings":
    """Written down too, so that `pilothouse … --state` works on the same."""
    from server.settings import load

    file = home / "pilothouse.toml"
    file.write_text(
        f'kubeconfig = "{home / "kubeconfig"}"\nstate = "{home}"\nport = {port}\n\n'
        f'[aws]\nregion = "{REGION}"\nbucket = "{BUCKET}"\nendpoint = "{endpoint}"\n'
        f'oidc_provider = "{OIDC}"\n\n[prometheus]\nurl = "{prometheus}"\nevery_h = 0\n\n'
        '[log]\nlevel = "warning"\n'
    )
    return load(file, port=port, state=home)


async def _furnish(settings: "Settings") -> None:
    """What an operator prepares before there can be tenants: roles and a bucket; and instances."""
    from server.app import make_backends
    from server.commands.doctor_cluster import cluster_roles

    backends = make_backends(settings)
    try:
        api = backends.apis[backends.default]
        for body in cluster_roles():
            path = f"/apis/{body['apiVersion']}/{body['kind'].lower()}s"
            await api.request("POST", path, body=body)
        call = backends.aws.call  # type: ignore[union-attr]
        where = {"LocationConstraint": REGION}
        await call("s3", "create_bucket", Bucket=BUCKET, CreateBucketConfiguration=where)
        await call(
            "iam",
            "create_open_id_connect_provider",
            Url=f"https://{OIDC}",
            ThumbprintList=["0" * 40],
        )
        for tenant, name, size in EC2:
            tags = {"Name": name, TENANT: tenant}
            await call(
                "ec2",
                "run_instances",
                ImageId="ami-12c6146b",  # one of those that moto knows
                InstanceType=size,
                MinCount=1,
                MaxCount=1,
                TagSpecifications=[{"ResourceType": "instance", "Tags": _pairs(tags)}],
            )
        for tenant, name, size in RDS:
            await call(
                "rds",
                "create_db_instance",
                DBInstanceIdentifier=name,
                DBInstanceClass=size,
                Engine="postgres",
                MasterUsername="orders",
                MasterUserPassword="practice-only",
                AllocatedStorage=20,
                Tags=_pairs({TENANT: tenant}),
            )
    finally:
        await backends.close()


def _live(cluster: "PracticeCluster") -> Callable[[str, str, str], dict[str, float] | None]:
    """What a workload is in the practice cluster now, so that what is changed shows in its use."""
    from server.sandbox.quantities import parse

    def now(namespace: str, kind: str, name: str) -> dict[str, float] | None:
        for thing in cluster.snapshot().get(kind, ()):
            if (thing["metadata"].get("namespace"), thing["metadata"]["name"]) == (namespace, name):
                spec = thing["spec"]
                container = spec["template"]["spec"]["containers"][0]
                found = {"replicas": float(spec.get("replicas", 1))}
                for part in ("requests", "limits"):
                    for what, much in (container.get("resources", {}).get(part) or {}).items():
                        found[f"{what}_{part[:-1]}"] = float(parse(much))
                return found
        return None

    return now


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


async def _populate(app: "App") -> dict[str, str]:
    """Tenants through the gate, as everybody makes them: asked for by one, approved by another."""
    tokens: dict[str, str] = {}
    for name in ("olivia", "oscar"):
        tokens[name] = await _token(app, name, app.identity.local("cli", "token_create"), tokens)
    olivia, oscar = await _who(app, tokens["olivia"]), await _who(app, tokens["oscar"])
    await asyncio.gather(*(_tenant(app, wanted, olivia, oscar) for wanted in TENANTS))
    for name in PEOPLE:
        if name not in tokens:
            tokens[name] = await _token(app, name, olivia, tokens)
    api = app.backends.apis[app.backends.default]
    await asyncio.gather(
        *(
            api.request(
                "POST", path, body=body, query={"fieldManager": "kubectl-client-side-apply"}
            )
            for path, body in manifests()
        )
    )
    return {name: tokens[name] for name in PEOPLE}


async def _who(app: "App", token: str) -> Caller:
    caller = await app.who(token, "cli", local=True)
    assert caller is not None
    return caller


async def _token(app: "App", name: str, by: Caller | None, made: Mapping[str, str]) -> str:
    from server.identity import new_token

    token, sha256 = new_token()
    caller = by or await _who(app, made["olivia"])
    what = {"sha256": sha256, "subject": name, **PEOPLE[name][1]}
    must_have(await app.gate.call(caller, "token_create", what))
    return token


async def _tenant(app: "App", wanted: Mapping[str, Any], asks: Caller, approves: Caller) -> None:
    outcome = await app.gate.call(asks, "tenant_create", wanted)
    must_have(outcome)
    if outcome.state.waiting:
        decision = {"id": outcome.call_id, "digest": outcome.digest, "reason": "the demo's"}
        outcome = await app.gate.call(approves, "call_approve", decision)
        must_have(outcome)
    if outcome.state is not State.SUCCEEDED:
        raise ToolError(
            Code.INTERNAL,
            f"Tenant {wanted['name']} is {outcome.state.value}.",
            f"pilothouse calls {outcome.call_id}",
        )


def welcome(demo: Demo, *, kept: bool) -> None:
    """What to do next."""
    state = demo.settings.state
    out.print()
    out.print(f"[bold]Pilothouse[/bold] runs at [bold]{demo.url}[/bold]. Ctrl-C stops all of it.")
    if not kept:
        out.print("[dim]It is all practice, in memory; nothing is left behind.[/dim]")
    out.print(f"\n[bold]Open {demo.url}[/bold] and sign in with one of these tokens:")
    for name, token in demo.tokens.items():
        out.print(f"  {name:8} {token}  [dim]{PEOPLE[name][0]}[/dim]")
    agent, oscar = demo.tokens["copilot"], demo.tokens["oscar"]
    out.print("\n[bold]Add it to an MCP client[/bold] (streamable HTTP):")
    _shell(
        f"claude mcp add --transport http pilothouse {demo.url}/mcp \\\n"
        f'  --header "Authorization: Bearer {agent}"'
    )
    out.print("or one that is configured by JSON:")
    entry = {
        "type": "http",
        "url": f"{demo.url}/mcp",
        "headers": {"Authorization": f"Bearer {agent}"},
    }
    _code(json.dumps({"mcpServers": {"pilothouse": entry}}, indent=2), "json")
    out.print("[bold]Three calls to try[/bold], in another terminal:")
    _shell(
        f"{_on_the_path()}export PILOTHOUSE_URL={demo.url} PILOTHOUSE_TOKEN={agent}\n"
        "pilothouse call workload_list tenant=acme\n"
        "pilothouse call workload_scale tenant=acme name=api replicas=4 --preview\n"
        "pilothouse call tenant_create name=hooli plan=pro    # waits for another operator:\n"
        f"pilothouse approve ID --token {oscar}"
    )
    out.print("[bold]Or over REST[/bold]:")
    _shell(
        f'curl -s {demo.url}/api/v1/tools/tenant_list -d "{{}}" \\\n'
        f'  -H "Authorization: Bearer {agent}"'
    )
    out.print(f"[dim]State and settings: {state}[/dim]\n")


def _on_the_path() -> str:
    """What makes `pilothouse` the one that runs here, where it is not already."""
    folder = Path(sysconfig.get_path("scripts"))
    found = shutil.which("pilothouse")
    if found and Path(found).resolve() == (folder / "pilothouse").resolve():
        return ""
    return f'export PATH={shlex.quote(str(folder))}:"$PATH"\n'


def _shell(text: str) -> None:
    _code(text, "bash")


def _code(text: str, language: str) -> None:
    if out.is_terminal:
        out.print(Panel(Syntax(text, language, background_color="default"), expand=False))
    else:
        out.out(text, highlight=False)
