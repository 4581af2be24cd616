"""Alertmanager's webhook: a thread for each group of alerts and tenant, with what the tools find
about it. What fires again or is resolved changes its thread and opens no other."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa
import structlog
from pydantic import BaseModel, Field

from chatops.store import Run
from tools.alerts import Alert, Finding, Incident
from tools.calls import Caller, Gate, Grant, Role
from tools.holdings import Step

log = structlog.get_logger(__name__)

MOST_KEPT, MOST_ALERTS, MOST_GROUPS = 1000, 50, 50
MOST_TEXT, MOST_LABELS = 500, 40  # characters of a label or text; labels of an alert
LOOK_S, SIDE_BY_SIDE = 60.0, 4
MOST_SHOWN = 20  # times in a row
LOOK_AGAIN = timedelta(minutes=5)
RECENT = timedelta(hours=2)
# The label that names the workload, and its kind.
WORKLOADS = {"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet"}

metadata = sa.MetaData()
kept = sa.Table(
    "chat_alerts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("tenant_uid", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("updated", sa.Double, nullable=False),
    sa.Column("incident", sa.Text, nullable=False),
)


class Told(BaseModel):
    """One alert, as Alertmanager's webhook has it (version 4)."""

    status: str = Field(pattern="^(firing|resolved)$")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    startsAt: str = ""
    endsAt: str = ""


class Notification(BaseModel):
    """A webhook's body; what it says beside this is not needed."""

    version: str = Field(pattern="^4$")
    groupKey: str = Field(min_length=1)
    status: str = Field(pattern="^(firing|resolved)$")
    alerts: list[Told] = Field(min_length=1, max_length=5000)


class Board(Protocol):
    """Where threads are shown, such as Slack. `id` is the same for all that is told of one."""

    async def show(self, incident: Incident) -> None: ...


class Alerts:
    """Takes notifications, keeps them, looks, and shows. It is `tools.alerts.Incidents`."""

    def __init__(
        self,
        gate: Gate,
        run: Run,
        tenant: Callable[[str], Awaitable[str | None]],
        mask: Callable[[str], str],
        clock: Callable[[], datetime],
    ) -> None:
        """`tenant` gives the uid of a namespace that is a tenant's."""
        self._gate, self._run, self._tenant = gate, run, tenant
        self._mask, self._clock = mask, clock
        self.boards: list[Board] = []
        self._writing = asyncio.Lock()
        self._slots = asyncio.Semaphore(SIDE_BY_SIDE)
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._looked: dict[str, datetime] = {}

    async def stop(self) -> None:
        for task in self._looking.values():
            task.cancel()
        if self._looking:
            await asyncio.wait(self._looking.values(), timeout=5)

    @property
    def looking(self) -> Iterable["asyncio.Task[None]"]:
        """What is being looked into."""
        return list(self._looking.values())

    async def receive(self, told: Notification) -> Sequence[str]:
        """Keep what was told and look into it in the background; the ids of its threads. Each is
        of one tenant, whatever Alertmanager groups together."""
        by_namespace: defaultdict[str, list[Told]] = defaultdict(list)
        for alert in told.alerts:
            by_namespace[alert.labels.get("namespace", "")[:63]].append(alert)
        ids = []
        for namespace, alerts in list(by_namespace.items())[:MOST_GROUPS]:
            uid = await self._tenant(namespace) if namespace else None
            async with self._writing:
                incident, before = await self._merged(told.groupKey, namespace, uid, alerts)
                await self._keep(incident)
            ids.append(incident.id)
            self._look_into(incident, fresh=before is None or before != incident.status)
        return ids

    async def list(
        self, tenants: Set[tuple[str, str]] | None, status: str, limit: int
    ) -> Sequence[Incident]:
        query = sa.select(kept.c.incident).order_by(kept.c.updated.desc()).limit(limit)
        if status:
            query = query.where(kept.c.status == status)
        if tenants is not None:
            pairs = [sa.and_(kept.c.tenant == t, kept.c.tenant_uid == u) for t, u in tenants]
            query = query.where(sa.or_(sa.false(), *pairs))
        rows = await self._run(lambda c: c.execute(query).scalars().all())
        return [Incident.model_validate_json(row) for row in rows]

    async def get(self, id: str) -> Incident | None:
        query = sa.select(kept.c.incident).where(kept.c.id == id)
        row = await self._run(lambda c: c.execute(query).scalar())
        return Incident.model_validate_json(row) if row else None

    async def _merged(
        self, group: str, namespace: str, uid: str | None, alerts: Sequence[Told]
    ) -> tuple[Incident, str | None]:
        """The thread as it is now, and its status before."""
        key = f"{group}\0{namespace}\0{uid or ''}"
        id = hashlib.sha256(key.encode()).hexdigest()[:10]
        known, now = await self.get(id), self._clock().isoformat(timespec="seconds")
        shown = [self._shown(alert) for alert in alerts[:MOST_ALERTS]]
        firing = any(alert.status == "firing" for alert in alerts)
        first = next((a for a in shown if a.status == "firing"), shown[0])
        kind, name = _workload(first.labels)
        incident = Incident(
            id=id,
            title=f"{first.name}: {first.summary}" if first.summary else first.name,
            status="firing" if firing else "resolved",
            tenant=namespace if uid else "",
            tenant_uid=uid or "",
            workload=f"{kind}/{name}" if name else "",
            opened=known.opened if known else now,
            updated=now,
            told=known.told + 1 if known else 1,
            alerts=shown,
            found=known.found if known else [],
            steps=known.steps if known and firing else [],
        )
        return incident, known.status if known else None

    def _shown(self, told: Told) -> Alert:
        def short(text: str) -> str:
            return self._mask(text)[:MOST_TEXT]

        summary = told.annotations.get("summary") or told.annotations.get("description", "")
        labels = list(told.labels.items())[:MOST_LABELS]
        return Alert(
            name=short(told.labels.get("alertname", "alert")),
            status=told.status,
            labels={name[:100]: short(value) for name, value in labels},
            summary=short(summary),
            starts=told.startsAt[:40],
            ends="" if told.status == "firing" else told.endsAt[:40],
        )

    async def _keep(self, incident: Incident) -> None:
        row = {
            "id": incident.id,
            "tenant": incident.tenant,
            "tenant_uid": incident.tenant_uid,
            "status": incident.status,
            "updated": self._clock().timestamp(),
            "incident": incident.model_dump_json(),
        }
        latest = sa.select(kept.c.id).order_by(kept.c.updated.desc()).limit(MOST_KEPT)

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(kept).where(kept.c.id == incident.id))
            connection.execute(sa.insert(kept).values(**row))
            connection.execute(sa.delete(kept).where(kept.c.id.not_in(latest)))

        await self._run(work)

    def _look_into(self, incident: Incident, *, fresh: bool) -> None:
        """Look, if there is something new to see; show it in any case."""
        looked = self._looked.get(incident.id)
        due = fresh or looked is None or self._clock() - looked > LOOK_AGAIN
        look = due and incident.status == "firing" and bool(incident.tenant)
        if incident.id in self._looking:
            return  # it shows what is there when it is done
        self._looking[incident.id] = asyncio.create_task(self._look(incident.id, look))

    async def _look(self, id: str, look: bool) -> None:
        try:
            incident = await self.get(id)
            if look and incident:
                self._looked[id] = self._clock()
                await self._show(incident)
                async with asyncio.timeout(LOOK_S), self._slots:
                    found = await look_at(self._gate, incident)
                async with self._writing:
                    incident = await self.get(id) or incident
                    steps = next_steps(incident, found, self._clock())
                    incident = incident.model_copy(update={"found": found, "steps": steps})
                    await self._keep(incident)
            shown: Incident | None = None
            for _ in range(MOST_SHOWN):  # what was told meanwhile is shown, too
                if incident is None or incident == shown:
                    break
                await self._show(incident)
                shown, incident = incident, await self.get(id)
        except Exception:
            log.exception("an alert was not looked into", incident=id)
        finally:
            self._looking.pop(id, None)

    async def _show(self, incident: Incident) -> None:
        for board in self.boards:
            try:
                await board.show(incident)
            except Exception:
                log.exception("an alert was not shown", incident=incident.id)


def looker(tenant: str, uid: str) -> Caller:
    """Who looks: one that reads, in this tenant, and nothing else."""
    return Caller.of(
        "alertmanager",
        agent=True,
        read_only=True,
        door="alert",
        grants={tenant: Grant(role=Role.VIEWER, uid=uid)},
    )


async def look_at(gate: Gate, incident: Incident) -> list[Finding]:
    """What the tools say: usage, events, recent changes, open recommendations."""
    tenant = {"tenant": incident.tenant}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("events_list", tenant | {"only_warnings": True, "limit": 10}),
        ("call_list", tenant | {"limit": 5}),
        ("recommendation_list", tenant | {"limit": 5}),
    ]
    kind, _, name = incident.workload.partition("/")
    if name:
        which = tenant | {"name": name} | ({"kind": kind} if kind else {})
        asked = [("workload_get", which), ("workload_usage", which | {"last": "3h"}), *asked]
    else:
        asked = [("workload_list", tenant | {"only_unhealthy": True, "limit": 10}), *asked]
    me = looker(incident.tenant, incident.tenant_uid)

    async def one(tool: str, arguments: dict[str, Any]) -> Finding:
        outcome = await gate.call(me, tool, arguments)
        error = outcome.error.message if outcome.error else ""
        return Finding(tool=tool, arguments=arguments, answer=outcome.answer or {}, error=error)

    return list(await asyncio.gather(*(one(*a) for a in asked)))


def next_steps(incident: Incident, found: list[Finding], now: datetime) -> list[Step]:
    """What a person may like to do; each goes through the gate as theirs when they press it."""
    if incident.status != "firing":
        return []
    answers = {finding.tool: finding.answer for finding in found}
    kind, _, name = incident.workload.partition("/")
    there = answers.get("workload_get")
    steps = []
    for row in answers.get("recommendation_list", {}).get("recommendations", []):
        if not name or name in row.get("workload", ""):
            apply = {"tool": "recommendation_apply", "arguments": {"id": row["id"]}}
            steps.append(Step.model_validate(row.get("first") or apply | {"title": row["title"]}))
    for call in answers.get("call_list", {}).get("calls", []):
        recent = now - datetime.fromisoformat(call["created"]) < RECENT
        if call["state"] == "succeeded" and recent:
            title = f"Undo: {call['summary']}"
            steps.append(Step(title=title, tool="call_undo", arguments={"id": call["id"]}))
            break
    if there:
        which = {"tenant": incident.tenant, "name": name} | ({"kind": kind} if kind else {})
        steps.append(Step(title=f"Logs of {name}", tool="workload_logs", arguments=which))
        if kind != "Pod":
            steps.append(Step(title=f"Restart {name}", tool="workload_restart", arguments=which))
    return steps[:6]


def _workload(labels: Mapping[str, str]) -> tuple[str, str]:
    """Kind and name of what the labels are about; both empty where they do not say."""
    for label, kind in WORKLOADS.items():
        if labels.get(label):
            return kind, labels[label]
    return "", labels.get("workload", "")
