"""Jobs: a container run to its end in a tenant's namespace, waited for, read and cancelled."""

import re
import secrets
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from tools import job_status
from tools.backends.aws.policies import WORKLOAD
from tools.calls import Role
from tools.context import Context
from tools.errors import Code, ToolError
from tools.inputs import (
    EnvName,
    Image,
    InTenant,
    Label,
    Resources,
    SecretKey,
    Subdomain,
    check_bounds,
)
from tools.job_logs import kept_result
from tools.job_status import CANCELLED, ENDED, JOB, job_result
from tools.objects import MANAGED_BY, OURS, Lean, anew, meta
from tools.plan import Create, Delete, Patch, Plan
from tools.tool import Arguments, Effect, tool

__all__ = ["job_result"]

NOBODY = 65532
MOST_TEXT = 128 << 10
LOG_LINES = 20
# Beyond its deadline, for pods to be ended and counted.
GRACE_S = 120

Text = Annotated[str, Field(max_length=32768)]


class JobName(InTenant):
    name: Label


class SecretRef(Arguments):
    """A key of a Secret in the tenant's namespace."""

    secret: Subdomain
    key: SecretKey


class JobCreate(Resources, InTenant):
    """A Job to run."""

    image: Image
    command: list[Text] = Field([], description="the entrypoint: no shell")
    args: list[Text] = []
    env: dict[EnvName, Text] = {}
    secret_env: dict[EnvName, SecretRef] = {}
    name: Label | None = None
    timeout_s: int = Field(3600, ge=1, le=604_800)
    retries: int = Field(0, ge=0, le=20)
    ttl_s: int = Field(3600, ge=30, le=604_800, description="kept this long after its end")
    user: int = Field(NOBODY, ge=0, le=2**31 - 1, description="uid; 0 is root")
    wait: bool = Field(False, description="done when the Job has ended")

    @model_validator(mode="after")
    def _of_a_size(self) -> Self:
        said = [*self.command, *self.args, *self.env, *self.env.values(), *self.secret_env]
        if len(said) > 1000 or sum(map(len, said)) > MOST_TEXT:
            raise ValueError(f"command, args and env are longer than {MOST_TEXT >> 10} kB together")
        if both := self.env.keys() & self.secret_env.keys():
            raise ValueError(f"{min(both)} is in env and in secret_env")
        return self


class JobAnswer(Lean):
    """A Job. `log` is the last of its log; `kept` says that the Job itself is gone and this is
    what was kept of it."""

    name: str
    status: str
    reason: str = ""
    exit_code: int | None = None
    image: str = ""
    started: str | None = None
    finished: str | None = None
    duration_s: int | None = None
    attempts: int = 0
    pods: list[str] = []
    log: str = ""
    kept: bool = False


class JobRow(Lean):
    name: str
    status: str
    completions: str = ""
    duration: str = ""
    age: str = ""
    image: str = ""


class JobList(Lean):
    jobs: list[JobRow]
    next: str = ""


class JobListArguments(InTenant):
    limit: int = Field(50, ge=1, le=200)
    next: str = Field("", max_length=2000)


class JobCancel(JobName):
    delete: bool = Field(False, description="also delete it, giving back its quota")


@tool("job_create", effect=Effect.WRITE, group="jobs", title="Run a job", role=Role.USER,
      idempotent=False)  # fmt: skip
async def create(ctx: Context, args: JobCreate) -> Plan:
    """Run a container to its end as a Job. Follow it with job_logs, see its result with job_get."""
    check_bounds(args.wanted())
    name = args.name or generated(args.image)
    ref = ctx.cluster.ref(JOB, name, args.tenant)
    if args.name and await ctx.cluster.find(ref):
        raise ToolError(
            Code.ALREADY_EXISTS,
            f"{args.tenant} has a Job {name} already.",
            "Choose another name, or leave it out to have one made.",
        )
    change = Create(
        id="job",
        ref=ref,
        body=manifest(args, ctx, await _account(ctx, args.tenant)),
        await_end=args.wait,
        settle_s=args.timeout_s + GRACE_S,
    )
    notes = [] if args.user else ["It runs as root, which Pod Security level restricted refuses."]
    return Plan.of(
        f"Run {args.image} as Job {name} in {args.tenant}",
        [change],
        notes=notes,
        result={"tenant": args.tenant, "name": name},
    )


def generated(image: str) -> str:
    """A name that nobody has, after the image: fixed in the plan, so never `generateName`."""
    last = image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()
    stem = re.sub("[^a-z0-9]+", "-", last).strip("-")[:54].strip("-") or "job"
    return f"{stem}-{secrets.token_hex(4)}"


async def _account(ctx: Context, namespace: str) -> str:
    """The ServiceAccount that has the tenant's IAM role; a plain namespace has none."""
    ref = ctx.cluster.ref("v1/ServiceAccount", WORKLOAD, namespace)
    return WORKLOAD if await ctx.cluster.find(ref) else "default"


def manifest(args: JobCreate, ctx: Context, account: str) -> dict[str, Any]:
    """The Job, with the least rights that a container can run with."""
    labels = {MANAGED_BY: OURS}
    env: list[dict[str, Any]] = [{"name": k, "value": v} for k, v in args.env.items()]
    env += [
        {"name": k, "valueFrom": {"secretKeyRef": {"name": at.secret, "key": at.key}}}
        for k, at in args.secret_env.items()
    ]
    said = {"command": args.command, "args": args.args, "env": env, "resources": args.wanted()}
    container = {
        "name": "job",
        "image": args.image,
        **{k: v for k, v in said.items() if v},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    context: dict[str, Any] = {
        "runAsUser": args.user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if args.user:
        context["runAsNonRoot"] = True
    return {
        "metadata": {
            "labels": labels,
            "annotations": {"pilothouse.dev/requester": ctx.caller.subject},
        },
        "spec": {
            "backoffLimit": args.retries,
            "activeDeadlineSeconds": args.timeout_s,
            "ttlSecondsAfterFinished": args.ttl_s,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": account,
                    "automountServiceAccountToken": False,
                    "securityContext": context,
                    "containers": [container],
                },
            },
        },
    }


@tool("job_get", effect=Effect.READ, group="jobs", title="Show a job")
async def get(ctx: Context, args: JobName) -> JobAnswer:
    """A Job's status, exit code, times and the end of its log; also after it is gone."""
    job = await ctx.cluster.find(ctx.cluster.ref(JOB, args.name, args.tenant))
    if job is None:
        return _kept(await kept_result(ctx, args.tenant, args.name))
    pods = await job_status.pods_of(ctx.cluster, args.tenant, args.name)
    log = await job_status.log_of(ctx.cluster, pods, LOG_LINES)
    told = job_status.summary(job, pods)
    if told["status"] in ENDED and not pods:
        # The controller took the pods of one that was cancelled or ran out of time.
        kept = await ctx.calls.job_result(args.tenant, args.name) or {}
        log = "".join(str(kept.get("log", "")).splitlines(keepends=True)[-LOG_LINES:])
        told["exit_code"] = kept.get("exit_code")
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    return JobAnswer(**told, image=image, pods=[meta(p)["name"] for p in pods], log=log)


def _kept(result: dict[str, Any]) -> JobAnswer:
    known = {k: v for k, v in result.items() if k in JobAnswer.model_fields and v is not None}
    log = "".join(str(known.get("log", "")).splitlines(keepends=True)[-LOG_LINES:])
    return JobAnswer.model_validate(known | {"kept": True, "log": log})


@tool("job_list", effect=Effect.READ, group="jobs", title="List jobs")
async def list_jobs(ctx: Context, args: JobListArguments) -> JobList:
    """A tenant's Jobs with their status."""
    table = await ctx.cluster.table(
        JOB, args.tenant, limit=args.limit, next=args.next, metadata=True
    )
    rows = [
        JobRow(
            name=row["name"],
            status=job_status.listed(row),
            completions=row.get("completions", ""),
            duration=row.get("duration") or "",
            age=row.get("age", ""),
            image=row.get("images", ""),
        )
        for row in table.rows
    ]
    return JobList(jobs=rows, next=table.next)


@tool("job_cancel", effect=Effect.WRITE, group="jobs", title="Cancel a job", role=Role.USER)
async def cancel(ctx: Context, args: JobCancel) -> Plan:
    """Stop a Job that runs. What it logged is kept."""
    ref = ctx.cluster.ref(JOB, args.name, args.tenant)
    job = await ctx.cluster.get(ref)
    state = job_status.status(job)
    changes: list[Patch | Delete] = []
    if state not in ENDED:
        stop = {
            "metadata": {"annotations": {CANCELLED: ctx.now.isoformat(timespec="seconds")}},
            "spec": {"suspend": True},
        }
        changes.append(Patch(id="suspend", ref=ref, fields=stop))
    elif not args.delete:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Job {args.name} has ended already: {state}.",
            "delete=true deletes it." if state == "cancelled" else "job_get shows its result.",
        )
    if args.delete:
        needs = tuple(change.id for change in changes)
        whole = anew(job)
        changes.append(Delete(id="delete", ref=ref, whole=whole, needs=needs))
    return Plan.of(
        f"{'Delete' if args.delete else 'Cancel'} Job {args.name} in {args.tenant} ({state})",
        changes,
        notes=["Undoing this runs the Job from its beginning."],
        result={"tenant": args.tenant, "name": args.name},
    )
