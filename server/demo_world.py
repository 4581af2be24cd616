"""The demo's small world: three tenants with a dozen workloads, not all of them well."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

# What `tenant_create` is called with.
TENANTS: tuple[dict[str, Any], ...] = (
    {"name": "acme", "plan": "pro", "owner": "ada@acme.example", "display_name": "Acme"},
    {"name": "globex", "plan": "free", "owner": "gil@globex.example", "display_name": "Globex"},
    {
        "name": "initech",
        "plan": "enterprise",
        "owner": "ines@initech.example",
        "display_name": "Initech",
        "protected": True,
    },
)


@dataclass(frozen=True)
class Workload:
    """One Deployment, StatefulSet or DaemonSet, as its owners would have applied it."""

    tenant: str
    name: str
    replicas: int = 1
    kind: str = "Deployment"
    image: str = ""
    cpu: str = "100m"
    memory: str = "128Mi"
    command: Sequence[str] = ()
    scales_to: int = 0
    uses: dict[str, str] = field(default_factory=dict)


WORKLOADS = (
    Workload("acme", "web", 3, image="nginx:1.29", scales_to=8, uses={"cpu": "85m"}),
    Workload("acme", "api", 2, image="acme/api:2.4.1", cpu="250m", uses={"cpu": "230m"}),
    Workload("acme", "worker", 2, image="acme/worker:2.4.1", memory="512Mi", uses={"cpu": "4m"}),
    Workload("acme", "db", 1, "StatefulSet", "postgres:18", cpu="500m", memory="1Gi"),
    Workload("acme", "reports", 1, image="registry.acme.invalid/reports:1.0"),
    Workload("globex", "shop", 2, image="globex/shop:7", uses={"memory": "90Mi"}),
    Workload(
        "globex",
        "importer",
        1,
        image="globex/importer:3",
        command=(
            "sh",
            "-c",
            "echo connecting to db:5432; echo 'fatal: no route to db:5432'; exit 1",
        ),
    ),
    Workload("globex", "cache", 1, "StatefulSet", "valkey:9"),
    Workload("initech", "portal", 4, image="initech/portal:11.2", cpu="200m", scales_to=12),
    Workload("initech", "tps-reports", 1, image="initech/tps:1.0", memory="256Mi"),
    Workload("initech", "search", 3, "StatefulSet", "opensearch:3", cpu="500m", memory="1Gi"),
    Workload("initech", "printer", 0, image="initech/printer:0.9"),
)

# Three of EC2 and RDS, by tenant.
EC2 = (("acme", "acme-bastion", "t3.micro"), ("initech", "initech-build", "c7g.large"))
RDS = (("acme", "acme-orders", "db.t4g.medium"),)


def manifests() -> Iterator[tuple[str, Object]]:
    """Each object of the world, after the path that it is created at."""
    for workload in WORKLOADS:
        yield (
            f"/apis/apps/v1/namespaces/{workload.tenant}/{workload.kind.lower()}s",
            _body(workload),
        )
        if workload.scales_to:
            path = f"/apis/autoscaling/v2/namespaces/{workload.tenant}/horizontalpodautoscalers"
            yield path, _autoscaler(workload)


def _body(workload: Workload) -> Object:
    labels = {"app": workload.name}
    annotations = {f"practice.pilothouse.dev/{what}": much for what, much in workload.uses.items()}
    container = {
        "name": workload.name,
        "image": workload.image,
        "command": list(workload.command),
        "resources": {
            "requests": {"cpu": workload.cpu, "memory": workload.memory},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
    }
    spec: Object = {
        "replicas": workload.replicas,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"containers": [container]},
        },
    }
    if workload.kind == "StatefulSet":
        spec["serviceName"] = workload.name
    return {
        "apiVersion": "apps/v1",
        "kind": workload.kind,
        "metadata": {"name": workload.name, "labels": labels},
        "spec": spec,
    }


def _autoscaler(workload: Workload) -> Object:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": workload.name},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": workload.kind,
                "name": workload.name,
            },
            "minReplicas": 2,
            "maxReplicas": workload.scales_to,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 70},
                    },
                }
            ],
        },
    }
