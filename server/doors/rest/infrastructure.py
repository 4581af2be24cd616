"""What runs, in clusters and in AWS, as one kind of thing with a `type` and an `id`."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from tools.calls import Caller, Gate, Outcome
from tools.errors import Code, ToolError
from tools.workload import KINDS

CLOUD = ("ec2", "rds")
TYPES = {kind.lower(): kind for kind in KINDS}
ALL = ", ".join((*TYPES, *CLOUD))
# What a body may say besides, for the instances of a cloud.
BODIES: Mapping[str, dict[str, Any] | None] = {
    "start": {
        "type": "object",
        "properties": {"replicas": {"type": "integer", "minimum": 1, "maximum": 1000}},
    },
    "stop": None,
    "delete": {"type": "object", "properties": {"final_snapshot": {"type": "boolean"}}},
}


class Asked(BaseModel):
    type: str = Field("", description=f"one of {ALL}")
    tenant: str = Field("", max_length=63)
    limit: int = Field(50, ge=1, le=200)
    next: str = Field("", max_length=1000)


class Piece(BaseModel):
    """`id` is `namespace:name`, or the instance's own in AWS. `status` is ready/desired of what
    runs in pods, and the state of an instance."""

    type: str
    id: str
    name: str
    tenant: str = ""
    status: str
    wrong: str = ""
    age: str = ""
    details: dict[str, Any] = {}


class Infrastructure(BaseModel):
    """What is in the cluster first, unhealthy first in each tenant. `notes` say what is missing."""

    infrastructure: list[Piece]
    next: str = ""
    notes: list[str] = []


async def listed(gate: Gate, caller: Caller, query: Mapping[str, str]) -> Infrastructure:
    """Page by page over the caller's tenants, and then over AWS."""
    asked = _asked(query)
    sources = _sources(caller, asked)
    at, inner = _place(asked.next, len(sources))
    found: list[Piece] = []
    notes: list[str] = []
    while at < len(sources) and len(found) < asked.limit:
        tool, which = sources[at]
        more = {"limit": asked.limit - len(found)} | ({"next": inner} if inner else {})
        outcome = await gate.call(caller, tool, which | more)
        if outcome.error:
            _bearable(outcome, asked)
            notes.append(outcome.error.message)
        answer = outcome.answer or {}
        found += map(_workload(which), answer.get("workloads", ()))
        found += map(_instance, answer.get("instances", ()))
        inner = answer.get("next", "")
        at += not inner
    left = at < len(sources)
    return Infrastructure(
        infrastructure=found, next=_cursor(at, inner) if left else "", notes=notes
    )


def instruction(verb: str, type: str, id: str) -> tuple[str, dict[str, Any]]:
    """The tool that does it, and which thing it does it to. Raises `ToolError`."""
    if type in CLOUD:
        return f"instance_{verb}", {"id": id, "service": type}
    if type not in TYPES:
        raise ToolError(
            Code.NOT_FOUND, f"There is no infrastructure of type {type[:40]!r}.", f"One of: {ALL}."
        )
    tenant, _, name = id.partition(":")
    if not tenant or not name:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{id[:80]!r} is no id of a {TYPES[type]}.",
            "It is namespace:name, as GET /api/v1/infrastructure has it.",
        )
    return f"workload_{verb}", {"tenant": tenant, "name": name, "kind": TYPES[type]}


def _asked(query: Mapping[str, str]) -> Asked:
    try:
        asked = Asked.model_validate({k: v for k, v in query.items() if v})
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{where}: {error.errors()[0]['msg']}.",
            "The query takes type, tenant, limit and next.",
        ) from None
    unknown = query.keys() - Asked.model_fields.keys()
    if unknown or asked.type not in ("", *TYPES, *CLOUD):
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"Unknown in the query: {', '.join(sorted(unknown) or [asked.type])[:200]}.",
            f"It takes type (one of {ALL}), tenant, limit and next.",
        )
    return asked


def _sources(caller: Caller, asked: Asked) -> list[tuple[str, dict[str, Any]]]:
    """What is asked one after the other."""
    sources: list[tuple[str, dict[str, Any]]] = []
    if asked.type not in CLOUD:
        kind = {"kind": TYPES[asked.type]} if asked.type else {}
        mine = [asked.tenant] if asked.tenant else sorted(caller.grants)
        names = [""] if caller.operator and not asked.tenant else mine
        sources += [("workload_list", kind | ({"tenant": n} if n else {})) for n in names]
    if asked.type not in TYPES:
        service = {"service": asked.type} if asked.type else {}
        tenant = {"tenant": asked.tenant} if asked.tenant else {}
        sources.append(("instance_list", service | tenant))
    return sources


def _bearable(outcome: Outcome, asked: Asked) -> None:
    """What is not there is missing from the list; what was asked wrongly is no list at all."""
    error = outcome.error
    assert error is not None
    broken = error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.FAILED_PRECONDITION)
    gone = error.code is Code.NOT_FOUND and not asked.tenant
    if not (broken or gone) or asked.type:
        raise ToolError(error.code, error.message, error.hint, retry_after=error.retry_after)


def _workload(which: Mapping[str, Any]) -> Any:
    def piece(row: Mapping[str, Any]) -> Piece:
        namespace = row.get("namespace") or which.get("tenant", "")
        details = {"image": row["image"]} if row.get("image") else {}
        return Piece(
            type=row["kind"].lower(),
            id=f"{namespace}:{row['name']}",
            name=row["name"],
            tenant=namespace,
            status=row["ready"],
            wrong=row.get("wrong", ""),
            age=row.get("age", ""),
            details=details,
        )

    return piece


def _instance(row: Mapping[str, Any]) -> Piece:
    return Piece(
        type=row["service"],
        id=row["id"],
        name=row.get("name") or row["id"],
        tenant=row.get("tenant", ""),
        status=row["state"],
        age=row.get("age", ""),
        details={k: row[k] for k in ("type", "zone") if row.get(k)},
    )


def _cursor(at: int, inner: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([at, inner]).encode()).decode()


def _place(cursor: str, most: int) -> tuple[int, str]:
    if not cursor:
        return 0, ""
    try:
        at, inner = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if not (0 <= int(at) <= most and isinstance(inner, str)):
            raise ValueError
        return int(at), inner
    except (ValueError, TypeError):
        raise ToolError(
            Code.INVALID_ARGUMENT, "That is no `next` of this list.", "Leave it out to start over."
        ) from None
