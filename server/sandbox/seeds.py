"""What a practice cluster has from the start: namespaces, nodes, roles."""

from __future__ import annotations

from typing import Any

from .api import Api, Ask
from .clock import stamp

Object = dict[str, Any]
POOL = "pilothouse.dev/pool"
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
RBAC = "rbac.authorization.k8s.io"
AGGREGATE = f"{RBAC}/aggregate-to-"
WORKLOADS: list[tuple[list[str], list[str]]] = [
    ([""], ["configmaps", "persistentvolumeclaims", "pods", "services", "serviceaccounts"]),
    (["apps"], ["daemonsets", "deployments", "deployments/scale", "replicasets",
                "replicasets/scale", "statefulsets", "statefulsets/scale"]),
    (["autoscaling"], ["horizontalpodautoscalers"]),
    (["batch"], ["cronjobs", "jobs"]),
    (["networking.k8s.io"], ["ingresses", "networkpolicies"]),
    (["policy"], ["poddisruptionbudgets"]),
]  # fmt: skip


def node(name: str, number: int = 1, pool: str = "") -> Object:
    """A practice node; one of a pool takes only pods that tolerate its taint."""
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }
    spec: Object = {}
    if pool:
        labels[POOL] = pool
        spec["taints"] = [{"key": POOL, "value": pool, "effect": "NoSchedule"}]
    room = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "200Gi", "pods": "2000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {
                "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            },
        },
        "spec": spec,
        "status": {
            "capacity": room,
            "allocatable": room,
            "addresses": [
                {"type": "InternalIP", "address": f"192.0.2.{9 + number}"},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "kubeletVersion": "v1.36.2",
                "containerRuntimeVersion": "practice://1",
                "osImage": "practice",
                "kernelVersion": "practice",
                "machineID": name,
                "systemUUID": name,
                "bootID": name,
                "kubeProxyVersion": "",
            },
        },
    }


def default_nodes() -> list[Object]:
    """Two nodes for everybody, and one of a pool."""
    return [node("node-1", 1), node("node-2", 2), node("node-3", 3, pool="reserved")]


def plant(api: Api, nodes: list[Object]) -> None:
    """Put it all into the store."""
    for name in NAMESPACES:
        _create(api, "Namespace", {"metadata": {"name": name}})
    for number, obj in enumerate(nodes):
        _join(api, obj, number)
    for role in _cluster_roles():
        _create(api, "ClusterRole", role)
    for name, group in (
        ("cluster-admin", "system:masters"),
        ("system:basic-user", "system:authenticated"),
        ("system:discovery", "system:authenticated"),
        ("system:public-info-viewer", "system:unauthenticated"),
    ):
        _create(
            api,
            "ClusterRoleBinding",
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": group}],
            },
        )


def _join(api: Api, node: Object, number: int) -> None:
    """A node as it looks once its kubelet and the controller manager have seen to it."""
    made = _create(api, "Node", node, "kubelet")
    unknown = [
        dict.fromkeys(condition, "Unknown") | {"type": condition["type"]}
        for condition in _node_conditions(api)
    ]
    made = made | {
        "metadata": dict(made["metadata"]),
        "status": node["status"] | {"conditions": unknown},
    }
    api.store.put(api.kinds.named("Node"), made)

    def controlled(copy: Object) -> Object:
        cidr = f"10.244.{number}.0/24"
        copy["metadata"]["annotations"]["node.alpha.kubernetes.io/ttl"] = "0"
        copy["spec"] = copy.get("spec", {}) | {"podCIDR": cidr, "podCIDRs": [cidr]}
        return copy

    def alive(copy: Object) -> Object:
        copy["status"]["conditions"] = _node_conditions(api)
        return copy

    api.write("Node", made, controlled, "kube-controller-manager")
    api.write("Node", made, alive, "kubelet", "status")


def _create(api: Api, kind: str, obj: Object, manager: str = "kube-apiserver") -> Object:
    return api.create(api.kinds.named(kind), "", obj, Ask(manager=manager)).object


def _node_conditions(api: Api) -> list[Object]:
    now = stamp(api.clock.now())

    def condition(sort: str, status: str, reason: str, message: str) -> Object:
        return {
            "type": sort,
            "status": status,
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }

    return [
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "enough memory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "enough disk"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "enough processes"),
        condition("Ready", "True", "KubeletReady", "the practice kubelet is ready"),
    ]


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> Object:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


def _cluster_roles() -> list[Object]:
    see = [_rule(groups, resources, READ) for groups, resources in WORKLOADS]
    see.append(
        _rule(
            [""],
            [
                "bindings",
                "events",
                "limitranges",
                "namespaces/status",
                "pods/log",
                "pods/status",
                "resourcequotas",
                "resourcequotas/status",
                "namespaces",
            ],
            READ,
        )
    )
    see.append(_rule(["metrics.k8s.io"], ["pods", "nodes"], READ))
    change = [_rule(groups, resources, WRITE) for groups, resources in WORKLOADS]
    change += [
        _rule([""], ["secrets"], READ + WRITE),
        _rule([""], ["pods/eviction"], ["create"]),
        _rule([""], ["serviceaccounts"], ["impersonate"]),
        _rule([""], ["events"], ["create", "patch", "update"]),
        _rule(["coordination.k8s.io"], ["leases"], READ + WRITE),
    ]
    grant = [_rule([RBAC], ["rolebindings", "roles"], READ + WRITE)]
    everything = [
        _rule(["*"], ["*"], ["*"]),
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    health = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
    reviews = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
    return [
        _role("cluster-admin", everything),
        _role(
            "system:basic-user",
            [
                _rule(["authorization.k8s.io"], reviews, ["create"]),
                _rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
            ],
        ),
        _role(
            "system:discovery",
            [
                {
                    "verbs": ["get"],
                    "nonResourceURLs": [
                        *health,
                        "/api",
                        "/api/*",
                        "/apis",
                        "/apis/*",
                        "/openapi",
                        "/openapi/*",
                    ],
                }
            ],
        ),
        _role("system:public-info-viewer", [{"verbs": ["get"], "nonResourceURLs": health}]),
        _role("system:aggregate-to-view", see, to="view"),
        _role("system:aggregate-to-edit", change, to="edit"),
        _role("system:aggregate-to-admin", grant, to="admin"),
        _gathered("view", ["view"]),
        _gathered("edit", ["view", "edit"]),
        _gathered("admin", ["view", "edit", "admin"]),
    ]


def _role(name: str, rules: list[Object], to: str = "") -> Object:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    if to:
        labels[f"{AGGREGATE}{to}"] = "true"
    return {"metadata": {"name": name, "labels": labels}, "rules": rules}


def _gathered(name: str, parts: list[str]) -> Object:
    selectors = [{"matchLabels": {f"{AGGREGATE}{part}": "true"}} for part in parts]
    return _role(name, []) | {"aggregationRule": {"clusterRoleSelectors": selectors}}
