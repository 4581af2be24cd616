"""Plan tiers and the other settings that tools read. `server/settings.py` fills them in."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Tier(BaseModel):
    """What a plan tier allows: ResourceQuota's `hard`, and LimitRange's defaults and bounds for a
    container, all in Kubernetes' quantities."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    quota: dict[str, str]
    default: dict[str, str]
    default_request: dict[str, str]
    max: dict[str, str]


class Isolation(BaseModel):
    """What stands apart for isolation levels `node-pool` and `cluster`, and who else may come in.

    `node_pools` name taints and labels (`pilothouse.dev/pool=<name>`); `allow_egress` and
    `allow_ingress` are NetworkPolicy peers, as Kubernetes has them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    node_pools: list[str] = []
    clusters: list[str] = Field(default=[], description="clusters that tenants may have alone")
    allow_egress: list[dict[str, Any]] = []
    allow_ingress: list[dict[str, Any]] = []


class Tiers(BaseModel):
    """The tiers by name, and how tenants are kept apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    tiers: dict[str, Tier]
    isolation: Isolation = Isolation()


def _tier(cpu: int, memory: int, pods: int, jobs: int, most_cpu: str, most_memory: str) -> Tier:
    return Tier(
        quota={
            "requests.cpu": str(cpu),
            "requests.memory": f"{memory}Gi",
            "limits.cpu": str(cpu * 2),
            "limits.memory": f"{memory * 2}Gi",
            "pods": str(pods),
            "count/jobs.batch": str(jobs),
            "services.loadbalancers": "0" if cpu < 8 else "2",
        },
        default={"cpu": "500m", "memory": "512Mi"},
        default_request={"cpu": "100m", "memory": "128Mi"},
        max={"cpu": most_cpu, "memory": most_memory},
    )


DEFAULT_TIERS = {
    "free": _tier(2, 4, 10, 5, "1", "2Gi"),
    "pro": _tier(16, 32, 60, 50, "4", "16Gi"),
    "enterprise": _tier(64, 128, 300, 500, "16", "64Gi"),
}
