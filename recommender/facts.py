"""What workloads are like now: their containers, requests and limits, autoscalers and disks."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from statistics import median

import msgspec

from recommender.answers import Labels
from recommender.history import Facts
from recommender.owners import Owner, Owners
from recommender.prometheus import Prometheus
from recommender.queries import FACTS, RUNNING, Queries, metrics_of

NAMESPACE = "Namespace"
CLAIM = "PersistentVolumeClaim"
QUOTA = "ResourceQuota"
# Longer than this a pod does not take to start: it has been unready since.
STARTS_IN_MOST = 3600.0
# Where kube-state-metrics does not tell of the containers.
RUNS = f"group by (namespace, pod, container) ($container_memory_working_set_bytes{{{RUNNING}}})"
WANTED = {"wanted-deployment": "Deployment", "wanted-statefulset": "StatefulSet",
          "wanted-daemonset": "DaemonSet"}  # fmt: skip


class Scaler(msgspec.Struct):
    """An autoscaler, as its metrics tell it."""

    name: str
    least: int = 1
    most: int = 1
    resources: list[str] = msgspec.field(default_factory=list)
    target: float | None = None


class Told(msgspec.Struct):
    """What is kept of a workload: requests and limits by container (`cpu_request`, …), disks and
    quotas by what they hold."""

    containers: dict[str, dict[str, float]] = msgspec.field(default_factory=dict)
    wanted: int | None = None
    scaler: Scaler | None = None
    starts_in: float | None = None
    disks: dict[str, float] = msgspec.field(default_factory=dict)
    quotas: dict[str, float] = msgspec.field(default_factory=dict)
    guessed: bool = False


def read_facts(
    prometheus: Prometheus,
    queries: Queries,
    names: Collection[str],
    namespaces: Collection[str],
    owners: Owners,
    now: float,
) -> list[Facts]:
    """Everything of these namespaces that is there now."""
    found: dict[str, list[tuple[Labels, float]]] = defaultdict(list)
    for what, template in (FACTS | {"running": RUNS}).items():
        if queries.there(metrics_of(template), names):
            answer = prometheus.query(queries.expr(template, namespaces), now)
            found[what] = list(zip(answer.labels, answer.values.tolist(), strict=True))
    told = _Telling(owners)
    told.pods(found)
    told.wanted(found)
    told.scalers(found)
    told.bounds(found)
    return [
        Facts(namespace, kind, name, now, msgspec.json.encode(one).decode())
        for (namespace, kind, name), one in told.all.items()
    ]


class _Telling:
    """Puts what single metrics say together by workload."""

    def __init__(self, owners: Owners) -> None:
        self.owners = owners
        self.all: dict[tuple[str, str, str], Told] = defaultdict(Told)

    def _of(self, labels: Labels) -> tuple[Told, Owner]:
        namespace = labels.get("namespace", "")
        owner = self.owners.of(namespace, labels.get("pod", ""))
        return self.all[namespace, owner.kind, owner.name], owner

    def pods(self, found: dict[str, list[tuple[Labels, float]]]) -> None:
        for labels, _ in found["containers"]:
            one, owner = self._of(labels)
            one.guessed |= owner.guessed
            one.containers.setdefault(labels.get("container", ""), {})
        told = {where for where, one in self.all.items() if one.containers}
        for labels, _ in found["running"]:
            one, owner = self._of(labels)
            if (labels.get("namespace", ""), owner.kind, owner.name) not in told:
                one.guessed |= owner.guessed
                one.containers.setdefault(labels.get("container", ""), {})
        for what in ("request", "limit"):
            for labels, value in found[f"{what}s"]:
                one, _ = self._of(labels)
                # During a rollout old and new pods differ: what any of them asks for counts.
                known = one.containers.setdefault(labels.get("container", ""), {})
                name = f"{labels.get('resource', '')}_{what}"
                known[name] = max(value, known.get(name, 0.0))
        starts: dict[int, tuple[Told, list[float]]] = {}
        for labels, value in found["starts-in"]:
            if 0 <= value <= STARTS_IN_MOST:
                one, _ = self._of(labels)
                starts.setdefault(id(one), (one, []))[1].append(value)
        for one, seconds in starts.values():
            one.starts_in = median(seconds)

    def wanted(self, found: dict[str, list[tuple[Labels, float]]]) -> None:
        for what, kind in WANTED.items():
            for labels, value in found[what]:
                name = labels.get(kind.lower(), "")
                self.all[labels.get("namespace", ""), kind, name].wanted = round(value)

    def scalers(self, found: dict[str, list[tuple[Labels, float]]]) -> None:
        by_name: dict[tuple[str, str], Scaler] = {}
        for labels, _ in found["hpa-of"]:
            namespace, name = _scaler_of(labels)
            kind = labels.get("scaletargetref_kind", "")
            one = self.all[namespace, kind, labels.get("scaletargetref_name", "")]
            one.scaler = by_name[namespace, name] = Scaler(name)
        for scaler, _, value in _each(by_name, found["hpa-min"]):
            scaler.least = round(value)
        for scaler, _, value in _each(by_name, found["hpa-max"]):
            scaler.most = round(value)
        for scaler, labels, value in _each(by_name, found["hpa-target"]):
            metric = labels.get("metric_name", "")
            scaler.resources = sorted({*scaler.resources, metric})
            if labels.get("metric_target_type") == "utilization" and metric == "cpu":
                scaler.target = value / 100

    def bounds(self, found: dict[str, list[tuple[Labels, float]]]) -> None:
        for labels, value in found["capacity"]:
            namespace, claim = labels.get("namespace", ""), labels.get("persistentvolumeclaim", "")
            pod = self.owners.claims.get((namespace, claim))
            owner = self.owners.of(namespace, pod) if pod else Owner(NAMESPACE, namespace)
            self.all[namespace, owner.kind, owner.name].disks[claim] = value
        for labels, value in found["quota-hard"]:
            namespace = labels.get("namespace", "")
            what = f"{labels.get('resourcequota', '')}/{labels.get('resource', '')}"
            self.all[namespace, NAMESPACE, namespace].quotas[what] = value


def _scaler_of(labels: Labels) -> tuple[str, str]:
    return labels.get("namespace", ""), labels.get("horizontalpodautoscaler", "")


def _each(
    scalers: dict[tuple[str, str], Scaler], found: list[tuple[Labels, float]]
) -> Iterator[tuple[Scaler, Labels, float]]:
    for labels, value in found:
        if scaler := scalers.get(_scaler_of(labels)):
            yield scaler, labels, value
