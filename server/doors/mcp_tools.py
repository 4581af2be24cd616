"""Tools as MCP declares them, and those that there are as a file: importing all of them and making
their schemas takes a client that starts us longer than anything else of ours."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from mcp.types import Tool, ToolAnnotations

from tools.calls import Caller, ToolInfo

# Made by `make docs`; a test holds it to what the tools say.
FILE = Path(__file__).with_name("tools.json")

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


def made() -> str:
    """What is to be in the file: the tools that an agent may be shown, in their order."""
    from tools.tool import catalog

    infos = (tool.info() for tool in catalog().values() if not tool.people_only)
    kept = [info.model_dump() for info in infos if offered(info)]
    return json.dumps(kept, indent=1, ensure_ascii=False) + "\n"


@cache
def _kept() -> list[ToolInfo]:
    return [ToolInfo.model_validate(info) for info in json.loads(FILE.read_bytes())]


def listed_unseen(caller: Caller) -> list[ToolInfo]:
    """The tools that may be shown to a caller whose role nobody has looked up yet."""
    return [
        info
        for info in _kept()
        if not (caller.read_only and info.effect == "write")
        and (caller.toolsets is None or info.group in caller.toolsets)
    ]


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
