"""EC2 and RDS instances as one kind of thing, on a practice AWS."""

from typing import Any

import pytest
from pydantic import ValidationError

from server.executor.aws import AwsWrites
from server.previews import previewed
from tests.tools.conftest import context
from tools import instances
from tools.calls import Caller, Grant, Role
from tools.context import Context
from tools.errors import Code, ToolError
from tools.instances import InstanceDelete, InstanceListArguments, InstanceOne
from tools.plan import DeleteInstance, SetInstance, Undo

OPERATOR = Caller.of("olga", operator=True)


def told(aws: AwsWrites | None, caller: Caller = OPERATOR) -> Context:
    ctx = context(None, "acme", caller)
    ctx.aws = aws
    return ctx


async def ec2(aws: AwsWrites, **tags: str) -> str:
    images = await aws.call("ec2", "describe_images", Owners=["amazon"])
    marks = [{"Key": k, "Value": v} for k, v in {"made-by": "a test", **tags}.items()]
    made = await aws.call("ec2", "run_instances", MinCount=1, MaxCount=1, InstanceType="t3.micro",
                          ImageId=images["Images"][0]["ImageId"],
                          TagSpecifications=[{"ResourceType": "instance", "Tags": marks}])  # fmt: skip
    return str(made["Instances"][0]["InstanceId"])


async def rds(aws: AwsWrites, name: str, **options: Any) -> None:
    await aws.call("rds", "create_db_instance", DBInstanceIdentifier=name, Engine="postgres",
                   DBInstanceClass="db.t3.micro", AllocatedStorage=20, MasterUsername="root",
                   MasterUserPassword="practice-only", **options)  # fmt: skip


async def test_both_services_are_listed_alike_and_by_the_page(aws: AwsWrites) -> None:
    id = await ec2(aws, Name="web", tenant="acme")
    await rds(aws, "books")
    page = await instances.list_(told(aws), InstanceListArguments(limit=1))
    (first,) = page.instances
    assert (first.id, first.service, first.name, first.tenant) == (id, "ec2", "web", "acme")
    page = await instances.list_(told(aws), InstanceListArguments(limit=1, next=page.next))
    assert [(i.id, i.service) for i in page.instances] == [("books", "rds")]
    assert page.next == ""
    only = await instances.list_(told(aws), InstanceListArguments(state="running"))
    assert [i.id for i in only.instances] == [id]


async def test_a_tenant_s_caller_sees_those_that_are_tagged_with_their_tenant(
    aws: AwsWrites,
) -> None:
    mine = await ec2(aws, tenant="acme")
    await ec2(aws, tenant="bolt")
    await ec2(aws, **{"pilothouse.dev/tenant": "acme", "pilothouse.dev/tenant-uid": "older"})
    await ec2(aws)
    caller = Caller.of("ann", grants={"acme": Grant(role=Role.VIEWER, uid="u1")})
    page = await instances.list_(told(aws, caller), InstanceListArguments())
    assert [i.id for i in page.instances] == [mine]


async def test_the_service_is_known_from_the_id(aws: AwsWrites) -> None:
    id = await ec2(aws)
    plan = await instances.stop(told(aws), InstanceOne(id=id))
    ref = aws.ref("ec2/Instance", id)
    assert plan.changes == (
        SetInstance(id="instance", ref=ref, running=False, settle_s=instances.SET_S),
    )
    assert plan.undo is Undo.EXACT
    await rds(aws, "i-books")
    plan = await instances.start(told(aws), InstanceOne(id="i-books"))
    assert plan.changes[0].ref == aws.ref("rds/DBInstance", "i-books")
    plan, _ = await previewed(plan, lambda ref: aws)
    assert plan.changes == ()


async def test_a_database_keeps_a_last_snapshot_unless_told_not_to(aws: AwsWrites) -> None:
    await rds(aws, "books")
    plan = await instances.delete(told(aws), InstanceDelete(id="books"))
    (change,) = plan.changes
    assert isinstance(change, DeleteInstance)
    assert change.final_snapshot == plan.result["snapshot"]
    assert plan.undo is Undo.NONE
    bare = await instances.delete(told(aws), InstanceDelete(id="books", final_snapshot=False))
    _, (preview,) = await previewed(bare, lambda ref: aws)
    assert "No final snapshot is kept" in preview.notes[0]


async def test_a_protected_database_is_refused_at_preview(aws: AwsWrites) -> None:
    await rds(aws, "books", DeletionProtection=True)
    plan = await instances.delete(told(aws), InstanceDelete(id="books"))
    with pytest.raises(ToolError, match="protected") as caught:
        await previewed(plan, lambda ref: aws)
    assert caught.value.code is Code.FAILED_PRECONDITION


@pytest.mark.parametrize("id", ["i-0123456789abcdef0", "nobody"])
async def test_an_instance_that_is_not_there_is_not_found(aws: AwsWrites, id: str) -> None:
    with pytest.raises(ToolError) as caught:
        await instances.stop(told(aws), InstanceOne(id=id))
    assert caught.value.code is Code.NOT_FOUND


async def test_one_that_is_terminated_is_not_started(aws: AwsWrites) -> None:
    id = await ec2(aws)
    await aws.call("ec2", "terminate_instances", InstanceIds=[id])
    with pytest.raises(ToolError, match="terminated"):
        await instances.start(told(aws), InstanceOne(id=id))


async def test_without_aws_it_is_said_how_to_have_it() -> None:
    with pytest.raises(ToolError) as caught:
        await instances.list_(told(None), InstanceListArguments())
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert "credentials" in caught.value.hint


@pytest.mark.parametrize("id", ["", "../x", "a b", "x" * 64, "i-1\n-", "-a"])
def test_an_id_that_can_be_none_is_refused(id: str) -> None:
    with pytest.raises(ValidationError):
        InstanceOne(id=id)
