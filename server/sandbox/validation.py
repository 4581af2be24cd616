"""What the API refuses: the rules of each kind, and the fields that never change."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from .errors import (
    Cause,
    duplicate,
    forbidden_field,
    invalid,
    invalid_value,
    required,
    unsupported,
)
from .immutable import changes
from .kinds import Kind
from .quantities import parse
from .selectors import labels_match

Object = dict[str, Any]
Causes = Iterator[Cause]

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
ENV_NAME = re.compile(r"[ -<>-~]+")
CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")

NOT_A_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
NOT_A_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
NOT_DNS_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
NOT_A_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value', "
    " or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
NOT_QUALIFIED = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
NEGATIVE = "must be greater than or equal to 0"
NOT_A_PORT = "must be between 1 and 65535, inclusive"
AS_LABEL = {"Namespace", "Service"}
AS_PATH = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


def validate(kind: Kind, obj: Object, old: Object | None = None) -> None:
    """Refuse an object that breaks the rules of its kind, naming every one that it breaks."""
    causes = list(_metadata(kind, obj["metadata"]))
    if check := CHECKS.get(kind.kind):
        causes += check(obj)
    if old is not None:
        causes += changes(kind, old, obj)
    if causes:
        raise invalid(kind.group, kind.kind, obj["metadata"].get("name", ""), causes)


def _metadata(kind: Kind, meta: Object) -> Causes:
    name = meta.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif why := _bad_name(kind, name):
        yield invalid_value("metadata.name", name, why)
    for key, value in meta.get("labels", {}).items():
        yield from _label(key, value, "metadata.labels")
    for key in meta.get("annotations", {}):
        yield from _qualified(key.lower(), "metadata.annotations")
    for finalizer in meta.get("finalizers", ()):
        if "/" not in finalizer and finalizer not in ("orphan", "foregroundDeletion", "kubernetes"):
            yield invalid_value(
                "metadata.finalizers",
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            )


def _bad_name(kind: Kind, name: str) -> str:
    if kind.kind in AS_PATH:
        bad = next((c for c in "/%" if c in name), "")
        return f"may not contain '{bad}'" if bad else ""
    if kind.kind == "Service":
        return "" if len(name) <= 63 and DNS_1035.fullmatch(name) else NOT_DNS_1035
    limit, pattern, why = (
        (63, LABEL, NOT_A_LABEL) if kind.kind == "Namespace" else (253, SUBDOMAIN, NOT_A_SUBDOMAIN)
    )
    if len(name) > limit:
        return f"must be no more than {limit} characters"
    return "" if pattern.fullmatch(name) else why


def _label(key: str, value: str, field: str) -> Causes:
    yield from _qualified(key, field)
    if len(value) > 63:
        yield invalid_value(field, value, "must be no more than 63 characters")
    elif not LABEL_VALUE.fullmatch(value):
        yield invalid_value(field, value, NOT_A_VALUE)


def _qualified(key: str, field: str) -> Causes:
    prefix, slash, name = key.rpartition("/")
    if not QUALIFIED.fullmatch(name):
        yield invalid_value(field, key, NOT_QUALIFIED)
    elif len(name) > 63:
        yield invalid_value(field, key, "name part must be no more than 63 characters")
    if slash and not SUBDOMAIN.fullmatch(prefix):
        yield invalid_value(field, key, f"prefix part {NOT_A_SUBDOMAIN}")


def _not_negative(spec: Object, at: str, *names: str) -> Causes:
    for name in names:
        if isinstance(spec.get(name), int) and spec[name] < 0:
            yield invalid_value(f"{at}.{name}", spec[name], NEGATIVE)


def _pod_spec(spec: Object, at: str, policies: tuple[str, ...]) -> Causes:
    if spec.get("restartPolicy") not in policies:
        yield unsupported(f"{at}.restartPolicy", spec.get("restartPolicy"), policies)
    yield from _not_negative(spec, at, "terminationGracePeriodSeconds")
    if not spec.get("containers"):
        yield required(f"{at}.containers")
    names: set[str] = set()
    volumes = {volume.get("name") for volume in spec.get("volumes", ())}
    for list_name in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(list_name, ())):
            where = f"{at}.{list_name}[{index}]"
            if container.get("name") in names:
                yield duplicate(f"{where}.name", container["name"])
            names.add(container.get("name", ""))
            yield from _container(container, where, volumes)
    for index, volume in enumerate(spec.get("volumes", ())):
        yield from _dns_label(volume.get("name", ""), f"{at}.volumes[{index}].name")
    for index, toleration in enumerate(spec.get("tolerations", ())):
        if toleration.get("operator", "Equal") not in ("Equal", "Exists"):
            yield unsupported(
                f"{at}.tolerations[{index}].operator", toleration["operator"], ("Equal", "Exists")
            )


def _dns_label(name: str, field: str) -> Causes:
    if not name:
        yield required(field)
    elif not LABEL.fullmatch(name) or len(name) > 63:
        yield invalid_value(field, name, NOT_A_LABEL)


def _container(container: Object, at: str, volumes: set[Any]) -> Causes:
    yield from _dns_label(container.get("name", ""), f"{at}.name")
    if not container.get("image"):
        yield required(f"{at}.image")
    elif container["image"] != container["image"].strip():
        yield invalid_value(
            f"{at}.image", container["image"], "must not have leading or trailing whitespace"
        )
    for index, env in enumerate(container.get("env", ())):
        if not env.get("name"):
            yield required(f"{at}.env[{index}].name")
        elif not ENV_NAME.fullmatch(env["name"]):
            yield invalid_value(
                f"{at}.env[{index}].name",
                env["name"],
                "a valid environment variable name must consist only of printable ASCII "
                "characters other than '='",
            )
        if env.get("value") and env.get("valueFrom"):
            yield invalid_value(
                f"{at}.env[{index}].valueFrom", "", "may not be specified when `value` is not empty"
            )
    for index, port in enumerate(container.get("ports", ())):
        number = port.get("containerPort")
        if number is None:
            yield required(f"{at}.ports[{index}].containerPort")
        elif not 1 <= number <= 65535:
            yield invalid_value(f"{at}.ports[{index}].containerPort", number, NOT_A_PORT)
    for index, mount in enumerate(container.get("volumeMounts", ())):
        if mount.get("name") not in volumes:
            yield Cause(
                "FieldValueNotFound",
                f"Not found: {json.dumps(mount.get('name'))}",
                f"{at}.volumeMounts[{index}].name",
            )
    yield from _resources(container.get("resources", {}), f"{at}.resources")


def _resources(resources: Object, at: str) -> Causes:
    limits = resources.get("limits", {})
    for sort in ("limits", "requests"):
        for name, amount in resources.get(sort, {}).items():
            if parse(amount) < 0:
                yield invalid_value(f"{at}.{sort}.{name}", amount, NEGATIVE)
            if "/" not in name and name not in STANDARD and not name.startswith("hugepages-"):
                yield invalid_value(
                    f"{at}.{sort}[{name}]",
                    name,
                    "must be a standard resource type or fully qualified",
                )
    for name, amount in resources.get("requests", {}).items():
        if name in limits and parse(amount) > parse(limits[name]):
            yield invalid_value(
                f"{at}.requests",
                amount,
                f"must be less than or equal to {name} limit of {limits[name]}",
            )


STANDARD = {"cpu", "memory", "ephemeral-storage"}


def _pod(obj: Object) -> Causes:
    yield from _pod_spec(obj["spec"], "spec", ("Always", "OnFailure", "Never"))


def _workload(obj: Object) -> Causes:
    spec = obj["spec"]
    yield from _not_negative(
        spec,
        "spec",
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    )
    labels = spec.get("template", {}).get("metadata", {}).get("labels", {})
    if not spec.get("selector"):
        yield required("spec.selector")
        yield invalid_value(
            "spec.selector",
            {},
            "empty selector is invalid for " + obj.get("kind", "workload").lower(),
        )
    elif not labels_match(spec["selector"], labels):
        yield invalid_value(
            "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
        )
    yield from _pod_spec(spec["template"]["spec"], "spec.template.spec", ("Always",))


def _job(obj: Object) -> Causes:
    yield from _job_spec(obj["spec"], "spec")


def _job_spec(spec: Object, at: str) -> Causes:
    yield from _not_negative(
        spec,
        at,
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    )
    pod, where = spec["template"]["spec"], f"{at}.template.spec"
    if pod.get("restartPolicy") == "Always":
        yield Cause(
            "FieldValueRequired",
            'Required value: valid values: "OnFailure", "Never"',
            f"{where}.restartPolicy",
        )
    else:
        yield from _pod_spec(pod, where, ("OnFailure", "Never"))


def _cron_job(obj: Object) -> Causes:
    schedule = obj["spec"].get("schedule", "")
    if not schedule:
        yield required("spec.schedule")
    elif len(schedule.split()) != 5 and not schedule.startswith("@"):
        yield invalid_value(
            "spec.schedule",
            schedule,
            f"expected exactly 5 fields, found {len(schedule.split())}: [{schedule}]",
        )
    yield from _job_spec(obj["spec"]["jobTemplate"]["spec"], "spec.jobTemplate.spec")


def _config(obj: Object) -> Causes:
    for field in ("data", "binaryData"):
        for key in obj.get(field, {}):
            if not CONFIG_KEY.fullmatch(key) or len(key) > 253:
                yield invalid_value(
                    f"{field}[{key}]",
                    key,
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                )
    size = sum(len(value) for value in obj.get("data", {}).values())
    if size > 1024 * 1024:
        yield Cause("FieldValueTooLong", "Too long: may not be more than 1048576 bytes", "data")


def _network_policy(obj: Object) -> Causes:
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(obj["spec"].get(direction, ())):
            at = f"spec.{direction}[{i}]"
            for j, port in enumerate(rule.get("ports", ())):
                yield from _policy_port(port, f"{at}.ports[{j}]")
            for j, peer in enumerate(rule.get(peers, ())):
                yield from _policy_peer(peer, f"{at}.{peers}[{j}]")
    for i, name in enumerate(obj["spec"].get("policyTypes", ())):
        if name not in ("Ingress", "Egress"):
            yield unsupported(f"spec.policyTypes[{i}]", name, ("Egress", "Ingress"))


def _policy_port(port: Object, at: str) -> Causes:
    number = port.get("port")
    if isinstance(number, int) and not 1 <= number <= 65535:
        yield invalid_value(f"{at}.port", number, NOT_A_PORT)
    if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
        yield unsupported(f"{at}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
    end = port.get("endPort")
    if end is not None and isinstance(number, int) and end < number:
        yield invalid_value(f"{at}.endPort", end, "must be greater than or equal to `port`")


def _policy_peer(peer: Object, at: str) -> Causes:
    if not peer:
        yield required(at, "must specify a peer")
    if block := peer.get("ipBlock"):
        if "podSelector" in peer or "namespaceSelector" in peer:
            yield forbidden_field(at, "may not specify both ipBlock and another peer")
        try:
            ipaddress.ip_network(block.get("cidr", ""), strict=False)
        except ValueError:
            yield invalid_value(
                f"{at}.ipBlock.cidr",
                block.get("cidr", ""),
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            )


def _binding(obj: Object) -> Causes:
    ref = obj.get("roleRef") or {}
    kinds = ("ClusterRole",) if obj["kind"] == "ClusterRoleBinding" else ("Role", "ClusterRole")
    if ref.get("kind") not in kinds:
        yield unsupported("roleRef.kind", ref.get("kind", ""), kinds)
    if not ref.get("name"):
        yield required("roleRef.name")
    for index, subject in enumerate(obj.get("subjects", ())):
        if subject.get("kind") not in ("User", "Group", "ServiceAccount"):
            yield unsupported(
                f"subjects[{index}].kind",
                subject.get("kind", ""),
                ("ServiceAccount", "User", "Group"),
            )
        if not subject.get("name"):
            yield required(f"subjects[{index}].name")


def _role(obj: Object) -> Causes:
    for index, rule in enumerate(obj.get("rules") or ()):
        if not rule.get("verbs"):
            yield required(f"rules[{index}].verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            continue
        if not rule.get("apiGroups"):
            yield required(
                f"rules[{index}].apiGroups", "resource rules must supply at least one api group"
            )
        if not rule.get("resources"):
            yield required(
                f"rules[{index}].resources", "resource rules must supply at least one resource"
            )


def _autoscaler(obj: Object) -> Causes:
    spec = obj["spec"]
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if low < 1:
        yield invalid_value("spec.minReplicas", low, "must be greater than or equal to 1")
    if high < 1:
        yield invalid_value("spec.maxReplicas", high, "must be greater than 0")
    elif high < low:
        yield invalid_value(
            "spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"
        )
    if not spec.get("scaleTargetRef", {}).get("name"):
        yield required("spec.scaleTargetRef.name")


def _quota(obj: Object) -> Causes:
    for name, amount in obj["spec"].get("hard", {}).items():
        if parse(amount) < 0:
            yield invalid_value(f"spec.hard[{name}]", amount, NEGATIVE)


def _limit_range(obj: Object) -> Causes:
    for index, item in enumerate(obj["spec"].get("limits", ())):
        at = f"spec.limits[{index}]"
        for low, high in (("min", "max"), ("defaultRequest", "default"), ("default", "max")):
            for name, amount in item.get(low, {}).items():
                top = item.get(high, {}).get(name)
                if top is not None and parse(amount) > parse(top):
                    why = f"{low} value {amount} is greater than {high} value {top}"
                    yield invalid_value(f"{at}.{low}[{name}]", amount, why)


def _definition(obj: Object) -> Causes:
    spec = obj["spec"]
    names = spec.get("names") or {}
    for field, value in (
        ("group", spec.get("group")),
        ("names.plural", names.get("plural")),
        ("names.kind", names.get("kind")),
        ("versions", spec.get("versions")),
    ):
        if not value:
            yield required(f"spec.{field}")
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if obj["metadata"].get("name") != wanted:
        why = f'must be spec.names.plural+"."+spec.group ({wanted})'
        yield invalid_value("metadata.name", obj["metadata"].get("name", ""), why)


def _service(obj: Object) -> Causes:
    spec = obj["spec"]
    if not spec.get("ports") and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    for index, port in enumerate(spec.get("ports", ())):
        number = port.get("port", 0)
        if not 1 <= number <= 65535:
            yield invalid_value(f"spec.ports[{index}].port", number, NOT_A_PORT)
        if len(spec["ports"]) > 1 and not port.get("name"):
            yield required(f"spec.ports[{index}].name")


CHECKS: dict[str, Callable[[Object], Causes]] = {
    "Pod": _pod, "Deployment": _workload, "ReplicaSet": _workload, "StatefulSet": _workload,
    "DaemonSet": _workload, "Job": _job, "CronJob": _cron_job, "ConfigMap": _config,
    "Secret": _config, "NetworkPolicy": _network_policy, "RoleBinding": _binding,
    "ClusterRoleBinding": _binding, "Role": _role, "ClusterRole": _role,
    "HorizontalPodAutoscaler": _autoscaler, "ResourceQuota": _quota,
    "LimitRange": _limit_range, "Service": _service,
    "CustomResourceDefinition": _definition,
}  # fmt: skip
