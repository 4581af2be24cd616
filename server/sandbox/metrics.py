"""metrics.k8s.io: what pods and nodes use, made up but steady enough to look at.

A pod's annotations `practice.pilothouse.dev/cpu` and `practice.pilothouse.dev/memory` say what each
of its containers uses; without them it is a share of the request that moves a little.
"""

from __future__ import annotations

import math
import zlib
from fractions import Fraction
from typing import Any

from .api import Api
from .clock import stamp
from .errors import not_found
from .kinds import Kind
from .quantities import format_decimal, parse
from .store import Record

Object = dict[str, Any]
USAGE = "practice.pilothouse.dev/"
IDLE = {"cpu": Fraction(1, 50), "memory": Fraction(24 * 1024 * 1024)}


class Metrics:
    """Computes usage when it is asked for; nothing is stored."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def records(self, kind: Kind, namespace: str, name: str = "") -> list[Record]:
        """PodMetrics or NodeMetrics."""
        pods = self._api.store.records(self._api.kinds.named("Pod"), namespace)
        running = [p.object for p in pods if p.object.get("status", {}).get("phase") == "Running"]
        if kind.kind == "PodMetrics":
            found = [self._pod(pod) for pod in running if name in ("", pod["metadata"]["name"])]
        else:
            nodes = self._api.store.records(self._api.kinds.named("Node"))
            found = [
                self._node(node.object, running)
                for node in nodes
                if name in ("", node.object["metadata"]["name"])
            ]
        if name and not found:
            raise not_found(kind, name)
        return [Record(kind, obj) for obj in found]

    def _pod(self, pod: Object) -> Object:
        meta = pod["metadata"]
        kept = {key: meta[key] for key in ("name", "namespace", "labels") if key in meta}
        parts = [
            {"name": container["name"], "usage": self._shown(self._usage(pod, container))}
            for container in pod["spec"]["containers"]
        ]
        return self._measured("PodMetrics", kept) | {"containers": parts}

    def _node(self, node: Object, pods: list[Object]) -> Object:
        name = node["metadata"]["name"]
        sums = {"cpu": Fraction(1, 10), "memory": Fraction(512 * 1024 * 1024)}
        for pod in pods:
            if pod["spec"].get("nodeName") == name:
                for container in pod["spec"]["containers"]:
                    for sort, amount in self._usage(pod, container).items():
                        sums[sort] += amount
        return self._measured("NodeMetrics", {"name": name}) | {"usage": self._shown(sums)}

    def _usage(self, pod: Object, container: Object) -> dict[str, Fraction]:
        said = pod["metadata"].get("annotations", {})
        requests = container.get("resources", {}).get("requests", {})
        amounts = {}
        for sort, idle in IDLE.items():
            if f"{USAGE}{sort}" in said:
                amounts[sort] = parse(said[f"{USAGE}{sort}"])
            else:
                base = parse(requests[sort]) if sort in requests else idle
                amounts[sort] = base * self._share(pod["metadata"]["uid"] + sort)
        return amounts

    def _share(self, seed: str) -> Fraction:
        phase = zlib.crc32(seed.encode()) % 628 / 100
        wave = math.sin(self._api.clock.seconds() / 120 + phase)
        return Fraction(round(450 + 150 * wave), 1000)

    def _shown(self, amounts: dict[str, Fraction]) -> Object:
        cpu, memory = amounts["cpu"], amounts["memory"]
        return {"cpu": format_decimal(cpu), "memory": f"{memory // 1024}Ki"}

    def _measured(self, kind: str, meta: Object) -> Object:
        now = stamp(self._api.clock.now())
        return {
            "kind": kind,
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": meta | {"creationTimestamp": now},
            "timestamp": now,
            "window": "15s",
        }
