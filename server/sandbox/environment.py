"""The environment of a container, from values, ConfigMaps, Secrets and the pod itself."""

from __future__ import annotations

import base64
from typing import Any

from .podstatus import Box
from .world import World

Object = dict[str, Any]


class Missing(Exception):
    """Something that the environment needs is not there."""


def environment(world: World, box: Box, spec: Object) -> dict[str, str]:
    """The variables of a container, or what is missing for them."""
    meta = box.pod["metadata"]
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "HOSTNAME": meta["name"],
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
    }
    for source in spec.get("envFrom", ()):
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if ref := source.get(field):
                values = _values(world, kind, meta["namespace"], ref)
                env |= {source.get("prefix", "") + key: value for key, value in values.items()}
    for variable in spec.get("env", ()):
        value = _value(world, box, variable)
        if value is not None:
            env[variable["name"]] = value
    return env


def _value(world: World, box: Box, variable: Object) -> str | None:
    source = variable.get("valueFrom")
    if source is None:
        return str(variable.get("value", ""))
    namespace = box.pod["metadata"]["namespace"]
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if ref := source.get(field):
            values = _values(world, kind, namespace, ref)
            if ref["key"] in values:
                return values[ref["key"]]
            if ref.get("optional"):
                return None
            where = f"{namespace}/{ref['name']}"
            raise Missing(f"couldn't find key {ref['key']} in {kind} {where}")
    if ref := source.get("fieldRef"):
        return _field(box, ref["fieldPath"])
    return ""


def _values(world: World, kind: str, namespace: str, ref: Object) -> dict[str, str]:
    found = world.get(kind, namespace, ref["name"])
    if found is None:
        if ref.get("optional"):
            return {}
        raise Missing(f'{kind.lower()} "{ref["name"]}" not found')
    data: dict[str, str] = found.get("data") or {}
    if kind == "Secret":
        return {key: base64.b64decode(text).decode(errors="replace") for key, text in data.items()}
    return data


def _field(box: Box, path: str) -> str:
    computed = {
        "status.podIP": box.ip,
        "status.hostIP": box.host_ip,
        "spec.serviceAccountName": box.pod["spec"].get("serviceAccountName", ""),
        "spec.nodeName": box.pod["spec"].get("nodeName", ""),
    }
    if path in computed:
        return str(computed[path])
    name, _, rest = path.removeprefix("metadata.").partition("['")
    value: Any = box.pod["metadata"].get(name, "")
    return str(value.get(rest.removesuffix("']"), "")) if isinstance(value, dict) else str(value)
