"""Which kinds a cluster has, what people call them, and where their objects are found."""

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tools.errors import Code, ToolError
from tools.plan import Ref

if TYPE_CHECKING:
    from tools.backends.kubernetes.api import Api

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
# A word that no kind has is not asked about again for so long.
REDISCOVER_S = 10.0
SEGMENT = re.compile(r"^(?!\.{1,2}$)[A-Za-z0-9:][-A-Za-z0-9_.:]{0,252}$")


@dataclass(frozen=True)
class Kind:
    """One kind of a cluster: `name` is `apps/v1/Deployment`, `plural` the word in its paths."""

    name: str
    plural: str
    namespaced: bool = True
    short: tuple[str, ...] = field(default=(), compare=False)

    @property
    def api_version(self) -> str:
        return self.name.rpartition("/")[0]

    @property
    def word(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str = "", name: str = "", part: str = "") -> str:
        """The path of a collection, an object, or a part of it (`scale`, `log`)."""
        steps = ["apis" if self.group else "api", self.api_version]
        if namespace and self.namespaced:
            steps += ["namespaces", _segment(namespace)]
        steps.append(self.plural)
        steps += [_segment(name)] if name else []
        steps += [part] if part else []
        return "/" + "/".join(steps)

    def words(self) -> list[str]:
        """All that it answers to, in lower case."""
        kind = self.word.lower()
        group = f".{self.group}" if self.group else ""
        version = self.api_version.rpartition("/")[2]
        names = [self.name.lower(), kind, self.plural, *self.short]
        if group:
            names += [f"{n}{group}" for n in (kind, self.plural)]
            names += [f"{n}.{version}{group}" for n in (kind, self.plural)]
        return names


def _segment(text: str) -> str:
    if not SEGMENT.match(text):
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{text[:80]!r} is no name of an object.",
            "Names are letters, digits, '-' and '.'.",
        )
    return quote(text, safe="-._~:")


# Known without asking, so that a start and the usual call need no discovery.
# apiVersion, Kind, plural, short names; those of the whole cluster begin with a slash.
COMMON = """
v1 Pod pods po
v1 Service services svc
v1 ConfigMap configmaps cm
v1 Secret secrets
v1 ServiceAccount serviceaccounts sa
v1 Event events ev
v1 PersistentVolumeClaim persistentvolumeclaims pvc
v1 ResourceQuota resourcequotas quota
v1 LimitRange limitranges limits
v1 Namespace /namespaces ns
v1 Node /nodes no
v1 PersistentVolume /persistentvolumes pv
apps/v1 Deployment deployments deploy
apps/v1 StatefulSet statefulsets sts
apps/v1 DaemonSet daemonsets ds
apps/v1 ReplicaSet replicasets rs
batch/v1 Job jobs
batch/v1 CronJob cronjobs cj
autoscaling/v2 HorizontalPodAutoscaler horizontalpodautoscalers hpa
networking.k8s.io/v1 NetworkPolicy networkpolicies netpol
networking.k8s.io/v1 Ingress ingresses ing
policy/v1 PodDisruptionBudget poddisruptionbudgets pdb
rbac.authorization.k8s.io/v1 Role roles
rbac.authorization.k8s.io/v1 RoleBinding rolebindings
rbac.authorization.k8s.io/v1 ClusterRole /clusterroles
rbac.authorization.k8s.io/v1 ClusterRoleBinding /clusterrolebindings
authorization.k8s.io/v1 SelfSubjectAccessReview /selfsubjectaccessreviews
"""


def common() -> list[Kind]:
    rows = (line.split() for line in COMMON.strip().splitlines())
    return [
        Kind(f"{version}/{kind}", plural.lstrip("/"), not plural.startswith("/"), tuple(short))
        for version, kind, plural, *short in rows
    ]


class Kinds:
    """The kinds of one cluster, by every word for them; asks the cluster for those not common."""

    def __init__(self, api: "Api") -> None:
        self._api = api
        self._by_word: dict[str, Kind] = {}
        self._learn(common())
        self._asked: float | None = None
        self._lock = asyncio.Lock()

    async def find(self, word: str) -> Kind:
        """The kind for `deploy`, `Ingress`, `certificates.cert-manager.io` or `batch/v1/Job`.
        Raises `ToolError(INVALID_ARGUMENT)` where the cluster has none."""
        key = word.strip().lower()
        if key not in self._by_word:
            await self._discover()
        if kind := self._by_word.get(key):
            return kind
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"Cluster {self._api.name} has no kind {word[:80]!r}.",
            "Write it as `deploy`, `ingresses.networking.k8s.io` or `apps/v1/Deployment`.",
        )

    async def path(self, ref: Ref, part: str = "") -> str:
        """Where an object is. Raises `ToolError` for a kind or a name that cannot be."""
        kind = await self.find(ref.kind)
        if kind.namespaced and not ref.namespace:
            raise ToolError(
                Code.INVALID_ARGUMENT, f"{kind.word} {ref.name} is in no namespace.", "Name one."
            )
        return kind.path(ref.namespace, ref.name or "?", part)

    def all(self) -> list[Kind]:
        return sorted(set(self._by_word.values()), key=lambda kind: kind.name)

    def _learn(self, kinds: list[Kind]) -> None:
        for kind in kinds:
            for word in kind.words():
                self._by_word.setdefault(word, kind)

    async def _discover(self) -> None:
        async with self._lock:
            if self._asked is not None and time.monotonic() - self._asked < REDISCOVER_S:
                return
            answers = await asyncio.gather(
                *(self._api.get(root, accept=AGGREGATED) for root in ("/api", "/apis"))
            )
            if all(a.get("kind") == "APIGroupDiscoveryList" for a in answers):
                self._learn([kind for answer in answers for kind in _aggregated(answer)])
            else:
                self._learn(await self._one_by_one(*answers))
            self._asked = time.monotonic()

    async def _one_by_one(self, core: Any, groups: Any) -> list[Kind]:
        """Discovery as it was before 1.27: a request for each group."""
        versions = [(f"/api/{v}", v) for v in core.get("versions") or ()]
        for group in groups.get("groups") or ():
            listed = [v["groupVersion"] for v in group["versions"]]
            best = (group.get("preferredVersion") or {}).get("groupVersion", listed[0])
            ordered = [best, *(v for v in listed if v != best)]
            versions += [(f"/apis/{v}", v) for v in ordered]
        answers = await asyncio.gather(
            *(self._api.get(path) for path, _ in versions), return_exceptions=True
        )
        return [
            Kind(
                f"{version}/{r['kind']}",
                r["name"],
                bool(r.get("namespaced")),
                tuple(r.get("shortNames") or ()),
            )
            # A group whose own server is down takes nothing away from the others.
            for (_, version), answer in zip(versions, answers, strict=True)
            if isinstance(answer, dict)
            for r in answer.get("resources") or ()
            if "/" not in r["name"]
        ]


def _aggregated(answer: Any) -> list[Kind]:
    kinds = []
    for group in answer.get("items") or ():
        name = (group.get("metadata") or {}).get("name", "")
        for version in group.get("versions") or ():
            of = f"{name}/{version['version']}" if name else version["version"]
            for r in version.get("resources") or ():
                kinds.append(
                    Kind(
                        f"{of}/{(r.get('responseKind') or {}).get('kind', '')}",
                        r["resource"],
                        r.get("scope") == "Namespaced",
                        tuple(r.get("shortNames") or ()),
                    )
                )
    return kinds
