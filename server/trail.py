"""Reading the audit trail: searched as far as a caller may see it, and verified."""

import hmac
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from server import anchors, chain
from server.audit import Audit, head
from server.journal import Journal, audit
from tools.calls import Caller, Role
from tools.errors import Code, ToolError
from tools.holdings import AuditLine, TrailState

PAGE = 1000  # nobody else is served while so many are hashed
MOST_FAULTS = 50
SEARCHED = ("tool", "tenant", "subject", "person", "call_id", "decision", "policy", "state", "code")


@dataclass
class Trail:
    """The `AuditTrail` of `tools/context.py`."""

    journal: Journal
    audit: Audit
    anchored: Path

    async def search(
        self,
        caller: Caller,
        *,
        tools: Collection[str] | None,
        states: Collection[str],
        tenant: str,
        subject: str,
        since: datetime | None,
        until: datetime | None,
        text: str,
        limit: int,
        next: str,
    ) -> tuple[Sequence[AuditLine], str]:
        await self.audit.flush()
        where = [_visible(caller)]
        if tools is not None:
            where.append(audit.c.tool.in_(tools))
        if states:
            where.append(audit.c.state.in_(states))
        if tenant:
            where.append(audit.c.tenant == tenant)
        if subject:
            where.append(sa.or_(audit.c.subject == subject, audit.c.person == subject))
        if since:
            where.append(audit.c.time >= since)
        if until:
            where.append(audit.c.time < until)
        if text:
            where.append(
                sa.or_(*(audit.c[name].icontains(text, autoescape=True) for name in SEARCHED))
            )
        if next:
            where.append(audit.c.seq < _cursor(next))
        query = sa.select(audit).where(*where).order_by(audit.c.seq.desc()).limit(limit + 1)
        rows = await self.journal.run(lambda c: c.execute(query).mappings().all())
        found = [AuditLine.model_validate(dict(row)) for row in rows[:limit]]
        return found, str(found[-1].seq) if len(rows) > limit else ""

    async def verify(self) -> TrailState:
        await self.audit.flush()
        return await verified(self.journal, self.anchored)


async def verified(journal: Journal, anchored: Path | None) -> TrailState:
    """Is the trail whole, record by record and as the anchors have it, where there are any?"""
    faults: list[str] = []
    seq, before, last = 0, "", await journal.run(head)
    marks = {}
    for anchor in anchors.read(anchored) if anchored else ():
        mac = journal.vault.mac(anchor.signed)
        if hmac.compare_digest(str(anchor.mac).encode(), mac.encode()):
            marks[anchor.seq] = anchor
        elif anchor.mac:  # there were none at first
            faults.append(f"the anchor of record {anchor.seq} was changed, or is none of ours")
    if anchored and last[0] and not marks:
        faults.append(f"there is no anchor: {anchored.name} is gone, or was emptied")
    found: set[int] = set()
    while len(faults) < MOST_FAULTS and (rows := await journal.run(_page(seq))):
        for row in rows:
            if row["seq"] == seq:
                faults.append(f"there are two records {seq}")
            elif row["seq"] > seq + 1:
                faults.append(f"{_span(seq + 1, row['seq'] - 1)} missing")
            elif chain.hashed(dict(row), before) != row["hash"]:
                faults.append(f"record {row['seq']} was changed, or put in another's place")
            seq, before = row["seq"], row["hash"]
            if mark := marks.get(seq):
                found.add(seq)
                if mark.hash != before:
                    faults.append(f"record {seq} is not the one that was anchored at {mark.time}")
    if len(faults) < MOST_FAULTS and (ahead := max(marks, default=0)) > last[0]:
        faults.append(
            f"{_span(last[0] + 1, ahead)} missing at the end: {marks[ahead].time} had them"
        )
    return TrailState(
        records=last[0], head=last[1], anchors=len(marks), faults=faults[:MOST_FAULTS]
    )


def _page(after: int) -> Callable[[sa.Connection], Sequence[sa.RowMapping]]:
    query = sa.select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(PAGE)
    return lambda connection: connection.execute(query).mappings().all()


def _span(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"


def _visible(caller: Caller) -> sa.ColumnElement[bool]:
    """Operators see all; others what was done in their name, and admins what concerns their
    tenant."""
    if caller.operator:
        return sa.true()
    mine = [audit.c.person == caller.person]
    for tenant, grant in caller.grants.items():
        if grant.role.covers(Role.ADMIN):
            mine.append(sa.and_(audit.c.tenant == tenant, audit.c.tenant_uid == grant.uid))
    return sa.or_(*mine)


def _cursor(next: str) -> int:
    if next.isascii() and next.isdigit() and len(next) < 19:
        return int(next)
    raise ToolError(
        Code.INVALID_ARGUMENT, "That is no `next` of this list.", "Leave it out to start over."
    )
