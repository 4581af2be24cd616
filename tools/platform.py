"""Tools about Pilothouse itself: is what it depends on there?"""

from typing import Any

from tools.context import Context
from tools.holdings import AnalysisRun
from tools.tool import Answer, Arguments, Effect, tool


class StatusAnswer(Answer):
    """`status` is healthy or degraded; each check has `ok`, `ms`, and `error` where it is not."""

    status: str
    checks: dict[str, dict[str, Any]]
    analysis: AnalysisRun | None = None


@tool("platform_status", effect=Effect.READ, group="platform", title="Show the platform's health",
      scope="platform")  # fmt: skip
async def status(ctx: Context, nothing: Arguments) -> StatusAnswer:
    """Whether clusters, AWS, Prometheus and the state answer, and how the last analysis went."""
    checks = dict(await ctx.health()) if ctx.health else {}
    fine = all(check["ok"] for check in checks.values())
    known = ctx.recommendations is not None and checks.get("state", {}).get("ok", True)
    return StatusAnswer(
        status="healthy" if fine else "degraded",
        checks={k: dict(v) for k, v in checks.items()},
        analysis=await ctx.need_recommendations().last(ctx.caller) if known else None,
    )
