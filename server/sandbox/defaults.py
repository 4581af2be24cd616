"""What the API fills in where a client says nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from .kinds import Kind

Object = dict[str, Any]


def fill(target: Object, values: Object) -> None:
    """Set what is not set."""
    for key, value in values.items():
        if key not in target:
            target[key] = value


def apply_defaults(kind: Kind, obj: Object) -> None:
    """Fill in an object of a kind that has defaults."""
    if default := DEFAULTS.get(kind.kind):
        default(obj)


def pod_spec(spec: Object, of_pod: bool = False) -> None:
    """A pod's specification, in a pod or in a template."""
    fill(
        spec,
        {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
    )
    if of_pod:
        fill(spec, {"enableServiceLinks": True})
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    for container in [*spec.get("containers", ()), *spec.get("initContainers", ())]:
        _container(container)
    for volume in spec.get("volumes", ()):
        _volume(volume)


def _container(container: Object) -> None:
    image = container.get("image", "")
    tag = image.rpartition("/")[2].partition(":")[2]
    latest = "@" not in image and tag in ("", "latest")
    fill(
        container,
        {
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "Always" if latest else "IfNotPresent",
        },
    )
    resources = container["resources"]
    if missing := {
        name: value
        for name, value in resources.get("limits", {}).items()
        if name not in resources.get("requests", {})
    }:
        resources["requests"] = resources.get("requests", {}) | missing
    for port in container.get("ports", ()):
        fill(port, {"protocol": "TCP"})
    for env in container.get("env", ()):
        if ref := env.get("valueFrom", {}).get("fieldRef"):
            fill(ref, {"apiVersion": "v1"})
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(name):
            fill(
                probe,
                {
                    "timeoutSeconds": 1,
                    "periodSeconds": 10,
                    "successThreshold": 1,
                    "failureThreshold": 3,
                },
            )
            if get := probe.get("httpGet"):
                fill(get, {"path": "/", "scheme": "HTTP"})


def _volume(volume: Object) -> None:
    if len(volume) == 1:
        volume["emptyDir"] = {}
    for source in ("secret", "configMap", "projected", "downwardAPI"):
        if source in volume:
            fill(volume[source], {"defaultMode": 420})
    if "hostPath" in volume:
        fill(volume["hostPath"], {"type": ""})


def _template(obj: Object) -> None:
    template = obj["spec"].setdefault("template", {})
    template.setdefault("metadata", {})
    pod_spec(template.setdefault("spec", {}))


def _deployment(obj: Object) -> None:
    spec = obj["spec"]
    fill(
        spec,
        {"replicas": 1, "strategy": {}, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
    )
    strategy = spec["strategy"]
    fill(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        fill(strategy, {"rollingUpdate": {}})
        fill(strategy["rollingUpdate"], {"maxUnavailable": "25%", "maxSurge": "25%"})
    _template(obj)


def _replica_set(obj: Object) -> None:
    fill(obj["spec"], {"replicas": 1})
    _template(obj)


def _stateful_set(obj: Object) -> None:
    spec = obj["spec"]
    fill(
        spec,
        {
            "replicas": 1,
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {},
            "revisionHistoryLimit": 10,
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": "Retain",
                "whenScaled": "Retain",
            },
        },
    )
    fill(spec["updateStrategy"], {"type": "RollingUpdate"})
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        fill(spec["updateStrategy"], {"rollingUpdate": {"partition": 0}})
    for claim in spec.get("volumeClaimTemplates", ()):
        _claim(claim)
    _template(obj)


def _daemon_set(obj: Object) -> None:
    fill(obj["spec"], {"updateStrategy": {}, "revisionHistoryLimit": 10})
    strategy = obj["spec"]["updateStrategy"]
    fill(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        fill(strategy, {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
    _template(obj)


def _job(obj: Object) -> None:
    spec = obj["spec"]
    fill(spec, {"manualSelector": False})
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    fill(
        spec,
        {
            "parallelism": 1,
            "backoffLimit": 6,
            "completionMode": "NonIndexed",
            "suspend": False,
            "podReplacementPolicy": "Failed"
            if spec.get("podFailurePolicy")
            else "TerminatingOrFailed",
        },
    )
    _template(obj)


def job_selector(obj: Object) -> None:
    """The labels by which a Job knows its pods; set once its uid is known."""
    spec, meta = obj["spec"], obj["metadata"]
    uid, name = meta["uid"], meta["name"]
    if spec["manualSelector"]:
        return
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    labels = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
    labels |= {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }


def _cron_job(obj: Object) -> None:
    fill(
        obj["spec"],
        {
            "concurrencyPolicy": "Allow",
            "suspend": False,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
        },
    )
    spec = obj["spec"].setdefault("jobTemplate", {}).setdefault("spec", {})
    pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))


def _service(obj: Object) -> None:
    spec = obj["spec"]
    fill(spec, {"type": "ClusterIP", "sessionAffinity": "None"})
    if spec["type"] != "ExternalName":
        fill(
            spec,
            {
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "internalTrafficPolicy": "Cluster",
            },
        )
    if spec["type"] in ("NodePort", "LoadBalancer"):
        fill(spec, {"externalTrafficPolicy": "Cluster"})
    for port in spec.get("ports", ()):
        fill(port, {"protocol": "TCP", "targetPort": port.get("port")})


def _secret(obj: Object) -> None:
    fill(obj, {"type": "Opaque"})
    for name, text in obj.pop("stringData", {}).items():
        obj.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()


def _network_policy(obj: Object) -> None:
    spec = obj["spec"]
    fill(spec, {"podSelector": {}})
    fill(spec, {"policyTypes": ["Ingress", "Egress"] if "egress" in spec else ["Ingress"]})
    for rule in [*spec.get("ingress", ()), *spec.get("egress", ())]:
        for port in rule.get("ports", ()):
            fill(port, {"protocol": "TCP"})


def _binding(obj: Object) -> None:
    if obj.get("roleRef"):
        fill(obj["roleRef"], {"apiGroup": "rbac.authorization.k8s.io"})
    for subject in obj.get("subjects", ()):
        if subject.get("kind") in ("User", "Group"):
            fill(subject, {"apiGroup": "rbac.authorization.k8s.io"})


def _role(obj: Object) -> None:
    obj.setdefault("rules", None)


def _autoscaler(obj: Object) -> None:
    fill(obj["spec"], {"minReplicas": 1})
    if "metrics" not in obj["spec"]:
        target = {"type": "Utilization", "averageUtilization": 80}
        metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
        obj["spec"]["metrics"] = [metric]


def _limit_range(obj: Object) -> None:
    for item in obj["spec"].get("limits", ()):
        if item.get("type") != "Container":
            continue
        # A maximum serves as the default limit, and that (then the minimum) as the request.
        limits = item.get("max", {}) | item.get("default", {})
        requests = item.get("min", {}) | limits | item.get("defaultRequest", {})
        item |= {
            key: values
            for key, values in (("default", limits), ("defaultRequest", requests))
            if values
        }


def _claim(obj: Object) -> None:
    fill(obj.setdefault("spec", {}), {"volumeMode": "Filesystem"})


def _namespace(obj: Object) -> None:
    meta = obj["metadata"]
    if meta.get("name"):
        meta["labels"] = meta.get("labels", {}) | {"kubernetes.io/metadata.name": meta["name"]}


def _pod(obj: Object) -> None:
    pod_spec(obj.setdefault("spec", {}), of_pod=True)


def _mutating_policy(obj: Object) -> None:
    fill(obj["spec"], {"failurePolicy": "Fail"})
    match = obj["spec"].get("matchConstraints")
    if match is not None:
        fill(match, {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}})
        for rule in match.get("resourceRules", ()):
            fill(rule, {"scope": "*"})


# The status that an object has before its controller has seen it.
NEW_STATUS: dict[str, Object] = {
    "Namespace": {"phase": "Active"}, "Pod": {"phase": "Pending"}, "Deployment": {},
    "ReplicaSet": {"replicas": 0}, "StatefulSet": {"replicas": 0, "availableReplicas": 0},
    "DaemonSet": {
        "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
    "Job": {}, "CronJob": {}, "ResourceQuota": {}, "PersistentVolumeClaim": {"phase": "Pending"},
    "Service": {"loadBalancer": {}}, "Ingress": {"loadBalancer": {}},
    "HorizontalPodAutoscaler": {"desiredReplicas": 0, "currentMetrics": None},
    "PodDisruptionBudget": {
        "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
    },
}  # fmt: skip

DEFAULTS: dict[str, Callable[[Object], None]] = {
    "Namespace": _namespace, "Pod": _pod, "Deployment": _deployment,
    "ReplicaSet": _replica_set, "StatefulSet": _stateful_set, "DaemonSet": _daemon_set,
    "Job": _job, "CronJob": _cron_job, "Service": _service, "Secret": _secret,
    "NetworkPolicy": _network_policy, "RoleBinding": _binding, "ClusterRoleBinding": _binding,
    "Role": _role, "ClusterRole": _role, "HorizontalPodAutoscaler": _autoscaler,
    "LimitRange": _limit_range, "PersistentVolumeClaim": _claim,
    "MutatingAdmissionPolicy": _mutating_policy,
}  # fmt: skip
