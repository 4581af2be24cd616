"""Kubernetes through plain paths and dictionaries: looking, dry runs, and what a change writes."""

from tools.backends.kubernetes.api import Api, Identity
from tools.backends.kubernetes.cluster import KubeCluster
from tools.backends.kubernetes.connection import context_name

__all__ = ["Api", "Identity", "KubeCluster", "context_name"]
