"""What is asked of Prometheus, as data: one query per metric for many namespaces at once.

Metrics go by the names of cAdvisor, the kubelet and kube-state-metrics. A name that starts with `$`
is a metric, and may be called something else in the settings; `$where` is which namespaces,
`$step` the seconds that a value stands for.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Literal

from recommender.model import RecommenderError

STEP = 300.0
RUNNING = 'container!="",container!="POD",$where'
POD = "max by (namespace, pod, container)"
OWN_WORDS = ("where", "step")

Fold = Literal["max", "sum"]
# What a series is about: the container or pod of a workload, or an object of that kind by itself.
Grain = Literal["container", "pod", "Deployment", "StatefulSet", "DaemonSet", "claim", "quota"]


@dataclass(frozen=True)
class Query:
    """`folds`: what becomes of it over all pods of a workload, by the name it is kept under."""

    name: str
    template: str
    grain: Grain = "container"
    folds: Mapping[str, Fold] = field(default_factory=dict)
    # Without it the recommender has nothing to say.
    must: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it reads, by their usual names."""
        found = Template(self.template).get_identifiers()
        return tuple(dict.fromkeys(name for name in found if name not in OWN_WORDS))


def _pods(name: str, of: str, **more: Fold) -> Query:
    """Not `max by` pod: that is more than half of what Prometheus would be busy with, and is done
    here in no time."""
    return Query(name, of, folds={name: "max", **more}, must=name in ("cpu", "memory"))


def _ready(kind: Grain, metric: str) -> Query:
    label = str(kind).lower()
    expr = f"max by (namespace, {label}) (${metric}{{$where}})"
    return Query(f"replicas-{label}", expr, kind, {"replicas": "max"})


def _counted(name: str, metric: str, where: str, also: str = "") -> Query:
    """How often something happened in each step: exact, where `increase` guesses at the edges."""
    now, before = (f"{POD} (${metric}{{{where}}}{offset})" for offset in ("", " offset ${step}s"))
    return Query(name, f"({now} - {before} > 0){also}", folds={name.partition("-")[0]: "sum"})


OOM_KILLED = (
    f" and on (namespace, pod, container) ({POD} "
    '($kube_pod_container_status_last_terminated_reason{reason="OOMKilled",$where}) == 1)'
)

# Read as ranges, in this order, from where the last run ended.
RANGES = (
    _pods(
        "cpu", f"rate($container_cpu_usage_seconds_total{{{RUNNING}}}[${{step}}s])", demand="sum"
    ),
    _pods("memory", f"max_over_time($container_memory_working_set_bytes{{{RUNNING}}}[${{step}}s])"),
    _pods(
        "throttled",
        f"increase($container_cpu_cfs_throttled_periods_total{{{RUNNING}}}[${{step}}s])"
        f" / increase($container_cpu_cfs_periods_total{{{RUNNING}}}[${{step}}s])",
    ),
    _counted("restarts", "kube_pod_container_status_restarts_total", "$where"),
    _counted("oom", "kube_pod_container_status_restarts_total", "$where", OOM_KILLED),
    _counted("oom-cadvisor", "container_oom_events_total", RUNNING),
    _ready("Deployment", "kube_deployment_status_replicas_ready"),
    _ready("StatefulSet", "kube_statefulset_status_replicas_ready"),
    _ready("DaemonSet", "kube_daemonset_status_number_ready"),
    Query(
        "network",
        "sum by (namespace, pod) "
        '(rate($container_network_receive_bytes_total{pod!="",$where}[${step}s]))',
        "pod",
        {"network": "sum"},
    ),
    Query(
        "disk",
        "max by (namespace, persistentvolumeclaim) ($kubelet_volume_stats_used_bytes{$where})",
        "claim",
        {"disk": "max"},
    ),
    Query(
        "quota",
        'max by (namespace, resourcequota, resource) ($kube_resourcequota{type="used",$where})',
        "quota",
        {"quota": "max"},
    ),
)

BY_RESOURCE = "max by (namespace, pod, container, resource)"
RESOURCES = 'resource=~"cpu|memory",$where'
HPA = "(namespace, horizontalpodautoscaler)"
# Asked for as they are now.
FACTS = {
    "containers": "group by (namespace, pod, container) ($kube_pod_container_info{$where})",
    "requests": f"{BY_RESOURCE} ($kube_pod_container_resource_requests{{{RESOURCES}}})",
    "limits": f"{BY_RESOURCE} ($kube_pod_container_resource_limits{{{RESOURCES}}})",
    "wanted-deployment": "max by (namespace, deployment) ($kube_deployment_spec_replicas{$where})",
    "wanted-statefulset": "max by (namespace, statefulset) ($kube_statefulset_replicas{$where})",
    "wanted-daemonset": (
        "max by (namespace, daemonset) ($kube_daemonset_status_desired_number_scheduled{$where})"
    ),
    "hpa-of": (
        "group by (namespace, horizontalpodautoscaler, scaletargetref_kind, scaletargetref_name)"
        " ($kube_horizontalpodautoscaler_info{$where})"
    ),
    "hpa-min": f"max by {HPA} ($kube_horizontalpodautoscaler_spec_min_replicas{{$where}})",
    "hpa-max": f"max by {HPA} ($kube_horizontalpodautoscaler_spec_max_replicas{{$where}})",
    "hpa-target": (
        "max by (namespace, horizontalpodautoscaler, metric_name, metric_target_type)"
        " ($kube_horizontalpodautoscaler_spec_target_metric{$where})"
    ),
    "starts-in": (
        "max by (namespace, pod) ($kube_pod_status_ready_time{$where})"
        " - max by (namespace, pod) ($kube_pod_start_time{$where})"
    ),
    "capacity": (
        "max by (namespace, persistentvolumeclaim) ($kubelet_volume_stats_capacity_bytes{$where})"
    ),
    "quota-hard": (
        'max by (namespace, resourcequota, resource) ($kube_resourcequota{type="hard",$where})'
    ),
}

# Whose labels say what belongs to what; read from the index.
OWNERS = {
    "pod": "$kube_pod_owner{$where}",
    "replicaset": "$kube_replicaset_owner{$where}",
    "job": "$kube_job_owner{$where}",
    "claims": "$kube_pod_spec_volumes_persistentvolumeclaims_info{$where}",
}
# There wherever kube-state-metrics is.
STATE_METRICS = "kube_pod_owner"
SURVEY = f"count by (namespace) ($container_memory_working_set_bytes{{{RUNNING}}})"
SURVEYED = f"$container_memory_working_set_bytes{{{RUNNING}}}"

_PLAIN = str.maketrans({c: f"\\{c}" for c in "\\.+*?()|[]{}^$"})


@dataclass(frozen=True)
class Queries:
    """The queries, as the settings want them. `names` are what metrics are called here instead of
    their usual names; `more` are expressions by what they are kept under (`requests`: requests per
    second, by namespace and pod) or instead of one of ours; `matchers` go into every selector, such
    as `cluster="eu"` where a Prometheus holds several."""

    names: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    matchers: str = ""

    @property
    def ranges(self) -> tuple[Query, ...]:
        mine = {query.name: query for query in RANGES}
        for name, template in self.more.items():
            usual = mine.get(name) or Query(name, "", "pod", {name: "sum"})
            mine[name] = Query(name, template, usual.grain, usual.folds, usual.must)
        return tuple(mine.values())

    def called(self, metric: str) -> str:
        """What a metric is called here."""
        return self.names.get(metric, metric)

    def expr(self, template: str, namespaces: Collection[str] = (), step: float = STEP) -> str:
        """The expression, for some namespaces or for all."""
        found = Template(template)
        where = [self.matchers, among("namespace", namespaces) if namespaces else 'namespace!=""']
        words = {name: self.called(name) for name in found.get_identifiers()}
        words |= {"where": ",".join(word for word in where if word), "step": f"{step:g}"}
        try:
            return found.substitute(words)
        except ValueError:
            raise RecommenderError(
                f"A query of the settings cannot be used: {template}",
                "A `$` is followed by a metric's name, by `where` or by `step`.",
            ) from None

    def there(self, metrics: Iterable[str], names: Collection[str]) -> bool:
        """Whether all these metrics are among those that a server has."""
        return all(self.called(metric) in names for metric in metrics)


def metrics_of(template: str) -> tuple[str, ...]:
    """The metrics that a template reads, by their usual names."""
    return Query("", template).metrics


def quoted(value: str) -> str:
    """A text as PromQL writes it."""
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def among(label: str, values: Collection[str]) -> str:
    """A matcher for a label that has one of these values, whatever is in them."""
    if len(values) == 1:
        return f"{label}={quoted(next(iter(values)))}"
    return f"{label}=~{quoted('|'.join(value.translate(_PLAIN) for value in sorted(values)))}"
