"""Every tool works with the shipped ClusterRoles, and nothing in these is there for no tool."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
import yaml

from server.sandbox import PracticeCluster, User, node
from server.sandbox.identity import with_groups
from server.sandbox.prometheus import PracticePrometheus
from server.sandbox.usage import Life
from tests.conftest import ROOT, Kube
from tests.house import OLIVIA, OSCAR, House, opened, settings
from tests.lodging import deployment, with_bucket
from tools.backends.kubernetes import Api
from tools.calls import Caller, Outcome, Role, State
from tools.errors import ToolError
from tools.provisioning import PILOTHOUSE
from tools.tool import Effect, catalog

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]
RBAC = "/apis/rbac.authorization.k8s.io/v1"
POOL = "reserved"
OURS = PILOTHOUSE["name"]
# The ClusterRole of each ServiceAccount.
ROLES_OF = {OURS: "pilothouse"} | {
    f"pilothouse-{role}": f"pilothouse:tenant-{role}" for role in ("viewer", "user", "admin")
}
ROLES = (Role.OPERATOR, Role.ADMIN, Role.USER, Role.VIEWER)
# The groups of tools that reach into a cluster.
GROUPS = {"jobs", "resources", "tenants", "workloads"}
MORE_TOOLS = {"call_undo", "platform_status", "recommendation_apply", "workload_usage"}

# What "objects of any kind" means to those in a tenant, and what else to an admin and an operator.
SHOWN = [
    "ConfigMap", "Service", "PersistentVolumeClaim", "Pod", "ResourceQuota", "LimitRange",
    "ServiceAccount", "Event", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job",
    "CronJob", "HorizontalPodAutoscaler", "NetworkPolicy", "Ingress", "PodDisruptionBudget",
]  # fmt: skip
ALSO_SHOWN = {
    Role.ADMIN: ["Secret"],
    Role.OPERATOR: ["Namespace", "Node", "ClusterRole", "RoleBinding"],
}


class Right(NamedTuple):
    """`role` is the ClusterRole that gives it; `name` is empty where it is for all names."""

    role: str
    verb: str
    group: str
    resource: str
    name: str = ""


def granted() -> set[Right]:
    found = set()
    for role in yaml.safe_load_all((ROOT / "deploy" / "clusterroles.yaml").read_text()):
        for rule in role.get("rules", ()):
            found |= {
                Right(role["metadata"]["name"], verb, group, resource, name)
                for verb in rule["verbs"]
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for name in rule.get("resourceNames", [""])
            }
    return found


@dataclass
class Noted:
    """What the cluster refused: to whom, method and path. And what it allowed, where it is the
    practice cluster."""

    refused: set[tuple[str, str, str]] = field(default_factory=set)
    allowed: set[Right] = field(default_factory=set)


@dataclass
class Tour:
    """What was done with the rights, and what went wrong."""

    house: House
    kube: Kube
    tenant: str
    noted: Noted
    done: dict[tuple[Role, str], Outcome] = field(default_factory=dict)
    wrong: list[Any] = field(default_factory=list)

    async def as_(self, role: Role) -> "Visitor":
        if role is Role.OPERATOR:
            return Visitor(self, role, OLIVIA)
        return Visitor(self, role, await self.house.member(self.tenant, role))


@dataclass
class Visitor:
    tour: Tour
    role: Role
    caller: Caller
    undoable: list[str] = field(default_factory=list)

    async def call(self, tool: str, /, **arguments: Any) -> Outcome | None:
        """Whatever this role may call, approved where it waits."""
        if not self.role.covers(catalog()[tool].role):
            return None
        if "tenant" in catalog()[tool].arguments.model_fields:
            arguments = {"tenant": self.tour.tenant} | arguments
        if catalog()[tool].effect is Effect.STREAM:
            return await self._streamed(tool, arguments)
        outcome = await self.tour.house.call(self.caller, tool, **arguments)
        if outcome.state.waiting:
            outcome = await self.tour.house.call(OSCAR, "call_approve", id=outcome.call_id)
        if outcome.state is not State.SUCCEEDED:
            self.tour.wrong.append((self.role, tool, arguments, outcome.error or outcome))
        self.tour.done[self.role, tool] = outcome
        return outcome

    async def _streamed(self, tool: str, arguments: Mapping[str, Any]) -> Outcome:
        try:
            async for _ in self.tour.house.app.gate.stream(self.caller, tool, arguments):
                pass
        except ToolError as error:
            self.tour.wrong.append((self.role, tool, arguments, error))
        outcome = Outcome(state=State.SUCCEEDED, tool=tool)
        self.tour.done[self.role, tool] = outcome
        return outcome

    async def change(self, tool: str, /, **arguments: Any) -> None:
        """As `call`; at the end it is undone."""
        outcome = await self.call(tool, **arguments)
        if outcome and outcome.call_id:
            self.undoable.append(outcome.call_id)

    async def undo(self) -> None:
        while self.undoable:
            await self.call("call_undo", id=self.undoable.pop())


async def around(tour: Tour) -> None:
    operator = await tour.as_(Role.OPERATOR)
    await through_tenants(operator)
    for role in ROLES:
        visitor = operator if role is Role.OPERATOR else await tour.as_(role)
        name = role.value if role.covers(Role.ADMIN) else Role.OPERATOR.value
        if role.covers(Role.ADMIN):
            await manifests(visitor, name)
        await jobs(visitor, f"{role.value}-job")
        await followed(visitor, operator)
        await workloads(visitor, name)
        await shown(visitor)
        if role is not Role.OPERATOR:
            await visitor.undo()
    await operator.undo()
    await operator.call("tenant_delete")


async def manifests(visitor: Visitor, name: str) -> None:
    """One of each kind that is the tenant's to make; undone, each is deleted."""
    spec = deployment(name)["spec"]
    template = spec["template"]
    template["spec"]["containers"][0]["name"] = name  # as the practice metrics call it
    job = {"template": {"spec": template["spec"] | {"restartPolicy": "Never"}}, "suspend": True}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    backend = {"service": {"name": name, "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    specs: dict[str, dict[str, Any]] = {
        "v1/ConfigMap": {"data": {"a": "b"}},
        "v1/Secret": {"stringData": {"a": "b"}},
        "v1/Service": {"spec": {"ports": [{"port": 80}], "selector": {"app": name}}},
        "v1/PersistentVolumeClaim": {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            }
        },
        "v1/Pod": {"spec": template["spec"]},
        "apps/v1/Deployment": {"spec": spec},
        "apps/v1/StatefulSet": {
            "spec": spec
            | {"serviceName": name, "selector": {"matchLabels": {"set": name}}}
            | {"template": template | {"metadata": {"labels": {"set": name}}}}
        },
        "apps/v1/DaemonSet": {
            "spec": {"selector": {"matchLabels": {"agent": name}}}
            | {"template": template | {"metadata": {"labels": {"agent": name}}}}
        },
        "batch/v1/Job": {"spec": job},
        "batch/v1/CronJob": {"spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}},
        "autoscaling/v2/HorizontalPodAutoscaler": {
            "spec": {"minReplicas": 1, "maxReplicas": 3, "scaleTargetRef": target}
        },
        "networking.k8s.io/v1/Ingress": {"spec": {"rules": [{"http": {"paths": [path]}}]}},
        "policy/v1/PodDisruptionBudget": {
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}}
        },
    }
    for kind, body in specs.items():
        if kind == "v1/Secret" and visitor.role is Role.OPERATOR:
            continue  # Pilothouse itself has no business with what tenants keep secret
        version, _, word = kind.rpartition("/")
        manifest = {"apiVersion": version, "kind": word, "metadata": {"name": name}} | body
        await visitor.change("resource_apply", manifest=manifest)
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "spare"}}
    await visitor.call("resource_apply", manifest=manifest | specs["v1/Pod"])
    await visitor.call("workload_delete", kind="Pod", name="spare")
    await visitor.change("autoscaler_update", name=name, max_replicas=4)


async def jobs(visitor: Visitor, name: str) -> None:
    if not visitor.role.covers(Role.USER):
        name = "operator-job"
    run = {"image": "busybox:1.37", "command": ["sh", "-c", "echo hello"]}
    await visitor.change("job_create", name=name, **run)
    await visitor.call("job_list")
    await visitor.call("job_get", name=name)
    await visitor.call("job_logs", name=name, follow=True)
    slow = {"image": "busybox:1.37", "command": ["sleep", "600"]}
    await visitor.call("job_create", name=f"{name}-gone", **slow)
    await visitor.call("job_cancel", name=f"{name}-gone", delete=True)


async def followed(visitor: Visitor, operator: Visitor) -> None:
    """A Job that does not get to run is watched, until somebody cancels it."""
    name = f"{visitor.role.value}-waits"
    await operator.call("job_create", name=name, image="registry.invalid/none:1")
    await asyncio.gather(
        visitor.call("job_logs", name=name, follow=True),
        (visitor if visitor.role.covers(Role.USER) else operator).call("job_cancel", name=name),
    )


async def workloads(visitor: Visitor, name: str) -> None:
    await recommendations(visitor, name)
    await visitor.call("workload_list")
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        one = {"kind": kind, "name": name}
        await visitor.call("workload_get", **one)
        await visitor.call("workload_logs", **one)
        await visitor.change("workload_restart", **one)
        await visitor.change("workload_resize", **one, cpu_request="20m")
        if kind != "DaemonSet":
            if kind == "Deployment":
                await visitor.call("workload_usage", **one)
            replicas = 3 if visitor.role is Role.USER else 1  # the operator's are scaled already
            await visitor.change("workload_scale", **one, replicas=replicas)
            await visitor.change("workload_stop", **one)
            await visitor.change("workload_start", **one)


async def shown(visitor: Visitor) -> None:
    await visitor.call("tenant_get")
    await visitor.call("tenant_list")
    await visitor.call("platform_status")
    await visitor.call("events_list")
    for kind in [*SHOWN, *ALSO_SHOWN.get(visitor.role, ())]:
        listed = await visitor.call("resource_list", kind=kind)
        rows = (listed.answer or {}).get("rows", ()) if listed else ()
        if rows:
            await visitor.call("resource_get", kind=kind, name=rows[0]["name"])


async def recommendations(visitor: Visitor, name: str) -> None:
    await visitor.call("recommendation_analyze")
    if visitor.role.covers(Role.ADMIN):
        listed = await visitor.call("recommendation_list", tenant=visitor.tour.tenant)
        found = {
            r["workload"].split("/")[1]: r["id"] for r in (listed.answer or {})["recommendations"]
        }
        await visitor.change("recommendation_apply", id=found[name])


async def through_tenants(operator: Visitor) -> None:
    """All that befalls a tenant, and one that was there before."""
    kube, tenant = operator.tour.kube, operator.tour.tenant
    await operator.call("tenant_create", name=tenant, plan="enterprise")
    await operator.call("tenant_update", isolation="node-pool", pool=POOL)
    await operator.call("tenant_update", isolation="namespace")
    networks = f"/apis/networking.k8s.io/v1/namespaces/{tenant}/networkpolicies"
    await kube.api.request("DELETE", f"{networks}/allow-dns")
    await operator.call("tenant_repair")
    theirs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{tenant}-theirs"}}
    await kube.api.request("POST", "/api/v1/namespaces", body=theirs)
    await operator.change("tenant_adopt", name=f"{tenant}-theirs")
    await operator.undo()
    await kube.api.request("DELETE", f"/api/v1/namespaces/{tenant}-theirs")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tour(
    shared_kube: Kube, practice: PracticeCluster, moto_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Tour]:  # fmt: skip
    """A house that has no right in the cluster but the shipped ones, with all done in it."""
    folder, tenant = tmp_path_factory.mktemp("least"), f"t-{uuid.uuid4().hex[:8]}"
    kubeconfig = folder / "kubeconfig"
    lives = [life(tenant, name) for name in ("operator", "admin")]
    async with AsyncExitStack() as stack:
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        patched.setenv("AWS_ACCESS_KEY_ID", "practice")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "practice")
        prometheus = stack.enter_context(PracticePrometheus(lives))
        await stack.enter_async_context(bound(shared_kube, practice, tenant, kubeconfig))
        noted = listened(practice, patched)
        options = {
            "prometheus": {"url": prometheus.url, "every_h": 0},
            "isolation": {"node_pools": [POOL]},
        }
        there = settings(folder, str(kubeconfig), moto_url, **options)
        house = await stack.enter_async_context(opened(there))
        await with_bucket(house)
        tour = Tour(house, shared_kube, tenant, noted)
        await around(tour)
        yield tour


def life(tenant: str, name: str) -> Life:
    return Life(tenant, "Deployment", name, replicas=2, cpu_request=1.0, cpu=0.05,
                memory=150e6, memory_request=2.0**30)  # fmt: skip


@asynccontextmanager
async def bound(
    kube: Kube, practice: PracticeCluster, name: str, kubeconfig: Path
) -> AsyncIterator[None]:
    """Write a kubeconfig for the ServiceAccount that deploy/ has Pilothouse run as, bound to the
    ClusterRole `pilothouse`; and have a pool of nodes."""
    api, config = kube.api, yaml.safe_load(Path(kube.kubeconfig).read_text())
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pilothouse"}
    made = [
        ("/api/v1/namespaces", {"metadata": {"name": OURS}}),
        (f"/api/v1/namespaces/{OURS}/serviceaccounts", {"metadata": {"name": OURS}}),
        (
            f"{RBAC}/clusterrolebindings",
            {"metadata": {"name": name}, "roleRef": role, "subjects": [PILOTHOUSE]},
        ),
        ("/api/v1/nodes", node(name, pool=POOL)),
    ]
    for path, body in made:
        await api.request("POST", path, body=body)
    if api.connection.url == practice.url:
        practice.users[name] = with_groups(User(f"system:serviceaccount:{OURS}:{OURS}"))
        token = name
    else:
        path = f"/api/v1/namespaces/{OURS}/serviceaccounts/{OURS}/token"
        answer = await api.request("POST", path, body={"spec": {"expirationSeconds": 3600}})
        token = answer.body["status"]["token"]
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(yaml.safe_dump(config))
    yield
    for path, body in reversed(made):
        await api.request("DELETE", f"{path}/{body['metadata']['name']}")


def listened(practice: PracticeCluster, patched: pytest.MonkeyPatch) -> Noted:
    """What a cluster refuses is noted, also where a tool makes do without; and what is allowed."""
    noted, refusal, allowed = Noted(), Api._refusal, practice.api.authorizer.allowed

    def refuse(self: Api, response: Any, content: bytes, safe: bool) -> ToolError:
        if response.status == 403:
            whose = self.identity.service_account if self.identity else OURS
            noted.refused.add((whose, response.method, response.url.path))
        return refusal(self, response, content, safe)

    def allow(user: Any, wanted: Any) -> bool:
        may = allowed(user, wanted)
        account = user.name.rpartition(":")[2]
        if may and account in ROLES_OF:
            role = ROLES_OF[account]
            noted.allowed.add(Right(role, wanted.verb, wanted.group, wanted.full, wanted.name))
        return may

    patched.setattr(Api, "_refusal", refuse)
    patched.setattr(practice.api.authorizer, "allowed", allow)
    return noted


# What an operator's tools ask for, and make do without: secrets are the tenants' own.
DONE_WITHOUT = {(OURS, "GET", "secrets")}
# Kinds that can be listed like any other, where a cluster has them: not all do.
ELSEWHERE = {"endpointslices", "pods.metrics.k8s.io"}
# A right that one ClusterRole gives to whoever has the other.
HELD_WITH = {"pilothouse:impersonator": "pilothouse"}


async def test_every_tool_does_its_work_with_the_shipped_rights_and_nothing_else(
    tour: Tour,
) -> None:
    assert not tour.wrong, "\n".join(map(str, tour.wrong))
    refused = {(who, how, path.rpartition("/")[2]) for who, how, path in tour.noted.refused}
    assert refused <= DONE_WITHOUT, tour.noted.refused
    tools = {tool for tool in catalog().values() if tool.group in GROUPS}
    for role in ROLES:
        called = {tool for whose, tool in tour.done if whose is role}
        more = MORE_TOOLS if role.covers(Role.ADMIN) else set()
        assert called >= {tool.name for tool in tools if role.covers(tool.role)} | more, role


async def test_no_right_is_granted_that_no_tool_needs(tour: Tour) -> None:
    if not tour.noted.allowed:
        pytest.skip("only the practice cluster says what it was asked for")
    needed = tour.noted.allowed | {right._replace(name="") for right in tour.noted.allowed}
    spare = {
        right
        for right in granted()
        if right._replace(role=HELD_WITH.get(right.role, right.role)) not in needed
        and not {right.resource, f"{right.resource}.{right.group}"} & ELSEWHERE
    }
    assert not spare, "\n".join(map(str, sorted(spare)))
