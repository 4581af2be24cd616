"""The practice world's usage as cAdvisor, the kubelet and kube-state-metrics would expose it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from .usage import PERIODS_A_SECOND, Course, Floats, Found, Labels, Life, Live, Lives, Pod, pods

FRESH_S = 1.0
# A counter's course is how fast it grows; it is taken to have begun so long before the window.
COUNTERS = frozenset(
    {
        "container_cpu_usage_seconds_total",
        "container_cpu_cfs_periods_total",
        "container_cpu_cfs_throttled_periods_total",
        "container_network_receive_bytes_total",
    }
)


class Exposition:
    """All series, by metric."""

    def __init__(self, lives: Lives, live: Live | None = None) -> None:
        self._told = lives
        self._live = live
        self._lives: Lives = lives
        self._known_until = 0.0

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics."""
        return sorted(OF_PODS | OF_WORKLOADS)

    def series(self, metric: str, start: float, end: float, now: float) -> Iterator[Found]:
        """The series of a metric that were there between two moments."""
        for life in self._now():
            if life.born > end:
                continue
            if metric in OF_PODS:
                for pod in pods(life, start, end):
                    if pod.end > start and pod.start <= end:
                        yield from OF_PODS[metric](pod, now)
            elif metric in OF_WORKLOADS:
                yield from OF_WORKLOADS[metric](life, now)

    def _now(self) -> Lives:
        """With what the cluster says of each. It is not asked at every request of many."""
        if self._live and time.monotonic() > self._known_until:
            self._lives = [
                _as_it_is(life, self._live(life.namespace, life.kind, life.name) or {})
                for life in self._told
            ]
            self._known_until = time.monotonic() + FRESH_S
        return self._lives


def _as_it_is(life: Life, known: Mapping[str, float]) -> Life:
    changed = {name: value for name, value in known.items() if name != "replicas"}
    if "replicas" in known and not life.scales[1]:
        changed["replicas"] = int(known["replicas"])
    return replace(life, **changed)  # type: ignore[arg-type]


def _while_there(pod: Pod, now: float, course: Course) -> Course:
    def found(at: Floats) -> Floats:
        return np.where(pod.there(at, now), course(at), np.nan)

    return found


def _always(value: float) -> Course:
    return lambda at: np.full(len(at), float(value))


def _pod_labels(pod: Pod, **more: str) -> Labels:
    return {"namespace": pod.life.namespace, "pod": pod.name, **more}


def _of_container(
    course: Callable[[Pod, float], Course],
) -> Callable[[Pod, float], Iterator[Found]]:
    def found(pod: Pod, now: float) -> Iterator[Found]:
        labels = _pod_labels(pod, container=pod.life.name)
        yield labels, _while_there(pod, now, course(pod, now))

    return found


def _cpu(pod: Pod, now: float) -> Course:
    return lambda at: pod.life.per_pod(pod.ordinal, at, now)


def _throttled(pod: Pod, now: float) -> Course:
    def found(at: Floats) -> Floats:
        used = pod.life.per_pod(pod.ordinal, at, now) / pod.life.cpu_limit
        share: Floats = pod.life.throttled * np.clip(used * 1.5, 0, 1)
        return PERIODS_A_SECOND * share

    return found


def _resources(what: str) -> Callable[[Pod, float], Iterator[Found]]:
    def found(pod: Pod, now: float) -> Iterator[Found]:
        for resource, unit in (("cpu", "core"), ("memory", "byte")):
            labels = _pod_labels(pod, container=pod.life.name, resource=resource, unit=unit)
            value = getattr(pod.life, f"{resource}_{what}")
            yield labels, _while_there(pod, now, _always(value))

    return found


def _killed(pod: Pod, now: float) -> Iterator[Found]:
    if pod.life.leak:
        labels = _pod_labels(pod, container=pod.life.name, reason="OOMKilled")
        yield labels, _while_there(pod, now, lambda at: (pod.life.kills(at, now) > 0) * 1.0)


def _owner(pod: Pod, now: float) -> Iterator[Found]:
    kind, name = pod.owner
    labels = _pod_labels(pod, owner_kind=kind, owner_name=name, owner_is_controller="true")
    yield labels, _while_there(pod, now, _always(1))


def _replicaset(pod: Pod, now: float) -> Iterator[Found]:
    if pod.replicaset and pod.ordinal == 0:
        labels = {"namespace": pod.life.namespace, "replicaset": pod.replicaset}
        owner = {"owner_kind": pod.life.kind, "owner_name": pod.life.name}
        yield {**labels, **owner, "owner_is_controller": "true"}, _while_there(pod, now, _always(1))


def _of_pod(course: Callable[[Pod, float], Course]) -> Callable[[Pod, float], Iterator[Found]]:
    def found(pod: Pod, now: float) -> Iterator[Found]:
        yield _pod_labels(pod), _while_there(pod, now, course(pod, now))

    return found


def _claim_of(pod: Pod, now: float) -> Iterator[Found]:
    if pod.life.disk[0]:
        yield (
            _pod_labels(pod, persistentvolumeclaim=f"data-{pod.name}", volume="data"),
            _while_there(pod, now, _always(1)),
        )


def _disk(pod: Pod, now: float, course: Course) -> Iterator[Found]:
    if pod.life.disk[0]:
        labels = {"persistentvolumeclaim": f"data-{pod.name}"}
        yield {"namespace": pod.life.namespace, **labels}, _while_there(pod, now, course)


def _disk_used(pod: Pod, now: float) -> Iterator[Found]:
    size, used, growth = pod.life.disk
    yield from _disk(
        pod, now, lambda at: np.clip(used + growth * (at - now) / 86_400, 0.01 * size, size)
    )


def _disk_size(pod: Pod, now: float) -> Iterator[Found]:
    yield from _disk(pod, now, _always(pod.life.disk[0]))


Of = Callable[[Pod, float], Iterator[Found]]
OF_PODS: dict[str, Of] = {
    "container_cpu_usage_seconds_total": _of_container(_cpu),
    "container_memory_working_set_bytes": _of_container(
        lambda pod, now: lambda at: pod.life.memory_of(pod.ordinal, at)
    ),
    "container_cpu_cfs_periods_total": _of_container(lambda pod, now: _always(PERIODS_A_SECOND)),
    "container_cpu_cfs_throttled_periods_total": _of_container(_throttled),
    "container_network_receive_bytes_total": _of_pod(
        lambda pod, now: (
            lambda at: (
                pod.life.traffic * pod.life.per_pod(pod.ordinal, at, now) / max(pod.life.cpu, 1e-3)
            )
        )
    ),
    "kube_pod_container_info": _of_container(lambda pod, now: _always(1)),
    "kube_pod_container_resource_requests": _resources("request"),
    "kube_pod_container_resource_limits": _resources("limit"),
    "kube_pod_container_status_restarts_total": _of_container(
        lambda pod, now: lambda at: pod.life.kills(at, now)
    ),
    "kube_pod_container_status_last_terminated_reason": _killed,
    "kube_pod_owner": _owner,
    "kube_replicaset_owner": _replicaset,
    "kube_pod_start_time": _of_pod(lambda pod, now: _always(pod.start)),
    "kube_pod_status_ready_time": _of_pod(lambda pod, now: _always(pod.start + pod.life.starts_in)),
    "kube_pod_spec_volumes_persistentvolumeclaims_info": _claim_of,
    "kubelet_volume_stats_used_bytes": _disk_used,
    "kubelet_volume_stats_capacity_bytes": _disk_size,
}


def _of_kind(
    kind: str, course: Callable[[Life, float], Course]
) -> Callable[[Life, float], Iterator[Found]]:
    def found(life: Life, now: float) -> Iterator[Found]:
        if life.kind == kind:
            yield {"namespace": life.namespace, kind.lower(): life.name}, course(life, now)

    return found


def _scaler(
    course: Callable[[Life], float], **more: str
) -> Callable[[Life, float], Iterator[Found]]:
    def found(life: Life, now: float) -> Iterator[Found]:
        if life.scales[1]:
            labels = {"namespace": life.namespace, "horizontalpodautoscaler": life.name}
            if more.get("scaletargetref_kind"):
                labels |= {"scaletargetref_kind": life.kind, "scaletargetref_name": life.name}
            else:
                labels |= more
            yield labels, _always(course(life))

    return found


def _running(life: Life, now: float) -> Course:
    return lambda at: life.pods_at(at, now)


OF_WORKLOADS: dict[str, Callable[[Life, float], Iterator[Found]]] = {
    "kube_deployment_status_replicas_ready": _of_kind("Deployment", _running),
    "kube_deployment_spec_replicas": _of_kind("Deployment", _running),
    "kube_statefulset_status_replicas_ready": _of_kind("StatefulSet", _running),
    "kube_statefulset_replicas": _of_kind("StatefulSet", _running),
    "kube_daemonset_status_number_ready": _of_kind("DaemonSet", _running),
    "kube_daemonset_status_desired_number_scheduled": _of_kind("DaemonSet", _running),
    "kube_horizontalpodautoscaler_info": _scaler(lambda life: 1, scaletargetref_kind="own"),
    "kube_horizontalpodautoscaler_spec_min_replicas": _scaler(lambda life: life.scales[0]),
    "kube_horizontalpodautoscaler_spec_max_replicas": _scaler(lambda life: life.scales[1]),
    "kube_horizontalpodautoscaler_spec_target_metric": _scaler(
        lambda life: 70, metric_name="cpu", metric_target_type="utilization"
    ),
}
