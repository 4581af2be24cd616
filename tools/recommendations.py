"""Tools about what should be done: suggestions, each a tool with its arguments and the evidence."""

from base64 import b64encode
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from tools.calls import Role
from tools.context import Context
from tools.errors import Code, ToolError
from tools.holdings import Recommendation, Step
from tools.inputs import Label
from tools.objects import Lean
from tools.plan import Plan
from tools.tool import Arguments, Effect, Tool, catalog, tool

RecId = Annotated[str, Field(min_length=3, max_length=32)]
STATES = (
    "open", "applying", "applied", "kept", "harmful", "no_effect",
    "rejected", "replaced", "withdrawn", "expired", "later",
)  # fmt: skip


class RecommendationName(Arguments):
    id: RecId


class RecommendationFilter(Arguments):
    tenant: Label | None = None
    state: Literal["all", *STATES] = Field("open", description="open unless said")  # type: ignore[valid-type]
    strategy: Label | None = None
    sort: Literal["effect", "confidence", "age"] = "effect"
    limit: int = Field(20, ge=1, le=200)
    next: str = Field("", max_length=300)


class RecommendationPicture(RecommendationName):
    format: Literal["svg", "png"] = "svg"
    dark: bool = False


class Analyze(Arguments):
    tenant: Label | None = Field(None, description="else all")


class RecommendationReject(Arguments):
    id: RecId
    reason: str = Field("", max_length=500)


class RecommendationSnooze(Arguments):
    id: RecId
    days: float = Field(7, gt=0, le=90)


class RecommendationRow(Lean):
    id: str
    strategy: str
    state: str = "open"
    tenant: str
    workload: str
    title: str
    due: str = ""
    monthly: float = 0.0
    confidence: float | None = None
    risk: str = "low"
    blocked: str = ""
    first: Step | None = None


class Score(BaseModel):
    """How past suggestions of a strategy did, in words and in figures."""

    strategy: str
    said: str = ""
    figures: dict[str, Any]


class RecommendationList(Lean):
    recommendations: list[RecommendationRow]
    scores: list[Score] = []
    next: str = ""
    notes: list[str] = []


class RecommendationAnswer(Lean):
    recommendation: Recommendation


class Picture(Lean):
    """`data`: an SVG as its text, a PNG in base64."""

    format: str
    data: str


class Analysis(Lean):
    """How a run went. `opened` and the like are numbers of suggestions."""

    status: str
    workloads: int = 0
    opened: int = 0
    replaced: int = 0
    unchanged: int = 0
    withdrawn: int = 0
    seconds: float = 0.0
    warnings: list[str] = []


@tool("recommendation_list", effect=Effect.READ, group="recommendations",
      title="List recommendations", scope="platform")  # fmt: skip
async def list_(ctx: Context, which: RecommendationFilter) -> RecommendationList:
    """What should be changed and why, urgent first, and how past advice of each strategy did."""
    found, more, notes = await ctx.need_recommendations().list(
        ctx.caller,
        tenant=which.tenant or "",
        state="" if which.state == "all" else which.state,
        strategy=which.strategy or "",
        sort=which.sort,
        limit=which.limit,
        next=which.next,
    )
    scores = await ctx.need_recommendations().scores(ctx.caller) if not which.next else {}
    return RecommendationList(
        recommendations=[_row(one) for one in found],
        scores=[
            Score(strategy=name, said=figures.pop("said"), figures=figures)
            for name, figures in scores.items()
        ],
        next=more,
        notes=list(notes),
    )


@tool("recommendation_get", effect=Effect.READ, group="recommendations",
      title="Show a recommendation", scope="platform")  # fmt: skip
async def get(ctx: Context, which: RecommendationName) -> RecommendationAnswer:
    """One recommendation: reason, evidence, confidence, cost, risk, the call that does it."""
    found = await ctx.need_recommendations().get(ctx.caller, which.id)
    return RecommendationAnswer(recommendation=found)


@tool("recommendation_picture", effect=Effect.READ, group="recommendations",
      title="Picture of a recommendation", scope="platform", people_only=True)  # fmt: skip
async def picture(ctx: Context, which: RecommendationPicture) -> Picture:
    """What a recommendation is about, drawn: usage, requests, limits and what is expected."""
    drawn = await ctx.need_recommendations().picture(ctx.caller, which.id, which.format, which.dark)
    data = drawn.decode() if which.format == "svg" else b64encode(drawn).decode()
    return Picture(format=which.format, data=data)


@tool("recommendation_analyze", effect=Effect.READ, group="recommendations",
      title="Analyze usage", role=Role.USER, scope="platform", idempotent=False)  # fmt: skip
async def analyze(ctx: Context, which: Analyze) -> Analysis:
    """Read the latest metrics and work out the recommendations anew; changes nothing else."""
    advice = ctx.need_recommendations()
    run: Analysis = await advice.analyze(ctx.caller, which.tenant or "", ctx.progress)
    return run


@tool("recommendation_apply", effect=Effect.WRITE, group="recommendations",
      title="Apply a recommendation", scope="platform", idempotent=False)  # fmt: skip
async def apply(ctx: Context, which: RecommendationName) -> Plan:
    """Plan what a recommendation says, from what is there now, and carry it out."""
    found = await ctx.need_recommendations().get(ctx.caller, which.id)
    if found.state != "open":
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Recommendation {found.id} is {found.state}.",
            "recommendation_list shows the open ones.",
        )
    doing = doer(found)
    try:
        arguments = doing.arguments.model_validate(found.arguments)
    except ValidationError:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Recommendation {found.id} no longer fits {doing.name}.",
            "recommendation_analyze makes a new one.",
        ) from None
    plan: Plan = await doing.handler(ctx, arguments)  # type: ignore[misc]
    return plan.model_copy(
        update={
            "summary": f"{plan.summary} ({found.id})",
            "notes": (found.reason, *plan.notes),
            "destructive": plan.destructive or doing.destructive,
        }
    )


@tool("recommendation_reject", effect=Effect.DECIDE, group="recommendations",
      title="Reject a recommendation", role=Role.USER, scope="platform",
      people_only=True)  # fmt: skip
async def reject(ctx: Context, which: RecommendationReject) -> RecommendationAnswer:
    """Turn a recommendation down; it stays away until the evidence has really changed."""
    found = await ctx.need_recommendations().reject(ctx.caller, which.id, which.reason)
    return RecommendationAnswer(recommendation=found)


@tool("recommendation_snooze", effect=Effect.DECIDE, group="recommendations",
      title="Put a recommendation off", role=Role.USER, scope="platform",
      people_only=True)  # fmt: skip
async def snooze(ctx: Context, which: RecommendationSnooze) -> RecommendationAnswer:
    """Put a recommendation off for some days; it comes back if it still holds then."""
    found = await ctx.need_recommendations().later(ctx.caller, which.id, which.days)
    return RecommendationAnswer(recommendation=found)


def doer(found: Recommendation) -> Tool:
    """The tool that does what a recommendation says. Raises where it says nothing to do."""
    known = catalog().get(found.tool)
    if known is None or known.effect is not Effect.WRITE:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Recommendation {found.id} is a warning: there is no one call that mends it.",
            found.reason,
        )
    return known


def _row(one: Recommendation) -> RecommendationRow:
    inner = f"/{one.container}" if one.container else ""
    return RecommendationRow(
        id=one.id,
        strategy=one.strategy,
        state=one.state,
        tenant=one.tenant,
        workload=f"{one.kind}/{one.name}{inner}",
        title=one.title,
        due=one.due,
        monthly=one.monthly,
        confidence=one.confidence,
        risk=one.risk,
        blocked=one.blocked,
        first=one.first,
    )
