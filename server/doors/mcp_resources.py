"""Tenants and calls as MCP resources, and the completion of their names."""

import json
import re
from typing import Any
from urllib.parse import quote, unquote

from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from server.doors.mcp_text import error_text
from tools.calls import Caller, Gate
from tools.errors import Code
from tools.schemas import without_nulls

JSON = "application/json"
MOST = 100  # resources listed of a kind, and completions given
SHAPE = re.compile(r"pilothouse://(tenants|calls)/([^/?#]{1,253})")
GONE = {Code.NOT_FOUND, Code.INVALID_ARGUMENT}
OLD_NOT_FOUND = -32002  # what versions before 2026-07-28 answer for a resource that is not there

# By kind: the tool that reads one, the argument that names it, the tool that lists them, and the
# list in its answer with the field that holds the name.
KINDS = {
    "tenants": ("tenant_get", "tenant", "tenant_list", "tenants", "name"),
    "calls": ("call_get", "id", "call_list", "calls", "id"),
}

TEMPLATES = [
    ResourceTemplate(
        name="tenant",
        title="Tenant",
        uri_template="pilothouse://tenants/{name}",
        description="A tenant: its plan, isolation, quota and use, and what has drifted.",
        mime_type=JSON,
    ),
    ResourceTemplate(
        name="call",
        title="Call",
        uri_template="pilothouse://calls/{id}",
        description="A call: what it would change or changed, its state, and how it goes on.",
        mime_type=JSON,
    ),
]


async def read(gate: Gate, caller: Caller, uri: str, *, modern: bool) -> ReadResourceResult:
    """Raises `MCPError`: for what is not there or not theirs to see, as the version has it."""
    if not (found := SHAPE.fullmatch(uri)):
        raise _not_found(uri, "No such resource.", modern)
    tool, argument, *_ = KINDS[found[1]]
    outcome = await gate.call(caller, tool, {argument: unquote(found[2])})
    if outcome.error:
        if outcome.error.code in GONE:
            raise _not_found(uri, error_text(outcome.error), modern)
        raise MCPError(INTERNAL_ERROR, error_text(outcome.error), {"uri": uri})
    text = json.dumps(without_nulls(outcome.answer), ensure_ascii=False, default=str)
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=JSON, text=text)])


def _not_found(uri: str, message: str, modern: bool) -> MCPError:
    return MCPError(INVALID_PARAMS if modern else OLD_NOT_FOUND, message, {"uri": uri})


async def listed(gate: Gate, caller: Caller) -> list[Resource]:
    """The caller's tenants and the calls that wait. What cannot be listed now is left out."""
    tenants = await _rows(gate, caller, "tenants", {"limit": MOST})
    waiting = await _rows(gate, caller, "calls", {"limit": MOST, "state": "waiting"})
    return [_resource("tenants", row["name"], f"Tenant {row['name']}") for row in tenants] + [
        _resource("calls", row["id"], f"Waiting: {row.get('summary') or row.get('tool', '')}")
        for row in waiting
    ]


def _resource(kind: str, name: str, title: str) -> Resource:
    uri = f"pilothouse://{kind}/{quote(name, safe='')}"
    return Resource(name=name, title=title, uri=uri, mime_type=JSON)


async def names(gate: Gate, caller: Caller, kind: str, start: str) -> list[str]:
    """Names of a kind that start so, for completion."""
    field = KINDS[kind][4]
    about = {"text": start} if start and kind == "tenants" else {}
    rows = await _rows(gate, caller, kind, {"limit": MOST} | about)
    return [row[field] for row in rows if row[field].startswith(start)][:MOST]


async def _rows(
    gate: Gate, caller: Caller, kind: str, arguments: dict[str, Any]
) -> list[dict[str, Any]]:
    _, _, tool, rows, field = KINDS[kind]
    answer = (await gate.call(caller, tool, arguments)).answer or {}
    return [row for row in answer.get(rows, []) if row.get(field)][:MOST]


async def workloads(gate: Gate, caller: Caller, tenant: str | None, start: str) -> list[str]:
    """Names of a tenant's workloads that start so."""
    if not tenant:
        return []
    asked = {"tenant": tenant, "limit": MOST} | ({"text": start} if start else {})
    answer = (await gate.call(caller, "workload_list", asked)).answer or {}
    found = dict.fromkeys(row["name"] for row in answer.get("workloads", []) if row.get("name"))
    return [name for name in found if name.startswith(start)][:MOST]
