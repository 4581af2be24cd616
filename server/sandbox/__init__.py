"""The practice cluster: an in-memory stand-in for the Kubernetes API, for demos and tests."""

from .cluster import PracticeCluster
from .faults import Fault, Faults
from .identity import User
from .seeds import node
from .world import Timings

__all__ = ["Fault", "Faults", "PracticeCluster", "Timings", "User", "node"]
