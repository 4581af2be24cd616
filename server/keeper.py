"""What is kept of Jobs beyond their time: how each ended, and the end of its log."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog

from server.records import Records
from tools.errors import ToolError
from tools.holdings import Directory
from tools.job_status import JOB, ends_log, job_result, runs_job
from tools.looking import Cluster
from tools.objects import MANAGED_BY, OURS
from tools.plan import Change, Create, Plan, Ref

log = structlog.get_logger(__name__)

ENDS = ("Complete", "Failed", "FailureTarget")
WATCH_S = 300
AGAIN_S = 5


class Keeper:
    """Watches the Jobs that Pilothouse made, in every cluster, and keeps the result of each that
    ends. `before` keeps what a change is about to take away."""

    def __init__(
        self, records: Records, clusters: Callable[[], Mapping[str, Cluster]], tenants: Directory
    ) -> None:
        self._records = records
        self._clusters = clusters
        self._tenants = tenants
        self._kept: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for name in self._clusters():
            self._tasks.append(asyncio.create_task(self._watch(name), name=f"jobs of {name}"))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def before(self, change: Change) -> None:
        """Keep what a change ends. Failing to is no reason not to make the change."""
        if ends_log(change):
            with suppress(ToolError):
                await self._keep(change.ref)

    async def outcome(self, plan: Plan) -> dict[str, Any]:
        """How the Job ended that a plan ran to its end, to go into the call's answer."""
        for change in plan.changes:
            if isinstance(change, Create) and change.await_end and runs_job(change):
                with suppress(ToolError):
                    return await self._keep(change.ref)
        return {}

    async def _watch(self, name: str) -> None:
        while True:
            try:
                cluster = self._clusters()[name]
                events = cluster.watch(JOB, labels=f"{MANAGED_BY}={OURS}", timeout_s=WATCH_S)
                async for kind, job in events:
                    if kind != "DELETED" and (how := _ended(job)):
                        await self._once(cluster, job, how)
            except ToolError as error:
                log.warning("cannot watch jobs", cluster=name, error=error.message)
            except Exception:
                log.exception("watching jobs failed", cluster=name)
            await asyncio.sleep(AGAIN_S)

    async def _once(self, cluster: Cluster, job: Mapping[str, Any], how: str) -> None:
        uid = job["metadata"]["uid"]
        if self._kept.get(uid) == how:
            return
        if len(self._kept) > 10_000:
            self._kept.clear()
        ref = cluster.ref(JOB, job["metadata"]["name"], job["metadata"]["namespace"])
        with suppress(ToolError):
            await self._keep(ref)
            self._kept[uid] = how

    async def _keep(self, ref: Ref) -> dict[str, Any]:
        tenant = await self._tenants.find(ref.namespace)
        result = await job_result(self._clusters()[ref.at], ref.namespace, ref.name)
        uid = tenant.uid if tenant else ""
        before = await self._records.kept_job(ref.namespace, uid, ref.name) or {}
        if not result.get("log") and before.get("log"):
            result["log"] = before["log"]  # the pods are gone by now; their log was kept earlier
        await self._records.keep_job(ref.namespace, uid, ref.name, result)
        return result


def _ended(job: Mapping[str, Any]) -> str:
    """How a Job ended or is about to, empty while it is not. One that fails for its deadline loses
    its pods, and with them its log, between `FailureTarget` and `Failed`."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return " ".join(c["type"] for c in conditions if c["type"] in ENDS and c["status"] == "True")
