"""Whose a pod is: through ReplicaSets and Jobs up to what a person made, now and in the past."""

import re
from collections.abc import Collection
from typing import NamedTuple

from recommender.prometheus import Prometheus
from recommender.queries import OWNERS, Queries, metrics_of

# What Kubernetes puts at the end of generated names.
SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
OF_DEPLOYMENT = re.compile(rf"^(?P<name>.+)-{SAFE}{{6,10}}-{SAFE}{{5}}$")
OF_CRONJOB = re.compile(r"^(?P<name>.+)-\d{8,10}(-[a-z0-9]{5})?$")
OF_STATEFULSET = re.compile(r"^(?P<name>.+)-\d{1,4}$")
OF_DAEMONSET = re.compile(rf"^(?P<name>.+)-{SAFE}{{5}}$")
GUESSES = (
    ("CronJob", OF_CRONJOB),
    ("Deployment", OF_DEPLOYMENT),
    ("StatefulSet", OF_STATEFULSET),
    ("DaemonSet", OF_DAEMONSET),
)
REPLICASET = re.compile(rf"^(?P<name>.+)-{SAFE}{{5,10}}$")


class Owner(NamedTuple):
    """A workload, and whether that was only guessed from a pod's name."""

    kind: str
    name: str
    guessed: bool = False


class Owners:
    """Who owns the pods of some namespaces, and which of them use which PersistentVolumeClaim."""

    def __init__(self) -> None:
        self.pods: dict[tuple[str, str], tuple[str, str]] = {}
        self.replicasets: dict[tuple[str, str], tuple[str, str]] = {}
        self.jobs: dict[tuple[str, str], tuple[str, str]] = {}
        self.claims: dict[tuple[str, str], str] = {}

    def of(self, namespace: str, pod: str) -> Owner:
        """The workload of a pod; the pod itself where nothing owns it."""
        found = self.pods.get((namespace, pod))
        if found is None:
            return guessed(pod)
        kind, name = found
        match kind:
            case "ReplicaSet":
                above = self.replicasets.get((namespace, name))
                if above is None and (match := REPLICASET.match(name)):
                    above = ("Deployment", match["name"])
            case "Job":
                above = self.jobs.get((namespace, name))
                if above is None and (match := OF_CRONJOB.match(name)):
                    above = ("CronJob", match["name"])
            case "" | "<none>":
                above = ("Pod", pod)
            case "Node":  # a static pod's mirror: its name ends in the node's
                above = ("Pod", pod.removesuffix(f"-{name}"))
            case _:
                above = None
        return Owner(*(above if above and above[0] not in ("", "<none>") else (kind, name)))


def guessed(pod: str) -> Owner:
    """What a pod's name looks like."""
    for kind, pattern in GUESSES:
        if match := pattern.match(pod):
            return Owner(kind, match["name"], guessed=True)
    return Owner("Pod", pod, guessed=True)


def read_owners(
    prometheus: Prometheus,
    queries: Queries,
    names: Collection[str],
    namespaces: Collection[str],
    start: float,
    end: float,
) -> Owners:
    """All that was so at any time between the two, so that pods of past rollouts are known too."""
    owners = Owners()
    for what, template in OWNERS.items():
        if not queries.there(metrics_of(template), names):
            continue
        for labels in prometheus.series(queries.expr(template, namespaces), start, end):
            _keep(owners, what, labels)
    return owners


def _keep(owners: Owners, what: str, labels: dict[str, str]) -> None:
    namespace, pod = labels.get("namespace", ""), labels.get("pod", "")
    owner = (labels.get("owner_kind", ""), labels.get("owner_name", ""))
    match what:
        case "claims":
            owners.claims[namespace, labels.get("persistentvolumeclaim", "")] = pod
        case "pod":
            # An owner that is no controller stands beside the one that is.
            if labels.get("owner_is_controller") != "false" or (namespace, pod) not in owners.pods:
                owners.pods[namespace, pod] = owner
        case "replicaset":
            owners.replicasets[namespace, labels.get("replicaset", "")] = owner
        case "job":
            owners.jobs[namespace, labels.get("job_name", "")] = owner
