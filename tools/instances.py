"""EC2 and RDS instances: listed, started, stopped and deleted as one kind of thing."""

import asyncio
import re
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from tools.calls import Role
from tools.context import Context
from tools.errors import Code, ToolError
from tools.inputs import Label
from tools.objects import Lean, age
from tools.plan import DeleteInstance, Plan, Ref, SetInstance
from tools.tool import Arguments, Effect, tool

Service = Literal["ec2", "rds"]
KINDS = {"ec2": "ec2/Instance", "rds": "rds/DBInstance"}
EC2_ID = re.compile(r"i-[0-9a-f]{8,17}")
# RDS takes minutes to stop, and to write a final snapshot first longer still.
SET_S = 1800
DELETED_S = 7200

InstanceId = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z][A-Za-z0-9-]*$")]


class InstanceListArguments(Arguments):
    service: Service | None = None
    state: Annotated[str, StringConstraints(max_length=40)] = Field(
        "", description="such as running, stopped, available"
    )
    tenant: Label | None = None
    limit: int = Field(100, ge=1, le=500)
    next: str = Field("", max_length=100)


class Instance(Lean):
    id: str
    service: str
    state: str
    type: str
    name: str = ""
    tenant: str = ""
    zone: str = ""
    age: str = ""


class InstanceList(Lean):
    instances: list[Instance]
    next: str = ""


class InstanceOne(Arguments):
    id: InstanceId
    service: Service | None = Field(None, description="else by the id: i-… is ec2")


class InstanceDelete(InstanceOne):
    final_snapshot: bool = Field(True, description="RDS: keep a last snapshot")


@tool("instance_list", effect=Effect.READ, group="infrastructure", title="List instances",
      scope="platform", runs_as="platform")  # fmt: skip
async def list_(ctx: Context, args: InstanceListArguments) -> InstanceList:
    """EC2 and RDS instances with their state; those tagged with your tenants, operators: all."""
    aws = await ctx.need_aws().connected()
    services: tuple[Service, ...] = (args.service,) if args.service else ("ec2", "rds")
    found = await asyncio.gather(*(aws.instances(service) for service in services))
    shown = sorted(
        (i for some in found for i in some if _shown(ctx, args, i)),
        key=lambda i: (i["service"], i["id"]),
    )
    left = [i for i in shown if f"{i['service']}/{i['id']}" > args.next]
    page = left[: args.limit]
    more = len(left) > len(page)
    return InstanceList(
        instances=[_row(ctx, i) for i in page],
        next=f"{page[-1]['service']}/{page[-1]['id']}" if more else "",
    )


@tool("instance_start", effect=Effect.WRITE, group="infrastructure", title="Start an instance",
      role=Role.OPERATOR, scope="platform", runs_as="platform")  # fmt: skip
async def start(ctx: Context, args: InstanceOne) -> Plan:
    """Start a stopped EC2 or RDS instance; done when it runs."""
    ref = await _ref(ctx, args)
    change = SetInstance(id="instance", ref=ref, running=True, settle_s=SET_S)
    return Plan.of(f"Start {ref}", [change], result={"id": ref.name})


@tool("instance_stop", effect=Effect.WRITE, group="infrastructure", title="Stop an instance",
      role=Role.OPERATOR, scope="platform", runs_as="platform")  # fmt: skip
async def stop(ctx: Context, args: InstanceOne) -> Plan:
    """Stop a running EC2 or RDS instance; done when it has stopped. Its disks are kept."""
    ref = await _ref(ctx, args)
    change = SetInstance(id="instance", ref=ref, running=False, settle_s=SET_S)
    return Plan.of(f"Stop {ref}", [change], result={"id": ref.name})


@tool("instance_delete", effect=Effect.WRITE, group="infrastructure", title="Delete an instance",
      role=Role.OPERATOR, scope="platform", runs_as="platform", destructive=True)  # fmt: skip
async def delete(ctx: Context, args: InstanceDelete) -> Plan:
    """Terminate an EC2 instance or delete an RDS one for good. Protected ones are refused."""
    ref = await _ref(ctx, args)
    result = {"id": ref.name}
    if ref.kind == KINDS["rds"] and args.final_snapshot:
        result["snapshot"] = f"{ref.name}-final-{ctx.now:%Y%m%d%H%M%S}"
    change = DeleteInstance(
        id="instance", ref=ref, final_snapshot=result.get("snapshot", ""), settle_s=DELETED_S
    )
    return Plan.of(f"Delete {ref}", [change], result=result)


async def _ref(ctx: Context, args: InstanceOne) -> Ref:
    """The instance's reference, once it is known that it is there. Raises `ToolError`."""
    aws = await ctx.need_aws().connected()
    service = args.service or ("ec2" if EC2_ID.fullmatch(args.id) else "rds")
    found = await aws.instance(service, args.id)
    if found["state"] in ("terminated", "shutting-down", "deleting"):
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"Instance {args.id} is {found['state']}.",
            "instance_list shows those there are.",
        )
    return aws.ref(KINDS[service], args.id)


def _shown(ctx: Context, args: InstanceListArguments, instance: dict[str, Any]) -> bool:
    if args.state and instance["state"] != args.state:
        return False
    if args.tenant and instance["tenant"] != args.tenant:
        return False
    if ctx.caller.operator:
        return True
    grant = ctx.caller.grants.get(instance["tenant"])
    # Tags need not say which of two tenants of a name is meant; where they do it must be this one.
    return grant is not None and instance["tenant_uid"] in ("", grant.uid)


def _row(ctx: Context, instance: dict[str, Any]) -> Instance:
    fields = {k: instance[k] for k in Instance.model_fields if k in instance}
    return Instance(**fields, age=age(instance["launched"], ctx.now))
