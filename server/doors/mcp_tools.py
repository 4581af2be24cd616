"""Tools as MCP declares them."""

from typing import Any

from mcp.types import Tool, ToolAnnotations

from tools.calls import ToolInfo

# Every byte here is paid for once a write tool; what they mean is said in the instructions.
WRITE_OPTIONS = {"preview": {"type": "boolean"}, "key": {"type": "string"}}

# An error is an object in the same place for every tool: some clients hold errors, too, against
# the output schema, so no schema requires what an error does not have.
ERROR = {"type": "object"}

WRITE_OUTPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{
            name: {"type": "string"}
            for name in ("state", "call_id", "summary", "undo", "why", "next", "expires", "digest")
        },
        "changes": {"type": "array", "items": {"type": "object"}},
        "answer": {"type": "object"},
        "error": ERROR,
    },
    "required": ["state"],
}

STREAM_OUTPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "notes": {"type": "array", "items": {"type": "string"}},
        "end": {"type": "object", "description": "how it ended"},
        "cut": {"type": "string", "description": "why there is more"},
        "error": ERROR,
    },
}


def offered(info: ToolInfo) -> bool:
    """Is it for agents at all? What comes through MCP does not decide."""
    return info.effect != "decide"


def declaration(info: ToolInfo) -> Tool:
    reads = info.effect in ("read", "stream")
    return Tool(
        name=info.name,
        title=info.title,
        description=info.description,
        input_schema=info.input_schema if reads else _with_options(info.input_schema),
        output_schema=_output(info),
        annotations=ToolAnnotations(
            read_only_hint=reads,
            destructive_hint=info.destructive and not reads,
            idempotent_hint=info.idempotent,
            open_world_hint=False,
        ),
    )


def _with_options(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"properties": schema.get("properties", {}) | WRITE_OPTIONS}


def _output(info: ToolInfo) -> dict[str, Any]:
    if info.effect == "write":
        return WRITE_OUTPUT
    if info.effect == "stream":
        return STREAM_OUTPUT
    properties = {"error": ERROR} | info.output_schema.get("properties", {})
    return {k: v for k, v in info.output_schema.items() if k != "required"} | {
        "type": "object",
        "properties": properties,
    }
