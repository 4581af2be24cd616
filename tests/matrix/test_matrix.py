"""Every tool, by every role, about one's own tenant and others', through every door. What is
expected is `expected.txt`, which a person wrote."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from server.commands.serving import serving
from server.identity import new_token
from server.sandbox.prometheus import PracticePrometheus
from server.sandbox.usage import Life
from tests.conftest import reached
from tests.house import OLIVIA, OSCAR, House, settings
from tests.lodging import deployment, with_bucket
from tests.matrix.doors import DOORS, Ask, Said, door
from tools.calls import Caller, Grant, Role, State
from tools.tool import catalog

here = pytest.mark.asyncio(loop_scope="module")
OWN, OTHER, REUSED, ABSENT = "matrix-own", "matrix-other", "matrix-reused", "matrix-absent"
ROLES = ("viewer", "user", "admin", "operator")
# Put wherever something of the other tenants can be named. Nobody else may ever read it.
MARK = "zqx7"


class Expected(NamedTuple):
    viewer: str
    user: str
    admin: str
    operator: str
    elsewhere: str
    who: str


def table() -> dict[str, Expected]:
    text = (Path(__file__).parent / "expected.txt").read_text()
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return {name: Expected(*rest) for name, *rest in rows}


EXPECTED = table()


# Through `pilothouse slack`, the same gate hears of the same callers: one tool of each kind is asked
# there. What would outlive its token is not offered to anybody.
SPOKEN = (
    "tenant_list", "tenant_get", "tenant_create", "workload_scale", "workload_logs", "job_list",
    "call_list", "call_approve", "audit_list",
)  # fmt: skip
KEPT = ("token_create", "token_list", "user_create", "workspace_update", "chat_link", "account_get")
ASKED = [
    (tool, name)
    for tool in sorted(EXPECTED)
    for name in (*DOORS, "slack")
    if name != "slack" or tool in SPOKEN + KEPT
]


def test_every_tool_has_a_row_and_every_row_a_tool() -> None:
    assert sorted(EXPECTED) == sorted(catalog())


@dataclass
class World:
    house: House
    url: str
    state: Path
    tokens: dict[str, str] = field(default_factory=dict)
    spoken: dict[str, str] = field(default_factory=dict)
    ids: dict[tuple[str, str], str] = field(default_factory=dict)
    instance: str = ""

    @asynccontextmanager
    async def asks(self, name: str) -> AsyncIterator[dict[str, Ask]]:
        """A client of each role at a door."""
        async with AsyncExitStack() as stack:
            held = self.spoken if name == "slack" else self.tokens
            entered = {r: door(name, self.url, self.state, t) for r, t in held.items()}
            yield {r: await stack.enter_async_context(d) for r, d in entered.items()}

    async def waiting(self, tenant: str) -> str:
        """A new call about a tenant that waits for a person."""
        uid = (await self.house.app.local_gate.tenants.find(tenant)).uid
        grants = {tenant: Grant(role=Role.ADMIN, uid=uid)}
        who = {"person": f"erin-{MARK}", "agent": True, "door": "mcp"}
        agent = Caller.of(f"agent-{tenant}", grants=grants, **who)
        asked = await self.house.call(agent, "workload_restart", tenant=tenant, name=app_of(tenant))
        assert asked.state is State.AWAITING_CONFIRMATION, asked
        return str(asked.call_id)

    async def arguments(self, tool: str, tenant: str) -> dict[str, Any]:
        """Such as would be answered, were the tenant one's own."""
        fields = catalog()[tool].arguments.model_fields
        there = tenant if tenant in (OWN, OTHER, REUSED) else OWN
        known: dict[str, Any] = {
            "tenant": tenant,
            "name": "hello" if tool.startswith("job_") else app_of(tenant),
            "kind": "Deployment",
            "image": "busybox",
            "replicas": 2,
            "min_replicas": 2,
            "manifest": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "x"},
                "data": {"a": "b"},
            },
            "query": "up",
            "sha256": "0" * 63,  # too short: it would make one else
            "subject": "sam",
            "code": "zzzz-zzzz",
            "reason": "because",
            "limit": 50,
        }
        sent = {
            n: known[n]
            for n in fields
            if n in ("tenant",) or (fields[n].is_required() and n in known)
        }
        match tool:
            case "resource_list":
                sent["kind"] = "ConfigMap"
            case "job_create":
                sent["name"] = "next"
            case "autoscaler_update" | "workload_resize":
                sent |= {"cpu_request": "20m"} if tool == "workload_resize" else {}
            case "tenant_create":
                sent["name"] = "matrix-next"
            case "tenant_adopt":
                sent["name"] = "matrix-plain"
            case "tenant_update":
                sent["plan"] = "pro"
            case "workload_start":
                sent["name"] = "stopped"
            case "call_approve" | "call_reject" | "call_confirm":
                sent |= {"id": await self.waiting(there), "reason": "because"}
            case "call_undo":
                sent["id"] = self.ids["undo", there]
            case "call_get" | "call_wait" | "call_retry":
                sent["id"] = self.ids["undo", there]
            case "recommendation_apply" | "recommendation_get" | "recommendation_picture":
                sent["id"] = self.ids["advice", there]
            case "recommendation_reject" | "recommendation_snooze":
                sent |= {"id": self.ids["advice", there], "reason": "because"}
            case "instance_start" | "instance_stop" | "instance_delete":
                sent |= {"id": self.instance, "service": "ec2"}
            case "token_revoke" | "user_get" | "user_update" | "user_delete" | "workspace_delete":
                sent["id"] = "none"
            case "workspace_get" | "workspace_update":
                sent["id"] = "ours"
            case "user_create" | "workspace_create":
                sent |= {"email": "none"} if tool == "user_create" else {"name": "No Name"}
        return {name: value for name, value in sent.items() if name in fields}


def app_of(tenant: str) -> str:
    return "web" if tenant == OWN else f"web-{MARK}"


def life(tenant: str) -> Life:
    return Life(tenant, "Deployment", app_of(tenant), replicas=2, cpu_request=1.0, cpu=0.05,
                memory=150e6, memory_request=2.0**30)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    practice: Any, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """Two tenants alike, and a third that was deleted and whose name another has taken."""
    folder = tmp_path_factory.mktemp("matrix")
    practice.kubeconfig(path=folder / "kubeconfig")
    tenants = (OWN, OTHER, REUSED)
    async with AsyncExitStack() as stack:
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        patched.setenv("AWS_ACCESS_KEY_ID", "practice")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "practice")
        prometheus = stack.enter_context(PracticePrometheus([life(t) for t in tenants]))
        kube = await stack.enter_async_context(reached(str(folder / "kubeconfig")))
        options = {
            "port": 0,
            "slack": {"apart": True},
            "prometheus": {"url": prometheus.url, "every_h": 0},
        }
        there = settings(folder, kube.kubeconfig, moto_url, **options)
        app, url = await stack.enter_async_context(in_one_task(serving(there)))
        still = app.local_gate.still
        known = (OLIVIA.subject, OSCAR.subject)
        app.local_gate.still = lambda c: c if c.subject in known or MARK in c.person else still(c)
        house = House(app)
        await with_bucket(house)
        world = World(house, url, folder)
        await house.done("tenant_create", name=REUSED, plan="free")
        for tenant in (OWN, OTHER):
            await house.done("tenant_create", name=tenant, plan="free")
        held = {t: (await app.local_gate.tenants.find(t)).uid for t in (OWN, REUSED)}
        world.tokens = {role: await token(app, role, held) for role in reversed(ROLES)}
        speaks = await token(app, "slack", {})
        for role in ROLES:
            await app.links.store.link(f"T1/U{role.upper()}", f"own-{role}")
            world.spoken[role] = f"T1/U{role.upper()}:{speaks}"
        await house.done("tenant_delete", tenant=REUSED, objects="delete")
        await house.done("tenant_create", name=REUSED, plan="free", display_name=f"Reused {MARK}")
        await furnished(world, kube)
        yield world
        for tenant in tenants:
            await house.done("tenant_delete", tenant=tenant, objects="delete")
        await kube.api.request("DELETE", "/api/v1/namespaces/matrix-plain")


@asynccontextmanager
async def in_one_task(context: Any) -> AsyncIterator[Any]:
    """Enters and leaves it in the same task, which a fixture's two halves are not."""
    entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def hold() -> None:
        async with context as value:
            entered.set_result(value)
            await leave.wait()

    held = asyncio.create_task(hold())
    await asyncio.wait([entered, held], return_when=asyncio.FIRST_COMPLETED)
    if held.done():
        held.result()
    try:
        yield entered.result()
    finally:
        leave.set()
        await held


async def token(app: Any, role: str, held: Mapping[str, str]) -> str:
    made, sha256 = new_token()
    operator = role == "operator"
    rights: dict[str, Any] = {"agent": False, "person": "", "expires_days": None}
    grants = {} if operator else {t: Role(role) for t in held}
    await app.identity.tokens.create(
        OLIVIA, sha256=sha256, subject=f"own-{role}", tenants=grants, operator=operator,
        slack=role == "slack", **rights
    )  # fmt: skip
    return made


async def furnished(world: World, kube: Any) -> None:
    house = world.house
    plain = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "matrix-plain"}}
    await kube.api.request("POST", "/api/v1/namespaces", body=plain)
    aws = house.app.backends.aws
    image = {"ImageId": "ami-12c6146b", "MinCount": 1, "MaxCount": 1}
    world.instance = (await aws.call("ec2", "run_instances", **image))["Instances"][0]["InstanceId"]
    for tenant in (OWN, OTHER, REUSED):
        said = MARK if tenant != OWN else "ours"
        body = deployment(app_of(tenant), env=[{"name": "SAYS", "value": said}])
        body["metadata"]["annotations"] = {"says": said}
        await house.done("resource_apply", tenant=tenant, manifest=body)
        await house.done("resource_apply", tenant=tenant, manifest=deployment("stopped", 0))
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c-{said}"}}
        await house.done("resource_apply", tenant=tenant, manifest=config | {"data": {"a": said}})
        scaler = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": app_of(tenant)},
            "spec": {
                "minReplicas": 1,
                "maxReplicas": 3,
                "scaleTargetRef": {
                    "apiVersion": "apps/v1", "kind": "Deployment", "name": app_of(tenant),
                },
            },
        }  # fmt: skip
        await house.done("resource_apply", tenant=tenant, manifest=scaler)
        command = ["echo", said]
        job = {"name": "hello", "image": "busybox", "command": command, "wait": True}
        await house.done("job_create", tenant=tenant, **job)
        scaled = await house.done("workload_scale", tenant=tenant, name="stopped", replicas=1)
        await house.done("workload_scale", tenant=tenant, name="stopped", replicas=0)
        made = await house.done("resource_apply", tenant=tenant, manifest=deployment("more", 0))
        world.ids["undo", tenant] = str(made.call_id or scaled.call_id)
    roles = {f"own-{role}": Role(role) for role in ROLES if role != "operator"}
    await house.app.identity.workspaces.create(
        OLIVIA, name="ours", description="", tenants=[OWN], members=roles
    )
    await house.done("recommendation_analyze")
    found = (await house.done("recommendation_list", limit=50)).answer["recommendations"]
    for one in found:
        world.ids.setdefault(("advice", one["tenant"]), one["id"])


def expected(tool: str, name: str, role: str, elsewhere: bool) -> set[str]:
    row = EXPECTED[tool]
    if row.who == "people" and name == "mcp":
        return {"no"}
    if tool in KEPT and name == "slack":
        return {"no"}
    at_home = str(getattr(row, role))
    if elsewhere and role != "operator":
        return {row.elsewhere} | ({"no"} if at_home == "no" else set())
    return {at_home}


@here
@pytest.mark.parametrize(("tool", "name"), ASKED)
async def test_each_role_gets_what_the_table_says_and_no_word_of_others(
    world: World, tool: str, name: str
) -> None:
    row, about = EXPECTED[tool], catalog()[tool]
    places = [OWN] if row.elsewhere == "-" else [OWN, OTHER, REUSED]
    async with world.asks(name) as asks:
        for role, place in product(ROLES, places):
            sent = await world.arguments(tool, place)
            said = await asks[role](about, sent)
            got = "yes" if role == "operator" and said.word == "hidden" else said.word
            assert got in expected(tool, name, role, place != OWN), (role, place, said.text[:600])
            if role != "operator":
                assert MARK not in said.text.replace(str(sent.get("name", "")), ""), (role, place)


@here
@pytest.mark.parametrize("name", DOORS)
async def test_a_tenant_of_others_and_one_that_never_was_are_told_apart_by_nothing(
    world: World, name: str
) -> None:
    named = [t for t in EXPECTED if "tenant" in catalog()[t].arguments.model_fields]
    async with world.asks(name) as asks:
        for tool in named:
            said = {}
            for place in (OTHER, REUSED, ABSENT):
                sent = await world.arguments(tool, OTHER) | {"tenant": place}
                said[place] = plain(await asks["viewer"](catalog()[tool], sent), place)
            assert said[OTHER] == said[ABSENT] == said[REUSED], tool


def plain(said: Said, place: str) -> str:
    return re.sub(r'"request_id": ?"[^"]*"', "", said.text.replace(place, "T"))


@here
async def test_finding_out_about_others_costs_as_much_as_about_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = world.house.app.backends.apis[world.house.app.backends.default]
    asked: list[str] = []
    once = type(api)._once

    async def counted(self: Any, method: str, path: str, *rest: Any, **options: Any) -> Any:
        asked.append(path)
        return await once(self, method, path, *rest, **options)

    monkeypatch.setattr(type(api), "_once", counted)
    counts = {}
    async with world.asks("rest") as asks:
        for place in (OTHER, ABSENT):
            sent = {"tenant": place}
            await asks["viewer"](catalog()["workload_list"], sent)
            asked.clear()
            for _ in range(5):
                await asks["viewer"](catalog()["workload_list"], sent)
            counts[place] = len(asked)
    assert counts[OTHER] == counts[ABSENT]


@here
async def test_resources_and_completions_name_nothing_of_others(world: World) -> None:
    from mcp import MCPError
    from mcp.types import PromptReference, ResourceTemplateReference

    made, sha256 = new_token()
    grants = {OWN: Role.VIEWER}
    rights: dict[str, Any] = {"agent": False, "person": "", "expires_days": None}
    await world.house.app.identity.tokens.create(
        OLIVIA, sha256=sha256, subject="vera", tenants=grants, operator=False, **rights
    )
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    headers = {"Authorization": f"Bearer {made}"}
    await world.waiting(OTHER)
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(f"{world.url}/mcp", http_client=http)
        async with Client(transport, mode="2026-07-28") as client:
            listed = [r.uri for r in (await client.list_resources()).resources]
            assert f"pilothouse://tenants/{OWN}" in listed
            assert not [u for u in listed if OTHER in u or REUSED in u]
            for uri in (f"tenants/{OTHER}", f"calls/{world.ids['undo', OTHER]}"):
                with pytest.raises(MCPError):
                    await client.read_resource(f"pilothouse://{uri}")
            tenants = ResourceTemplateReference(
                type="ref/resource", uri="pilothouse://tenants/{name}"
            )
            done = await client.complete(tenants, {"name": "name", "value": "matrix"})
            assert done.completion.values == [OWN]
            diagnose = PromptReference(type="ref/prompt", name="diagnose_workload")
            done = await client.complete(
                diagnose, {"name": "workload", "value": ""}, context_arguments={"tenant": OTHER}
            )
            assert done.completion.values == []


@here
async def test_nothing_can_be_asked_without_a_token(world: World) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=world.url) as http:
        answers = await asyncio.gather(
            *(http.post(f"/api/v1/tools/{tool}", json={}) for tool in EXPECTED)
        )
    assert {a.status_code for a in answers} == {401}
    assert not [a for a in answers if MARK in a.text or OWN in a.text]
