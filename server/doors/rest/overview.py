"""The platform at a glance."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tools.calls import Caller, Gate
from tools.errors import Code, ToolError

MOST_ACTIONS, MOST_PREDICTIONS = 10, 5
# Each is told in the overview, and on its own path in full.
PARTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "status": ("platform_status", {}),
    "actions": ("call_list", {"limit": MOST_ACTIONS}),
    "waiting": ("call_list", {"state": "waiting", "limit": MOST_ACTIONS}),
    "predictions": ("recommendation_list", {"limit": MOST_PREDICTIONS}),
    "metrics": ("metrics_service", {"last": "5m", "points": 2}),
}


class Overview(BaseModel):
    """`actions` are calls, the newest first, and `waiting` those that wait for a decision;
    `predictions` the recommendations with the most effect; `metrics`, by tenant, what it uses now.
    `notes` say what is missing, and why."""

    status: str
    checks: dict[str, dict[str, Any]]
    actions: list[dict[str, Any]]
    waiting: list[dict[str, Any]]
    predictions: list[dict[str, Any]]
    metrics: dict[str, dict[str, float]]
    notes: list[str] = []


async def overview(gate: Gate, caller: Caller, query: Mapping[str, str]) -> Overview:
    if query:
        raise ToolError(
            Code.INVALID_ARGUMENT, "The overview takes no query.", "Its parts' own paths do."
        )
    outcomes = await asyncio.gather(*(gate.call(caller, *part) for part in PARTS.values()))
    found = {name: one.answer or {} for name, one in zip(PARTS, outcomes, strict=True)}
    notes = dict.fromkeys(one.error.message for one in outcomes if one.error)
    notes |= dict.fromkeys(found["predictions"].get("notes", ()))
    return Overview(
        status=found["status"].get("status", "unknown"),
        checks=found["status"].get("checks", {}),
        actions=found["actions"].get("calls", []),
        waiting=found["waiting"].get("calls", []),
        predictions=found["predictions"].get("recommendations", []),
        metrics=_now(found["metrics"].get("series", [])),
        notes=list(notes),
    )


def _now(series: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    now: dict[str, dict[str, float]] = {}
    for one in series:
        if known := [value for value in one["values"] if value is not None]:
            now.setdefault(one["tenant"], {})[one["metric"]] = known[-1]
    return now
