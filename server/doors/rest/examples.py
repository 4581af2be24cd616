"""Examples made from schemas: what is required, in the words of the practice world."""

from collections.abc import Mapping
from typing import Any

WORDS: Mapping[str, Any] = {
    "tenant": "acme",
    "name": "web",
    "service": "web",
    "id": "a7687b5ab2",
    "call_id": "a7687b5ab2",
    "type": "deployment",
    "kind": "Deployment",
    "image": "busybox:1.37",
    "reason": "not before the release",
    "subject": "ada",
    "person": "ada",
    "requester": "ada",
    "query": "up",
    "status": "succeeded",
    "state": "succeeded",
    "tool": "workload_scale",
    "title": "Stop worker: idle for 7 days",
    "workload": "Deployment/worker",
    "summary": "Scale Deployment/web in acme from 2 to 4 replicas",
    "sha256": "0" * 64,
    "digest": "0" * 64,
    "email": "ada@acme.example",
    "code": "3f7k-9qxm-22bd",
    "password": "a long one of four words",
    "metric": "cpu",
    "time": "2026-11-21T13:32:00Z",
    "created": "2026-11-21T13:32:00Z",
    "updated": "2026-11-21T13:32:00Z",
    "manifest": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "greeting"}},
    "values": [0.31, 0.35],
}
OF_TYPE: Mapping[str, Any] = {
    "string": "text", "integer": 1, "number": 0.5, "boolean": True, "object": {}, "null": None,
}  # fmt: skip


def example(schema: Mapping[str, Any], name: str = "") -> Any:
    """A value that fits the schema, of which every required part is there."""
    if "const" in schema:
        return schema["const"]
    if options := schema.get("enum"):
        return WORDS[name] if WORDS.get(name) in options else options[0]
    if name in WORDS:
        return WORDS[name]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return example(options[0], name)
    kind = schema.get("type", "object")
    if kind == "object":
        of = schema.get("properties", {})
        return {part: example(of.get(part, {}), part) for part in schema.get("required", ())}
    if kind == "array":
        return [example(schema.get("items", {}), name)]
    if kind in ("integer", "number"):
        return schema.get("minimum", OF_TYPE[kind])
    return OF_TYPE.get(kind, {})
