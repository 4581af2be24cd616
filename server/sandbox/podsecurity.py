"""Pod Security: what the baseline and restricted levels refuse, in the words of the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .pods import containers

Object = dict[str, Any]
Check = Callable[[Object], str]
LEVELS = ("privileged", "baseline", "restricted")
LABEL = "pod-security.kubernetes.io/"
TEMPLATES = {
    "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob",
}  # fmt: skip

DEFAULT_CAPABILITIES = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
    "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}  # fmt: skip
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
    "projected", "secret", "image",
}  # fmt: skip


def violations(labels: dict[str, str], mode: str, spec: Object) -> str:
    """What a pod violates in a namespace with these labels, or nothing.

    `mode` is `enforce` or `warn`; who is only enforced is warned by the same level.
    """
    level = labels.get(f"{LABEL}{mode}") or labels.get(f"{LABEL}enforce") or "privileged"
    if level not in LEVELS:
        level = "restricted"
    checks = CHECKS[: {"privileged": 0, "baseline": BASELINE}.get(level, len(CHECKS))]
    found = [text for text in (check(spec) for check in checks) if text]
    if not found:
        return ""
    version = labels.get(f"{LABEL}{mode}-version", "latest")
    return f'violate{{}} PodSecurity "{level}:{version}": {", ".join(found)}'


def pod_template(kind: str, obj: Object) -> Object | None:
    """The pod specification inside a workload."""
    if kind not in TEMPLATES:
        return None
    spec = obj["spec"]
    if kind == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: Object = spec["template"]["spec"]
    return found


def _security(container: Object) -> Object:
    found: Object = container.get("securityContext", {})
    return found


def _named(names: list[str], sort: str = "container") -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    return f"{sort}{'s' if len(names) > 1 else ''} {listed}"


def _where(spec: Object, bad: Callable[[Object], Any]) -> list[str]:
    return [container["name"] for container in containers(spec) if bad(container)]


def _capabilities(spec: Object) -> str:
    def added(container: Object) -> set[str]:
        return set(_security(container).get("capabilities", {}).get("add", ()))

    names = _where(spec, lambda c: added(c) - DEFAULT_CAPABILITIES)
    bad = sorted(set().union(*map(added, containers(spec))) - DEFAULT_CAPABILITIES)
    listed = ", ".join(f'"{name}"' for name in bad)
    return (
        names
        and (
            f"non-default capabilities ({_named(names)} must not include {listed} in "
            "securityContext.capabilities.add)"
        )
    ) or ""


def _host_namespaces(spec: Object) -> str:
    used = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    return f"host namespaces ({', '.join(f'{name}=true' for name in used)})" if used else ""


def _host_paths(spec: Object) -> str:
    names = [volume["name"] for volume in spec.get("volumes", ()) if "hostPath" in volume]
    return f"hostPath volumes ({_named(names, 'volume')})" if names else ""


def _host_ports(spec: Object) -> str:
    used = {
        c["name"]: [p["hostPort"] for p in c.get("ports", ()) if p.get("hostPort")]
        for c in containers(spec)
    }
    names = [name for name, ports in used.items() if ports]
    ports = sorted({port for listed in used.values() for port in listed})
    if not names:
        return ""
    plural = "s" if len(ports) > 1 else ""
    uses = "use" if len(names) > 1 else "uses"
    return f"hostPort ({_named(names)} {uses} hostPort{plural} {', '.join(map(str, ports))})"


def _privileged(spec: Object) -> str:
    names = _where(spec, lambda c: _security(c).get("privileged"))
    return f"privileged ({_named(names)} must not set securityContext.privileged=true)" * bool(
        names
    )


def _proc_mount(spec: Object) -> str:
    names = _where(spec, lambda c: _security(c).get("procMount", "Default") != "Default")
    if not names:
        return ""
    return f'procMount ({_named(names)} must not set securityContext.procMount to "Unmasked")'


def _seccomp(spec: Object) -> str:
    names = _where(
        spec, lambda c: _security(c).get("seccompProfile", {}).get("type") == "Unconfined"
    )
    pod = spec.get("securityContext", {}).get("seccompProfile", {}).get("type") == "Unconfined"
    who = " and ".join(filter(None, ("pod" * pod, _named(names) if names else "")))
    if not who:
        return ""
    return (
        f'seccompProfile ({who} must not set securityContext.seccompProfile.type to "Unconfined")'
    )


def _sysctls(spec: Object) -> str:
    listed = spec.get("securityContext", {}).get("sysctls", ())
    bad = [sysctl["name"] for sysctl in listed if sysctl["name"] not in SAFE_SYSCTLS]
    return f"forbidden sysctls ({', '.join(bad)})" if bad else ""


def _host_process(spec: Object) -> str:
    names = _where(spec, lambda c: _security(c).get("windowsOptions", {}).get("hostProcess"))
    if not names:
        return ""
    return (
        f"hostProcess ({_named(names)} must not set "
        "securityContext.windowsOptions.hostProcess=true)"
    )


def _escalation(spec: Object) -> str:
    names = _where(spec, lambda c: _security(c).get("allowPrivilegeEscalation") is not False)
    return (
        f"allowPrivilegeEscalation != false ({_named(names)} must set "
        "securityContext.allowPrivilegeEscalation=false)"
        if names
        else ""
    )


def _drop_all(spec: Object) -> str:
    def keeps(container: Object) -> bool:
        return "ALL" not in _security(container).get("capabilities", {}).get("drop", ())

    def adds(container: Object) -> bool:
        added = _security(container).get("capabilities", {}).get("add", ())
        return bool(set(added) - {"NET_BIND_SERVICE"})

    kept, added = _where(spec, keeps), _where(spec, adds)
    parts = []
    if kept:
        parts.append(f'{_named(kept)} must set securityContext.capabilities.drop=["ALL"]')
    if added:
        bad = sorted(
            {
                name
                for container in containers(spec)
                for name in _security(container).get("capabilities", {}).get("add", ())
                if name != "NET_BIND_SERVICE"
            }
        )
        listed = ", ".join(f'"{name}"' for name in bad)
        parts.append(
            f"{_named(added)} must not include {listed} in securityContext.capabilities.add"
        )
    return f"unrestricted capabilities ({'; '.join(parts)})" if parts else ""


def _volume_types(spec: Object) -> str:
    bad = {
        v["name"]: sorted(set(v) - {"name"} - RESTRICTED_VOLUMES) for v in spec.get("volumes", ())
    }
    names = [name for name, types in bad.items() if types]
    types = sorted({t for listed in bad.values() for t in listed})
    if not names:
        return ""
    uses = "use" if len(names) > 1 else "uses"
    listed = ", ".join(f'"{t}"' for t in types)
    plural = "s" if len(types) > 1 else ""
    return (
        f"restricted volume types ({_named(names, 'volume')} {uses} restricted volume "
        f"type{plural} {listed})"
    )


def _non_root(spec: Object) -> str:
    pod = spec.get("securityContext", {}).get("runAsNonRoot")
    wrong = _where(spec, lambda c: _security(c).get("runAsNonRoot", pod) is not True)
    if not wrong:
        return ""
    who = _named(wrong) if pod is True else f"pod or {_named(wrong)}"
    return f"runAsNonRoot != true ({who} must set securityContext.runAsNonRoot=true)"


def _root_user(spec: Object) -> str:
    names = _where(spec, lambda c: _security(c).get("runAsUser") == 0)
    pod = spec.get("securityContext", {}).get("runAsUser") == 0
    who = " and ".join(filter(None, ("pod" * pod, _named(names) if names else "")))
    return f"runAsUser=0 ({who} must not set runAsUser=0)" if who else ""


def _needs_seccomp(spec: Object) -> str:
    good = ("RuntimeDefault", "Localhost")
    pod = spec.get("securityContext", {}).get("seccompProfile", {}).get("type")
    wrong = _where(
        spec, lambda c: _security(c).get("seccompProfile", {}).get("type", pod) not in good
    )
    if not wrong:
        return ""
    return (
        f"seccompProfile (pod or {_named(wrong)} must set securityContext.seccompProfile.type to "
        '"RuntimeDefault" or "Localhost")'
    )


# The checks of the baseline level come first; the restricted level adds the rest.
CHECKS: tuple[Check, ...] = (
    _capabilities, _host_namespaces, _host_paths, _host_ports, _privileged, _proc_mount,
    _seccomp, _sysctls, _host_process,
    _escalation, _drop_all, _volume_types, _non_root, _root_user, _needs_seccomp,
)  # fmt: skip
BASELINE = 9
