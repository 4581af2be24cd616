"""What is told live: calls as they change and go on, recommendations, and what tenants use."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog

from server.carrier import Line
from server.events import Hub
from server.masking import mask
from server.records import Call, Records
from tools.calls import Problem, State
from tools.errors import ToolError
from tools.holdings import Directory, Recommendation
from tools.tool import catalog

if TYPE_CHECKING:
    from server.measures import Measures

log = structlog.get_logger(__name__)

PROGRESS_EVERY_S = 1.0
METRICS_EVERY_S = 5.0
METRICS_OVER_S = 60.0
MOST_KNOWN = 2000
ADVANCED = ("id", "tool", "title", "summary", "state", "tenant")
TAKEN_ALONG = ("decided_by", "reason", "undone_by")


class Teller:
    """Publishes what changes. It keeps in mind what it told of the latest calls, so that a call
    that moves on need not be read for it."""

    def __init__(
        self,
        hub: Hub,
        records: Records,
        tenants: Directory,
        measures: "Measures | None",
        lines: Mapping[str, Line],
    ) -> None:
        """`lines` has how far each call is that is being carried out."""
        self._hub = hub
        self._records = records
        self._tenants = tenants
        self._measures = measures
        self._lines = lines
        self._known: OrderedDict[str, tuple[dict[str, Any], str]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._records.added, self._records.moved = self.added, self.moved
        self._spawn(self._follow_lines())
        if self._measures:
            self._spawn(self._measure(self._measures))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- calls

    def added(self, call: Call) -> None:
        self._known[call.id] = mask(_brief(call)), call.tenant_uid
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        self._tell(call.id)

    def moved(self, id: str, to: State, fields: Mapping[str, Any]) -> None:
        if id not in self._known:
            self._spawn(self._look_up(id))
            return
        brief, uid = self._known[id]
        news: dict[str, Any] = {"state": to.value, "updated": _moment(self._records.clock())}
        news |= {k: fields[k] for k in TAKEN_ALONG if fields.get(k)}
        if isinstance(error := fields.get("error"), Problem):
            news["error"] = error.model_dump(mode="json", exclude_defaults=True)
        self._known[id] = {k: v for k, v in brief.items() if k != "error"} | mask(news), uid
        self._tell(id)

    async def _look_up(self, id: str) -> None:
        if call := await self._records.find(id):
            self.added(call)

    def _tell(self, id: str) -> None:
        brief, uid = self._known[id]
        self._publish("call", brief, brief, uid)

    def _publish(
        self, kind: str, data: Mapping[str, Any], brief: Mapping[str, Any], uid: str
    ) -> None:
        about = {"tenant": brief["tenant"], "tenant_uid": uid, "person": brief["person"]}
        self._hub.publish(kind, data, **about)

    async def _follow_lines(self) -> None:
        """How far the calls are that take longer than a moment, as long as somebody follows it."""
        told: dict[str, Line] = {}
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            lines = dict(self._lines) if self._hub.wanted("progress") else {}
            told = {id: line for id, line in told.items() if id in lines}
            for id in [id for id, line in lines.items() if told.get(id) != line]:
                if id not in self._known:
                    self._spawn(self._look_up(id))
                    continue
                told[id] = text, done, of = lines[id]
                brief, uid = self._known[id]
                more = {"message": mask(text), "done": done, "of": of}
                self._publish("progress", {k: brief[k] for k in ADVANCED} | more, brief, uid)

    # ---- recommendations, metrics

    def recommended(self, one: Recommendation) -> None:
        fields = {"id", "strategy", "state", "tenant", "kind", "name", "container", "title"}
        fields |= {"due", "monthly", "confidence", "risk", "decided_by", "call_id", "updated"}
        brief = mask(one.model_dump(mode="json", include=fields, exclude_defaults=True))
        self._spawn(self._about("recommendation", one.tenant, {"state": one.state} | brief))

    async def _about(self, kind: str, tenant: str, data: Mapping[str, Any]) -> None:
        """Publish what is of a tenant, or what was of a namespace that is none (any more)."""
        try:
            found = await self._tenants.find(tenant)
        except ToolError:
            found = None  # for operators only, while the cluster does not answer
        self._hub.publish(kind, data, tenant=tenant, tenant_uid=found.uid if found else "")

    async def _measure(self, measures: "Measures") -> None:
        """What each tenant uses, every few seconds, as long as somebody follows it."""
        while True:
            await asyncio.sleep(METRICS_EVERY_S)
            if not self._hub.wanted("metrics"):
                continue
            try:
                found = await measures.services(None, "", METRICS_OVER_S, 2)
            except ToolError as error:
                log.warning("metrics not told", error=error.message)
                continue
            now: dict[str, dict[str, float]] = {}
            for one in found.series:
                if one.values and one.values[-1] is not None:
                    now.setdefault(one.tenant, {})[one.metric] = one.values[-1]
            for tenant, values in now.items():
                await self._about("metrics", tenant, {"tenant": tenant} | values)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _brief(call: Call) -> dict[str, Any]:
    tool = catalog().get(call.tool)
    brief = {
        "id": call.id,
        "tool": call.tool,
        "title": tool.title if tool else call.tool,
        "summary": call.plan.summary if call.plan else "",
        "state": call.state.value,
        "tenant": call.tenant,
        "requester": call.caller.subject,
        "person": call.caller.person,
        "agent": call.caller.agent,
        "created": _moment(call.created),
        "updated": _moment(call.updated),
    }
    more: dict[str, Any] = {"why": call.why, "undoes": call.undoes, "decided_by": call.decided_by}
    more |= {"expires": _moment(call.expires) if call.expires else ""}
    if call.error:
        more["error"] = call.error.model_dump(mode="json", exclude_defaults=True)
    return brief | {k: v for k, v in more.items() if v}


def _moment(when: Any) -> str:
    return str(when.isoformat(timespec="milliseconds"))
