"""The kinds that the practice cluster serves, as one table."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .schema import Shape, custom_shape, object_shape

Object = dict[str, Any]
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE_ONLY = ("create",)
READ_ONLY = ("get", "list")


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of object: where it is served, and how it behaves there."""

    group: str
    version: str
    kind: str
    plural: str
    shape: Shape
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[str, ...] = ()
    generation: bool = False
    returns_deleted: bool = False
    list_kind: str = ""
    printer_columns: tuple[Object, ...] = field(default=(), repr=False)

    @property
    def api_version(self) -> str:
        """`apps/v1`, `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """`deployments.apps`, `pods`: the name that messages use."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        """The lower-case kind."""
        return self.kind.lower()


def _kind(api_version: str, kind: str, plural: str, **rest: Any) -> Kind:
    group, _, version = api_version.rpartition("/")
    return Kind(group, version, kind, plural, object_shape(kind), **rest)


ALL = ("all",)
STATUS = ("status",)
SCALED = ("scale", "status")
RBAC = "rbac.authorization.k8s.io/v1"
ADMISSION = "admissionregistration.k8s.io/v1"
CLUSTER: dict[str, Any] = {"namespaced": False}

BUILT_IN = (
    _kind("v1", "ConfigMap", "configmaps", short=("cm",)),
    _kind("v1", "Event", "events", short=("ev",)),
    _kind("v1", "LimitRange", "limitranges", short=("limits",)),
    _kind(
        "v1", "Namespace", "namespaces", short=("ns",), subresources=("finalize", "status"),
        verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"), **CLUSTER,
    ),
    _kind("v1", "Node", "nodes", short=("no",), subresources=STATUS, **CLUSTER),
    _kind(
        "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short=("pvc",),
        subresources=STATUS, returns_deleted=True,
    ),
    _kind(
        "v1", "Pod", "pods", short=("po",), categories=ALL, returns_deleted=True,
        subresources=("eviction", "log", "resize", "status"), generation=True,
    ),
    _kind(
        "v1", "ResourceQuota", "resourcequotas", short=("quota",), subresources=STATUS,
        returns_deleted=True,
    ),
    _kind("v1", "Secret", "secrets"),
    _kind("v1", "ServiceAccount", "serviceaccounts", short=("sa",), returns_deleted=True),
    _kind(
        "v1", "Service", "services", short=("svc",), categories=ALL, subresources=STATUS,
        returns_deleted=True,
    ),
    _kind(
        "apps/v1", "DaemonSet", "daemonsets", short=("ds",), categories=ALL,
        subresources=STATUS, generation=True,
    ),
    _kind(
        "apps/v1", "Deployment", "deployments", short=("deploy",), categories=ALL,
        subresources=SCALED, generation=True,
    ),
    _kind(
        "apps/v1", "ReplicaSet", "replicasets", short=("rs",), categories=ALL,
        subresources=SCALED, generation=True,
    ),
    _kind(
        "apps/v1", "StatefulSet", "statefulsets", short=("sts",), categories=ALL,
        subresources=SCALED, generation=True,
    ),
    _kind("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews",
          verbs=CREATE_ONLY, **CLUSTER),
    _kind("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews",
          verbs=CREATE_ONLY, **CLUSTER),
    _kind("authorization.k8s.io/v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews",
          verbs=CREATE_ONLY, **CLUSTER),
    _kind("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews",
          verbs=CREATE_ONLY, **CLUSTER),
    _kind(
        "autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers",
        short=("hpa",), categories=ALL, subresources=STATUS,
    ),
    _kind(
        "batch/v1", "CronJob", "cronjobs", short=("cj",), categories=ALL, subresources=STATUS,
        generation=True,
    ),
    _kind("batch/v1", "Job", "jobs", categories=ALL, subresources=STATUS, generation=True),
    _kind(
        "networking.k8s.io/v1", "Ingress", "ingresses", short=("ing",), subresources=STATUS,
        generation=True,
    ),
    _kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", short=("netpol",),
          generation=True),
    _kind(
        "policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", short=("pdb",),
        subresources=STATUS, generation=True,
    ),
    _kind(RBAC, "ClusterRoleBinding", "clusterrolebindings", **CLUSTER),
    _kind(RBAC, "ClusterRole", "clusterroles", **CLUSTER),
    _kind(RBAC, "RoleBinding", "rolebindings"),
    _kind(RBAC, "Role", "roles"),
    _kind(ADMISSION, "MutatingAdmissionPolicy", "mutatingadmissionpolicies", generation=True,
          **CLUSTER),
    _kind(ADMISSION, "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings",
          generation=True, **CLUSTER),
    _kind(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions",
        short=("crd", "crds"), subresources=STATUS, generation=True, **CLUSTER,
    ),
    _kind("coordination.k8s.io/v1", "Lease", "leases"),
    _kind("metrics.k8s.io/v1beta1", "PodMetrics", "pods", verbs=READ_ONLY),
    _kind("metrics.k8s.io/v1beta1", "NodeMetrics", "nodes", verbs=READ_ONLY, **CLUSTER),
)  # fmt: skip

SCALE = _kind("autoscaling/v1", "Scale", "scales")
EVICTION = _kind("policy/v1", "Eviction", "evictions")
SUBRESOURCE_KINDS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "log": ("", "", "Pod", ("get",)),
    "finalize": ("", "", "Namespace", ("update",)),
}


class Kinds:
    """All kinds that are served now; definitions of custom ones come and go."""

    def __init__(self) -> None:
        self._by_path = {(k.group, k.version, k.plural): k for k in BUILT_IN}

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self._by_path.values()))

    def at(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind served at a path."""
        return self._by_path.get((group, version, plural))

    def named(self, kind: str, group: str | None = None) -> Kind:
        """The kind of that name."""
        return next(
            k for k in self._by_path.values() if k.kind == kind and group in (None, k.group)
        )

    def of(self, body: Object) -> Kind | None:
        """The kind that an object says it is."""
        group, _, version = str(body.get("apiVersion", "")).rpartition("/")
        for kind in self._by_path.values():
            if (kind.group, kind.version, kind.kind) == (group, version, body.get("kind")):
                return kind
        return None

    def define(self, definition: Object) -> None:
        """Serve what a CustomResourceDefinition describes."""
        self.forget(definition)
        for kind in _custom_kinds(definition):
            self._by_path[kind.group, kind.version, kind.plural] = kind

    def forget(self, definition: Object) -> None:
        """Stop serving it."""
        spec = definition["spec"]
        self._by_path = {
            path: kind
            for path, kind in self._by_path.items()
            if (kind.group, kind.plural) != (spec["group"], spec["names"]["plural"])
        }


def _custom_kinds(definition: Object) -> list[Kind]:
    spec = definition["spec"]
    names = spec["names"]
    kinds = []
    for version in spec["versions"]:
        if not version.get("served", True):
            continue
        openapi = version.get("schema", {}).get("openAPIV3Schema", {})
        kinds.append(
            Kind(
                spec["group"],
                version["name"],
                names["kind"],
                names["plural"],
                custom_shape(openapi.get("properties")),
                namespaced=spec.get("scope", "Namespaced") == "Namespaced",
                short=tuple(names.get("shortNames", ())),
                categories=tuple(names.get("categories", ())),
                subresources=tuple(s for s in version.get("subresources", {}) if s == "status"),
                generation=True,
                list_kind=names.get("listKind", ""),
                printer_columns=tuple(version.get("additionalPrinterColumns", ())),
            )
        )
    return kinds


def resource_list(kinds: Iterable[Kind], group: str, version: str) -> Object:
    """What discovery says about one group and version."""
    entries: list[Object] = []
    for kind in kinds:
        if (kind.group, kind.version) != (group, version):
            continue
        entry: Object = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short:
            entry["shortNames"] = list(kind.short)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        if kind.verbs is ALL_VERBS or "watch" in kind.verbs:
            seen = hashlib.sha256(f"{group}/{version}/{kind.kind}".encode()).digest()[:8]
            entry["storageVersionHash"] = base64.b64encode(seen).decode()
        entries.append(entry)
        entries += [_subresource(kind, name) for name in kind.subresources]
    body = {"kind": "APIResourceList", "groupVersion": f"{group}/{version}".lstrip("/")}
    if group:
        body["apiVersion"] = "v1"
    return body | {"resources": entries}


def _subresource(kind: Kind, name: str) -> Object:
    own = ("", "", kind.kind, ("get", "patch", "update"))
    group, version, shown, verbs = SUBRESOURCE_KINDS.get(name, own)
    entry: Object = {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
    }
    if group:
        entry |= {"group": group, "version": version}
    return entry | {"kind": shown, "verbs": list(verbs)}


def group_list(kinds: Iterable[Kind]) -> Object:
    """The groups, with the versions of each."""
    versions: dict[str, list[str]] = {}
    for kind in kinds:
        if kind.group and kind.version not in versions.setdefault(kind.group, []):
            versions[kind.group].append(kind.version)
    groups = [group_entry(name, served) for name, served in versions.items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group_entry(name: str, versions: list[str]) -> Object:
    """One group in discovery."""
    listed = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}
