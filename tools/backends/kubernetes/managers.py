"""Who else has a hand in the fields that a change writes, and may put them back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tools.backends.kubernetes.fields import MANAGER
from tools.backends.kubernetes.masks import Mask, managed, overlap
from tools.errors import Code, ToolError
from tools.plan import Ref

if TYPE_CHECKING:
    from tools.backends.kubernetes.cluster import KubeCluster

# Those that keep putting back what they set, by how their field managers' names begin.
RECONCILERS = {
    "argocd": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "flux": "Flux",
    "helm": "Helm",
    "terraform": "Terraform",
    "pulumi": "Pulumi",
    "crossplane": "Crossplane",
}
SHOWN = 3


def other_managers(live: Mapping[str, Any], mask: Mask) -> list[str]:
    """A line for each other field manager of the masked fields."""
    lines = {}
    for entry in managed(live):
        manager = entry.get("manager", "")
        if manager == MANAGER or entry.get("subresource") == "status":
            continue
        if fields := overlap(mask, entry.get("fieldsV1") or {}):
            lines[manager] = _line(manager, fields)
    return [lines[manager] for manager in sorted(lines)]


def controllers(live: Mapping[str, Any]) -> list[str]:
    """A line for the controller that owns an object."""
    owners = (live.get("metadata") or {}).get("ownerReferences") or ()
    return [
        f"{owner['kind']} {owner['name']} controls it, and may put it back."
        for owner in owners
        if owner.get("controller")
    ]


async def autoscalers(cluster: "KubeCluster", ref: Ref) -> list[str]:
    """A line for each HorizontalPodAutoscaler that scales a workload."""
    try:
        hpas, _ = await cluster.list(
            "autoscaling/v2/HorizontalPodAutoscaler", ref.namespace, parts="whole"
        )
    except ToolError as error:
        # Who may not see autoscalers, or has none, can still scale.
        if error.code in (Code.PERMISSION_DENIED, Code.NOT_FOUND):
            return []
        raise
    lines = []
    for hpa in hpas:
        spec = hpa.get("spec") or {}
        target = spec.get("scaleTargetRef") or {}
        if (target.get("kind"), target.get("name")) == (ref.short_kind, ref.name):
            bounds = f"{spec.get('minReplicas', 1)} to {spec.get('maxReplicas')}"
            lines.append(
                f"HorizontalPodAutoscaler {hpa['metadata']['name']} sets its replicas ({bounds}),"
                " and may put them back: autoscaler_update moves its bounds."
            )
    return lines


def _line(manager: str, fields: list[str]) -> str:
    some = ", ".join(fields[:SHOWN]) + (", …" if len(fields) > SHOWN else "")
    for start, name in RECONCILERS.items():
        if manager.lower().startswith(start):
            return f"{name} ({manager}) manages {some}, and may put it back: change it there, too."
    return f"{manager} has set {some}."
