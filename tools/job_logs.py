"""The logs of Jobs: read, followed from attempt to attempt, or as they were kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from tools import job_status, logs
from tools.context import Context
from tools.errors import Code, ToolError
from tools.job_status import ENDED, JOB
from tools.objects import meta
from tools.tool import Effect, tool

# Not every change of a pod shows in its Job, so a followed one is looked at this often too.
LOOK_S = 5.0


async def kept_result(ctx: Context, tenant: str, name: str) -> dict[str, Any]:
    """What was kept of a Job that is gone. Raises `ToolError(NOT_FOUND)`."""
    if found := await ctx.calls.job_result(tenant, name):
        if found.get("status") in ENDED:
            return {"name": name} | found
        # It was kept because somebody was about to delete it.
        return found | {"name": name, "status": "cancelled", "reason": "deleted before its end"}
    raise ToolError(
        Code.NOT_FOUND, f"{tenant} has no Job {name}.", "job_list shows those there are."
    )


@tool("job_logs", effect=Effect.STREAM, group="jobs", title="Read a job's log")
async def read_logs(ctx: Context, args: logs.LogArguments) -> AsyncIterator[dict[str, Any]]:
    """A Job's log; with follow, live until the Job ends. The last piece says how it stands."""
    ref = ctx.cluster.ref(JOB, args.name, args.tenant)
    job = await ctx.cluster.find(ref)
    if job is None:
        kept = await kept_result(ctx, args.tenant, args.name)
        yield _end_of(str(kept.get("log", "")), args)
        yield _done({k: kept.get(k) for k in ("status", "reason", "exit_code")} | {"kept": True})
        return
    if args.follow:
        async for piece in _followed(ctx, args):
            yield piece
        job = await ctx.cluster.find(ref) or job
    pods = await job_status.pods_of(ctx.cluster, args.tenant, args.name)
    told = job_status.summary(job, pods)
    if not args.follow and pods:
        several = (job["spec"].get("parallelism") or 1) > 1
        async for piece in logs.read(ctx, pods[-logs.MOST_PODS if several else -1 :], args):
            yield piece
    elif not pods and told["status"] in ENDED:
        kept = await ctx.calls.job_result(args.tenant, args.name) or {}
        yield _end_of(str(kept.get("log", "")), args)
    yield _done({k: told[k] for k in ("status", "reason", "exit_code", "duration_s")})


def _end_of(log: str, args: logs.LogArguments) -> dict[str, Any]:
    return {"text": "".join(log.splitlines(keepends=True)[-args.tail_lines :])}


def _done(told: dict[str, Any]) -> dict[str, Any]:
    return {"done": True} | {k: v for k, v in told.items() if v not in (None, "")}


async def _followed(ctx: Context, args: logs.LogArguments) -> AsyncIterator[dict[str, Any]]:
    """The log of each of the Job's pods as it begins (a failed one is tried again), to its end."""
    loop = asyncio.get_running_loop()
    until = loop.time() + logs.FOLLOW_S
    told: set[str] = set()
    last_note = ""
    while (left := until - loop.time()) > 0:
        job = await ctx.cluster.find(ctx.cluster.ref(JOB, args.name, args.tenant))
        pods = await job_status.pods_of(ctx.cluster, args.tenant, args.name)
        fresh = [p for p in pods if meta(p)["name"] not in told and job_status.started(p)]
        if fresh:
            told |= {meta(p)["name"] for p in fresh}
            async for piece in logs.follow(ctx, fresh[-logs.MOST_PODS :], args, left):
                yield piece
            continue
        if job is None or job_status.status(job) in ENDED:
            return
        note = job_status.reason(job, pods)
        if note and note != last_note:
            yield {"note": note}
            last_note = note
        await _moved(ctx, job, min(LOOK_S, left))
    yield {"note": f"Followed for {logs.FOLLOW_S:g} s; call again to go on."}


async def _moved(ctx: Context, job: dict[str, Any], timeout_s: float) -> None:
    """Wait until the Job is no longer as it was, or the time is up."""
    version = meta(job)["resourceVersion"]
    events = ctx.cluster.watch(
        JOB, meta(job)["namespace"], fields=f"metadata.name={meta(job)['name']}",
        timeout_s=timeout_s,
    )  # fmt: skip
    async with aclosing(events) as watched:  # type: ignore[type-var]
        async for _, seen in watched:
            if meta(seen).get("resourceVersion") != version:
                return
