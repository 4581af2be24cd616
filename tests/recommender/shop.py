"""A small cluster's two days as a real Prometheus scraped them, with all that happens in one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recommender.model import Floats
from tests.recommender.real import Scraped

ROOT = Path(__file__).parents[2]
DAY, HOUR, EVERY = 86_400, 3600, 60
ODD = 'we"ird\\(ns)|x'
OLD, NEW = "web-5d8f7c9b4d", "web-7d9c5b8f6d"
CPU, MEMORY = "container_cpu_usage_seconds_total", "container_memory_working_set_bytes"
GB = 1e9


class Cluster:
    """Gathers series, and gives them out metric by metric."""

    def __init__(self, now: float) -> None:
        self.now = now // 300 * 300
        self.times = np.arange(self.now - 2 * DAY, now, EVERY)
        self.found: list[Scraped] = []

    def between(self, hours_ago: float, until: float = 0.0) -> Floats:
        start, end = self.now - hours_ago * HOUR, self.now - until * HOUR
        return self.times[(self.times >= start) & (self.times < end)]

    def add(self, metric: str, times: Floats, values: Any, **labels: str) -> None:
        values = np.broadcast_to(np.asarray(values, dtype=float), times.shape)
        self.found.append((metric, labels, times, values))

    def container(
        self, pod: str, times: Floats, cores: Any, memory: Any,
        namespace: str = "shop", container: str = "app", id: str = "/1",
    ) -> None:  # fmt: skip
        """What cAdvisor has of one."""
        of = {"namespace": namespace, "pod": pod, "container": container, "id": id}
        grown = np.cumsum(np.broadcast_to(np.asarray(cores, dtype=float), times.shape) * EVERY)
        self.add(CPU, times, grown, **of)
        self.add(MEMORY, times, memory, **of)

    def pod(self, pod: str, times: Floats, kind: str, name: str, namespace: str = "shop") -> None:
        """What kube-state-metrics has of its owner."""
        self.add("kube_pod_owner", times, 1, namespace=namespace, pod=pod, owner_kind=kind,
                 owner_name=name, owner_is_controller="true", uid=f"uid-{pod}")  # fmt: skip

    def __iter__(self) -> Iterator[Scraped]:
        return iter(sorted(self.found, key=lambda one: one[0]))


def shop(now: float) -> Cluster:
    """Everything; `now` is when it was scraped last."""
    one = Cluster(now)
    _web(one)
    _db(one)
    _jobs(one)
    _others(one)
    return one


def _web(one: Cluster) -> None:
    """A Deployment: a rollout a day ago, a busier pod, a container that was killed, an autoscaler."""
    for hash_, times in ((OLD, one.between(48, 24)), (NEW, one.between(24))):
        one.add("kube_replicaset_owner", times, 1, namespace="shop", replicaset=hash_,
                owner_kind="Deployment", owner_name="web", owner_is_controller="true")  # fmt: skip
        for pod, cores in ((f"{hash_}-abcde", 0.1), (f"{hash_}-fghij", 0.3)):
            one.pod(pod, times, "ReplicaSet", hash_)
            one.container(pod, times, cores, 1e8 + 1e8 * cores)
            for resource, request, limit in (("cpu", 0.5, 1.0), ("memory", 2e8, 4e8)):
                labels = {"namespace": "shop", "pod": pod, "container": "app", "resource": resource}
                one.add("kube_pod_container_resource_requests", times, request, **labels)
                one.add("kube_pod_container_resource_limits", times, limit, **labels)
            one.add("kube_pod_container_info", times, 1, namespace="shop", pod=pod, container="app")
            started = float(times[0])
            one.add("kube_pod_start_time", times, started, namespace="shop", pod=pod)
            one.add("kube_pod_status_ready_time", times, started + 45, namespace="shop", pod=pod)
    times = one.between(24)
    killed = np.where(times >= one.now - 6 * HOUR, 1, 0) + np.where(
        times >= one.now - 2 * HOUR, 1, 0
    )
    app = {"namespace": "shop", "pod": f"{NEW}-abcde", "container": "app"}
    one.add("kube_pod_container_status_restarts_total", times, killed, **app)
    one.add("kube_pod_container_status_last_terminated_reason", one.between(6), 1,
            reason="OOMKilled", **app)  # fmt: skip
    periods = np.arange(len(times)) * EVERY * 10.0
    one.add("container_cpu_cfs_periods_total", times, periods, **app)
    one.add("container_cpu_cfs_throttled_periods_total", times, periods / 4, **app)
    of = {"namespace": "shop", "deployment": "web"}
    one.add("kube_deployment_spec_replicas", one.times, 2, **of)
    one.add("kube_deployment_status_replicas_ready", one.times, 2, **of)
    hpa = {"namespace": "shop", "horizontalpodautoscaler": "web-scaler"}
    target = {"scaletargetref_kind": "Deployment", "scaletargetref_name": "web"}
    one.add("kube_horizontalpodautoscaler_info", times, 1, **hpa, **target)
    one.add("kube_horizontalpodautoscaler_spec_min_replicas", times, 2, **hpa)
    one.add("kube_horizontalpodautoscaler_spec_max_replicas", times, 6, **hpa)
    of_cpu = {"metric_name": "cpu", "metric_target_type": "utilization"}
    one.add("kube_horizontalpodautoscaler_spec_target_metric", times, 70, **hpa, **of_cpu)
    one.add("kube_horizontalpodautoscaler_spec_target_metric", times, 2e8, **hpa,
            metric_name="memory", metric_target_type="average")  # fmt: skip


def _db(one: Cluster) -> None:
    """A StatefulSet whose container was renamed, whose counter began anew, and with a disk."""
    for container, times in (("postgres", one.between(48, 24)), ("pg", one.between(24))):
        one.container("db-0", times, 0.2, 5e8, container=container)
        one.add("kube_pod_container_info", times, 1, namespace="shop", pod="db-0",
                container=container)  # fmt: skip
    one.pod("db-0", one.times, "StatefulSet", "db")
    one.add("kube_statefulset_replicas", one.times, 1, namespace="shop", statefulset="db")
    one.add("kube_pod_spec_volumes_persistentvolumeclaims_info", one.times, 1, namespace="shop",
            pod="db-0", persistentvolumeclaim="data-db-0", volume="data")  # fmt: skip
    for claim in ("data-db-0", "orphan"):
        of = {"namespace": "shop", "persistentvolumeclaim": claim}
        one.add(
            "kubelet_volume_stats_used_bytes",
            one.times,
            np.linspace(GB, 2 * GB, len(one.times)),
            **of,
        )
        one.add("kubelet_volume_stats_capacity_bytes", one.times, 4 * GB, **of)
    # The counter of this one goes back to nothing in the middle, and three hours were not scraped.
    times = np.concatenate([one.between(48, 30), one.between(27)])
    grown = np.cumsum(np.full(len(times), 0.4 * EVERY))
    grown -= np.where(
        times >= one.now - 12 * HOUR, grown[np.searchsorted(times, one.now - 12 * HOUR)], 0
    )
    of = {"namespace": "shop", "pod": "cache-0", "container": "app", "id": "/1"}
    one.add(CPU, times, grown, **of)
    memory = np.full(len(times), 3e8)
    memory[::7] = np.nan
    one.add(MEMORY, times, memory, **of)
    one.pod("cache-0", times, "StatefulSet", "cache")


def _jobs(one: Cluster) -> None:
    """A CronJob that runs for half an hour every six hours, the last time an hour ago."""
    for ago in (43, 37, 31, 25, 19, 13, 7, 1):
        times = one.between(ago, ago - 0.5)
        job = f"nightly-{int(one.now - ago * HOUR) // 60}"
        one.container(f"{job}-abcde", times, 0.8, 2e8, container="main")
        kept = one.between(ago) if ago == 1 else times
        one.pod(f"{job}-abcde", kept, "Job", job)
        one.add("kube_pod_container_info", kept, 1, namespace="shop", pod=f"{job}-abcde",
                container="main")  # fmt: skip
        one.add("kube_job_owner", kept, 1, namespace="shop", job_name=job, owner_kind="CronJob",
                owner_name="nightly", owner_is_controller="true")  # fmt: skip


def _others(one: Cluster) -> None:
    """What is young, what is bare, what is gone, a name that has to be escaped, and a quota."""
    young = one.between(5)
    one.container("agent-x2x4z", young, 0.05, 5e7)
    one.pod("agent-x2x4z", young, "DaemonSet", "agent")
    one.container("bare", one.times, 0.01, 1e7, namespace=ODD)
    one.pod("bare", one.times, "<none>", "<none>", namespace=ODD)
    gone = one.between(48, 36)
    one.container("gone-0", gone, 0.1, 1e8)
    one.pod("gone-0", gone, "StatefulSet", "gone")
    for resource, hard, used in (("requests.cpu", 10, 4), ("pods", 20, 7)):
        of = {"namespace": "shop", "resourcequota": "most", "resource": resource}
        one.add("kube_resourcequota", one.times, hard, type="hard", **of)
        one.add("kube_resourcequota", one.times, used, type="used", **of)
