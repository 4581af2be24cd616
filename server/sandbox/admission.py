"""What stands between a valid object and the store: the admission of a control plane."""

from __future__ import annotations

import secrets
from typing import Any

from . import limits, podsecurity, quota
from .errors import ApiError, Cause, forbidden
from .kinds import Kind, Kinds
from .pods import quality
from .policies import MutatingPolicies
from .schema import clone
from .store import Store

Object = dict[str, Any]
SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


def suffix() -> str:
    """Five characters that make a generated name its own."""
    return "".join(secrets.choice(SUFFIX) for _ in range(5))


class Admission:
    """Changes and checks new objects; it only reads the store."""

    def __init__(self, store: Store, kinds: Kinds) -> None:
        self._store = store
        self._kinds = kinds
        self._policies = MutatingPolicies(store, kinds)

    def mutate(self, kind: Kind, obj: Object) -> None:
        """What admission adds to a new object."""
        self._check_namespace(kind, obj)
        if kind.kind == "Pod":
            self._service_account(kind, obj)
            limits.set_defaults(self._limit_ranges(obj), obj)
            _priority_and_tolerations(obj["spec"])
        self._policies.mutate(kind, obj, self._namespace(obj))
        if kind.kind == "Pod":
            obj["status"] = {"phase": "Pending", "qosClass": quality(obj["spec"])}

    def validate(self, kind: Kind, obj: Object, warnings: list[str]) -> None:
        """What admission refuses, or warns of, in a new object."""
        namespace = self._namespace(obj)
        labels = namespace["metadata"].get("labels", {}) if namespace else {}
        if kind.kind == "Pod":
            if found := podsecurity.violations(labels, "enforce", obj["spec"]):
                raise forbidden(kind, obj["metadata"]["name"], found.format("s"))
            limits.check(self._limit_ranges(obj), kind, obj)
        self.warn(kind, obj, warnings)
        if kind.namespaced:
            if kind.kind == "PersistentVolumeClaim":
                limits.check(self._limit_ranges(obj), kind, obj)
            quota.admit(self._store, self._kinds, kind, obj)

    def warn(self, kind: Kind, obj: Object, warnings: list[str]) -> None:
        """Warn of a workload whose pods would be refused."""
        spec = podsecurity.pod_template(kind.kind, obj)
        namespace = self._namespace(obj)
        if spec is None or namespace is None:
            return
        labels = namespace["metadata"].get("labels", {})
        if found := podsecurity.violations(labels, "warn", spec):
            warnings.append("would " + found.format(""))

    def _namespace(self, obj: Object) -> Object | None:
        name = obj["metadata"].get("namespace")
        record = self._store.get(self._kinds.named("Namespace"), "", name) if name else None
        return record.object if record else None

    def _limit_ranges(self, obj: Object) -> list[Object]:
        space = obj["metadata"]["namespace"]
        return [r.object for r in self._store.records(self._kinds.named("LimitRange"), space)]

    def _check_namespace(self, kind: Kind, obj: Object) -> None:
        if not kind.namespaced:
            return
        name = obj["metadata"]["namespace"]
        namespace = self._namespace(obj)
        if namespace is None:
            about = {"name": name, "kind": "namespaces"}
            raise ApiError(404, "NotFound", f'namespaces "{name}" not found', about)
        if namespace["metadata"].get("deletionTimestamp"):
            cause = Cause(
                "NamespaceTerminating",
                f"namespace {name} is being terminated",
                "metadata.namespace",
            )
            why = f"unable to create new content in namespace {name} because it is being terminated"
            raise forbidden(kind, obj["metadata"].get("name", ""), why, [cause])

    def _service_account(self, kind: Kind, pod: Object) -> None:
        spec, meta = pod["spec"], pod["metadata"]
        name = spec.setdefault("serviceAccountName", "default")
        spec["serviceAccount"] = name
        found = self._store.get(self._kinds.named("ServiceAccount"), meta["namespace"], name)
        if found is None:
            why = (
                f"error looking up service account {meta['namespace']}/{name}: "
                f'serviceaccount "{name}" not found'
            )
            raise forbidden(kind, meta["name"], why)
        account = found.object
        mounts = spec.get(
            "automountServiceAccountToken", account.get("automountServiceAccountToken", True)
        )
        if mounts:
            _mount_token(spec)
        if "imagePullSecrets" in account and "imagePullSecrets" not in spec:
            spec["imagePullSecrets"] = clone(account["imagePullSecrets"])


def _mount_token(spec: Object) -> None:
    name = f"kube-api-access-{suffix()}"
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {
            "downwardAPI": {
                "items": [
                    {
                        "path": "namespace",
                        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                    }
                ]
            }
        },
    ]
    volume = {"name": name, "projected": {"sources": sources, "defaultMode": 420}}
    spec["volumes"] = [*spec.get("volumes", ()), volume]
    for container in [*spec.get("initContainers", ()), *spec.get("containers", ())]:
        mounts = container.get("volumeMounts", [])
        if all(mount.get("mountPath") != MOUNT_PATH for mount in mounts):
            mount = {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}
            container["volumeMounts"] = [*mounts, mount]


def _priority_and_tolerations(spec: Object) -> None:
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerations = spec.setdefault("tolerations", [])
    for name in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{name}"
        if not any(
            t.get("key") in (key, None) and t.get("effect") in ("NoExecute", None)
            for t in tolerations
        ):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            )
