"""Tools about Pilothouse itself: is what it depends on there?"""

from typing import Any

from tools.context import Context
from tools.tool import Answer, Arguments, Effect, tool


class StatusAnswer(Answer):
    """`status` is healthy or degraded; each check has `ok`, `ms`, and `error` where it is not."""

    status: str
    checks: dict[str, dict[str, Any]]


@tool("platform_status", effect=Effect.READ, group="platform", title="Show the platform's health",
      scope="platform")  # fmt: skip
async def status(ctx: Context, nothing: Arguments) -> StatusAnswer:
    """Whether clusters, AWS, Prometheus and the state answer, and how fast."""
    checks = dict(await ctx.health()) if ctx.health else {}
    fine = all(check["ok"] for check in checks.values())
    return StatusAnswer(
        status="healthy" if fine else "degraded", checks={k: dict(v) for k, v in checks.items()}
    )
