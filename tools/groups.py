"""Every group of tools, imported so that its tools are declared. A new group is added here."""

from tools import (
    alerts,
    audit,
    calling,
    chat,
    instances,
    jobs,
    metrics,
    people,
    platform,
    recommendations,
    resources,
    tenants,
    tokens,
    workload_changes,
    workloads,
    workspaces,
)

GROUPS = (
    tenants,
    jobs,
    workloads,
    workload_changes,
    resources,
    instances,
    metrics,
    recommendations,
    platform,
    calling,
    audit,
    alerts,
    tokens,
    chat,
    people,
    workspaces,
)
