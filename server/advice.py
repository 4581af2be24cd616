"""How suggestions, and the analyses that they come from, are shown."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tools.calls import Caller
from tools.holdings import AnalysisRun, Recommendation

if TYPE_CHECKING:
    from recommender.runs import RunRecord
    from recommender.suggestions import Recommendation as Stored

MOST_NOTES = 6


def shown(one: "Stored", now: datetime, currency: str) -> Recommendation:
    from recommender.strategies.base import said_left

    s, due = one.suggestion, ""
    if s.deadline is not None and one.state in ("open", "later", "applying"):
        due = said_left(s.deadline - now.timestamp())
    outcome = {
        "why": one.why,
        "held": one.held,
        "before": one.before,
        "after": one.figures,
        "undo_call": one.undo_call,
    }
    return Recommendation(
        id=one.id,
        strategy=s.strategy,
        state=one.state,
        tenant=s.subject.namespace,
        cluster=s.subject.cluster,
        kind=s.subject.kind,
        name=s.subject.name,
        container=s.subject.container,
        title=s.title,
        reason=s.reason,
        tool=s.tool,
        arguments=s.arguments,
        confidence=s.confidence,
        bound=s.bound,
        evidence=s.evidence,
        monthly=round(s.monthly, 2),
        currency=currency,
        due=due,
        risk=s.risk,
        notes=list(s.notes),
        created=_moment(one.created),
        updated=_moment(one.updated),
        expires=_moment(one.expires) if one.expires else None,
        decided_by=one.decided_by,
        why=one.said,
        call_id=one.call_id,
        outcome={k: v for k, v in outcome.items() if v not in (None, "", {})},
    )


def how_it_went(run: "RunRecord", caller: Caller, due: datetime | None) -> AnalysisRun:
    """A run as this caller may know it; `due` is when the next one is."""
    found = AnalysisRun(
        state=run.state,
        started=_moment(run.started),
        seconds=None if run.ended is None else round(run.ended - run.started, 1),
        next=due,
    )
    if not caller.operator:
        return found
    new = sum(run.recorded.get(name, 0) for name in ("opened", "replaced", "returned"))
    old = sum(run.recorded.get(name, 0) for name in ("unchanged", "held"))
    about = {"by": run.started_by, "found": new + old, "new": new, "warnings": _told(run)}
    return found.model_copy(update=about)


def notes(last: "RunRecord | None", caller: Caller) -> Sequence[str]:
    """What is to be known of the last run, where it was not all well."""
    if last is None:
        return ["Nothing was analysed yet: recommendation_analyze does it now."]
    when = f"{_moment(last.started):%Y-%m-%d %H:%M} UTC"
    said = f"The analysis of {when} is {last.state}"
    if not caller.operator:
        return [] if last.state == "complete" else [f"{said}: an operator is told why."]
    told = _told(last)[:MOST_NOTES]
    return told if last.state == "complete" else [f"{said}.", *told]


def _told(run: "RunRecord") -> list[str]:
    """What went wrong. It may name namespaces and workloads of anybody's."""
    return list(dict.fromkeys(said for said in (run.error, *run.warnings) if said))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
