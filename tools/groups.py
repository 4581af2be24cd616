"""Every group of tools, imported so that its tools are declared. A new group is added here."""

from tools import (
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
    tokens,
    chat,
    people,
    workspaces,
)
