"""Changes to a practice AWS, over HTTP with the real client."""

import json
from typing import Any

import pytest

from server.executor import aws as executor
from server.executor.aws import AwsWrites
from tools.backends.aws.policies import POLICY, prefix_of, reach, role_name
from tools.errors import Code, ToolError
from tools.plan import (
    Change,
    DeleteInstance,
    DeleteRole,
    DropPrefix,
    EmptyPrefix,
    Plan,
    PutPrefix,
    PutRole,
    Ref,
    Seen,
    SetInstance,
    canonical,
)

TAGS = {"pilothouse.dev/tenant": "acme", "pilothouse.dev/tenant-uid": "0a1b2c3d"}


def prefix(aws: AwsWrites, tenant: str = "acme") -> Ref:
    return aws.ref("s3/Prefix", f"{aws.bucket}/{prefix_of(tenant, '0a1b2c3d')}")


def put_role(aws: AwsWrites, tenant: str = "acme", **fields: Any) -> PutRole:
    ref = aws.ref("iam/Role", role_name(tenant, "0a1b2c3d"))
    policy = reach(aws.arn(prefix(aws, tenant)))
    said = {"trust": aws.trust(tenant, "main"), "policy": policy, "tags": TAGS}
    return PutRole(id="role", ref=ref, **(said | fields))


async def carry_out(aws: AwsWrites, change: Change) -> None:
    """As the engine does, and once more: that must change nothing."""
    change = change.model_copy(update={"seen": await aws.observe(change)})
    first = await aws.apply(change, "c1")
    for _ in range(100):
        if not await aws.settled(change):
            break
    again = await aws.apply(change.model_copy(update={"seen": None}), "c1")
    assert again.value == aws.intended(change)
    if not isinstance(change, EmptyPrefix):
        assert first == again


async def undo(aws: AwsWrites, change: Change) -> None:
    inverse = change.inverse()
    assert inverse is not None
    await carry_out(aws, inverse)


async def put(aws: AwsWrites, key: str, body: bytes = b"x") -> None:
    await aws.call("s3", "put_object", Bucket=aws.bucket, Key=key, Body=body)


async def keys(aws: AwsWrites) -> list[str]:
    page = await aws.call("s3", "list_object_versions", Bucket=aws.bucket)
    return [o["Key"] for o in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]]


async def test_a_role_is_made_as_planned_and_compares_equal_afterwards(aws: AwsWrites) -> None:
    change = put_role(aws)
    await carry_out(aws, change)
    seen = await aws.observe(change)
    assert canonical(seen.value) == canonical(aws.intended(change))
    found = (await aws.call("iam", "get_role", RoleName=change.ref.name))["Role"]
    assert found["Arn"] == aws.arn(change.ref)
    assert found["Path"] == "/pilothouse/"


async def test_a_role_is_bounded_where_a_boundary_is_named(aws: AwsWrites) -> None:
    made = await aws.call("iam", "create_policy", PolicyName="edge",
                          PolicyDocument=json.dumps(reach("arn:aws:s3:::b/p/")))  # fmt: skip
    arn = made["Policy"]["Arn"]
    await carry_out(aws, put_role(aws))
    bounded = put_role(aws, boundary=arn)
    await carry_out(aws, bounded)
    await carry_out(aws, put_role(aws))
    assert (await aws.observe(bounded)).value["boundary"] == ""


async def test_a_role_that_drifted_is_put_right_and_the_undo_puts_it_back(aws: AwsWrites) -> None:
    change = put_role(aws)
    await carry_out(aws, change)
    theirs = reach("arn:aws:s3:::elsewhere/everything/")
    await aws.call("iam", "put_role_policy", RoleName=change.ref.name, PolicyName=POLICY,
                   PolicyDocument=json.dumps(theirs))  # fmt: skip
    change = change.model_copy(update={"seen": await aws.observe(change)})
    preview = await aws.preview(change, Plan(summary=""))
    assert (preview.verb, preview.title.partition(" ")[0]) == ("update", "Update")
    assert [d.path for d in preview.diff] == ["policy.Statement"]
    await carry_out(aws, change)
    await undo(aws, change)
    assert "elsewhere" in canonical((await aws.observe(change)).value)


async def test_a_role_half_made_when_the_process_died_is_finished(aws: AwsWrites) -> None:
    change = put_role(aws)
    change = change.model_copy(update={"seen": await aws.observe(change)})
    await aws.call("iam", "create_role", RoleName=change.ref.name, Path="/pilothouse/",
                   AssumeRolePolicyDocument=json.dumps(change.trust),
                   Tags=[{"Key": k, "Value": v} for k, v in TAGS.items()])  # fmt: skip
    assert (await aws.apply(change, "c1")).value == aws.intended(change)


async def test_a_role_changed_by_somebody_else_is_left_alone(aws: AwsWrites) -> None:
    change = put_role(aws)
    await carry_out(aws, change)
    planned = put_role(aws, policy=reach("arn:aws:s3:::b/p/"))
    planned = planned.model_copy(update={"seen": await aws.observe(planned)})
    await aws.call("iam", "put_role_policy", RoleName=change.ref.name, PolicyName=POLICY,
                   PolicyDocument=json.dumps(reach("arn:aws:s3:::c/q/")))  # fmt: skip
    with pytest.raises(ToolError, match="changed by somebody else"):
        await aws.apply(planned, "c1")


async def test_what_somebody_made_since_it_was_planned_is_left_alone(aws: AwsWrites) -> None:
    name = role_name("acme", "0a1b2c3d")
    planned = [c.model_copy(update={"seen": Seen()}) for c in (
        put_role(aws), PutPrefix(id="prefix", ref=prefix(aws), tags=TAGS)
    )]  # fmt: skip
    await aws.call("iam", "create_role", RoleName=name, Path="/pilothouse/",
                   AssumeRolePolicyDocument=json.dumps(aws.trust("else", "main")))  # fmt: skip
    await aws.call("s3", "put_object", Bucket=aws.bucket, Key="tenants/acme-0a1b2c3d/",
                   Tagging="pilothouse.dev%2Ftenant=else")  # fmt: skip
    before = [await aws.observe(change) for change in planned]
    for change in planned:
        with pytest.raises(ToolError, match="changed by somebody else"):
            await aws.apply(change, "c1")
    assert [await aws.observe(change) for change in planned] == before


async def test_what_apply_shows_as_wanted_has_taken_effect(aws: AwsWrites) -> None:
    for change in (put_role(aws), PutPrefix(id="prefix", ref=prefix(aws), tags=TAGS)):
        new = change.model_copy(update={"seen": Seen()})
        left = await aws.apply(new, "c1")
        assert left == await aws.observe(new)
        assert aws.took_effect(new, left)
        assert not aws.took_effect(new, Seen())


async def test_what_is_there_is_asked_after_once_a_minute_and_what_is_not_each_time(
    aws: AwsWrites,
) -> None:
    assert not await aws.there("s3", "head_bucket", Bucket="later")
    where = {"LocationConstraint": "eu-west-1"}
    await aws.call("s3", "create_bucket", Bucket="later", CreateBucketConfiguration=where)
    assert await aws.there("s3", "head_bucket", Bucket="later")
    await aws.call("s3", "delete_bucket", Bucket="later")
    assert await aws.there("s3", "head_bucket", Bucket="later")


async def test_a_role_goes_with_all_that_others_gave_it(aws: AwsWrites) -> None:
    change = put_role(aws)
    await carry_out(aws, change)
    name = {"RoleName": change.ref.name}
    document = json.dumps(reach("arn:aws:s3:::b/p/"))
    made = await aws.call("iam", "create_policy", PolicyName="theirs", PolicyDocument=document)
    await aws.call("iam", "attach_role_policy", **name, PolicyArn=made["Policy"]["Arn"])
    await aws.call("iam", "put_role_policy", **name, PolicyName="more", PolicyDocument=document)
    profile = {"InstanceProfileName": "theirs"}
    await aws.call("iam", "create_instance_profile", **profile)
    await aws.call("iam", "add_role_to_instance_profile", **profile, **name)
    delete = DeleteRole(id="role", ref=change.ref)
    preview = await aws.preview(delete, Plan(summary=""))
    assert preview.notes == ["Policies that others gave it are taken from it: more, theirs."]
    delete = delete.model_copy(update={"seen": await aws.observe(delete)})
    await carry_out(aws, delete)
    await undo(aws, delete)
    assert (await aws.observe(change)).value == aws.intended(change)


async def test_a_role_that_pilothouse_did_not_make_is_not_deleted(aws: AwsWrites) -> None:
    name = role_name("acme", "0a1b2c3d")
    await aws.call("iam", "create_role", RoleName=name,
                   AssumeRolePolicyDocument=json.dumps(aws.trust("a", "main")))  # fmt: skip
    with pytest.raises(ToolError, match="not made by Pilothouse") as caught:
        await aws.apply(DeleteRole(id="role", ref=aws.ref("iam/Role", name)), "c1")
    assert caught.value.code is Code.FAILED_PRECONDITION


async def test_a_prefix_is_held_open_by_an_empty_object_and_dropped_with_it(aws: AwsWrites) -> None:
    change = PutPrefix(id="prefix", ref=prefix(aws), tags=TAGS)
    await carry_out(aws, change)
    assert await keys(aws) == ["tenants/acme-0a1b2c3d/"]
    await put(aws, "tenants/acme-0a1b2c3d/theirs")
    drop = DropPrefix(id="prefix", ref=prefix(aws))
    assert await aws.prefix_usage(prefix(aws)) == (1, 1)
    await carry_out(aws, drop)
    assert await keys(aws) == ["tenants/acme-0a1b2c3d/theirs"]


async def test_emptying_takes_every_version_and_marker_and_begun_upload_and_no_neighbour(
    aws: AwsWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "PAGE", 3)
    monkeypatch.setattr(executor, "PAGES_AT_ONCE", 1)
    await aws.call("s3", "put_bucket_versioning", Bucket=aws.bucket,
                   VersioningConfiguration={"Status": "Enabled"})  # fmt: skip
    for body in (b"1", b"2"):
        for n in range(4):
            await put(aws, f"tenants/acme-0a1b2c3d/{n}", body)
    await aws.call("s3", "delete_object", Bucket=aws.bucket, Key="tenants/acme-0a1b2c3d/1")
    await aws.call("s3", "create_multipart_upload", Bucket=aws.bucket,
                   Key="tenants/acme-0a1b2c3d/big")  # fmt: skip
    await put(aws, "tenants/acme-eu-0a1b2c3d/1")
    empty = EmptyPrefix(id="prefix", ref=prefix(aws))
    await carry_out(aws, empty)
    assert await keys(aws) == ["tenants/acme-eu-0a1b2c3d/1"]
    uploads = await aws.call("s3", "list_multipart_uploads", Bucket=aws.bucket)
    assert not uploads.get("Uploads")


async def test_a_missing_bucket_says_how_to_make_it(aws: AwsWrites) -> None:
    aws.bucket = "nowhere"
    put_it = PutPrefix(id="prefix", ref=prefix(aws), tags=TAGS)
    for attempt in (aws.preview(put_it, Plan(summary="")), aws.apply(put_it, "c1")):
        with pytest.raises(ToolError, match="no S3 bucket") as caught:
            await attempt
        assert caught.value.code is Code.FAILED_PRECONDITION
        assert "aws s3 mb" in caught.value.hint
    for gone in (DropPrefix(id="p", ref=prefix(aws)), EmptyPrefix(id="p", ref=prefix(aws))):
        assert (await aws.preview(gone, Plan(summary=""))).verb == "delete"
        await carry_out(aws, gone)


async def test_a_change_for_another_account_is_refused(aws: AwsWrites) -> None:
    change = put_role(aws)
    elsewhere = change.ref.model_copy(update={"at": "999999999999/eu-west-1"})
    with pytest.raises(ToolError, match="999999999999"):
        await aws.apply(change.model_copy(update={"ref": elsewhere}), "c1")


async def ec2(aws: AwsWrites) -> str:
    images = await aws.call("ec2", "describe_images", Owners=["amazon"])
    made = await aws.call("ec2", "run_instances", MinCount=1, MaxCount=1, InstanceType="t3.micro",
                          ImageId=images["Images"][0]["ImageId"])  # fmt: skip
    return str(made["Instances"][0]["InstanceId"])


async def test_an_ec2_instance_is_stopped_started_and_terminated(aws: AwsWrites) -> None:
    ref = aws.ref("ec2/Instance", await ec2(aws))
    stop = SetInstance(id="instance", ref=ref, running=False)
    await carry_out(aws, stop)
    await undo(aws, stop)
    await carry_out(aws, DeleteInstance(id="instance", ref=ref))
    assert (await aws.instance("ec2", ref.name))["state"] == "terminated"


async def test_an_rds_instance_is_stopped_started_and_deleted_with_a_snapshot(
    aws: AwsWrites,
) -> None:
    await aws.call("rds", "create_db_instance", DBInstanceIdentifier="books", Engine="postgres",
                   DBInstanceClass="db.t3.micro", AllocatedStorage=20, MasterUsername="root",
                   MasterUserPassword="practice-only")  # fmt: skip
    ref = aws.ref("rds/DBInstance", "books")
    stop = SetInstance(id="instance", ref=ref, running=False)
    assert "seven days" in (await aws.preview(stop, Plan(summary=""))).notes[0]
    await carry_out(aws, stop)
    await undo(aws, stop)
    delete = DeleteInstance(id="instance", ref=ref, final_snapshot="books-final")
    await carry_out(aws, delete)
    kept = await aws.call("rds", "describe_db_snapshots")
    assert [s["DBSnapshotIdentifier"] for s in kept["DBSnapshots"]] == ["books-final"]


async def test_protected_instances_are_refused_already_at_preview(aws: AwsWrites) -> None:
    id = await ec2(aws)
    for attribute in ("DisableApiTermination", "DisableApiStop"):
        await aws.call("ec2", "modify_instance_attribute", InstanceId=id,
                       **{attribute: {"Value": True}})  # fmt: skip
    stop = SetInstance(id="instance", ref=aws.ref("ec2/Instance", id), running=False)
    with pytest.raises(ToolError, match="protected against being stopped"):
        await aws.preview(stop, Plan(summary=""))
    delete = DeleteInstance(id="instance", ref=aws.ref("ec2/Instance", id))
    with pytest.raises(ToolError, match="protected") as caught:
        await aws.preview(delete, Plan(summary=""))
    assert caught.value.code is Code.FAILED_PRECONDITION
    with pytest.raises(ToolError) as caught:
        await aws.apply(delete, "c1")
    assert caught.value.code is Code.FAILED_PRECONDITION


async def test_a_tenant_s_role_reads_its_own_prefix_and_no_other_s(
    aws: AwsWrites, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from botocore.exceptions import ClientError
    from moto import settings

    for tenant in ("acme", "bolt"):
        await carry_out(aws, put_role(aws, tenant))
        await put(aws, f"{prefix_of(tenant, '0a1b2c3d')}secret")
    who = await aws.call("sts", "assume_role", RoleSessionName="pod",
                         RoleArn=aws.arn(put_role(aws).ref))  # fmt: skip
    keys = who["Credentials"]
    s3 = boto3.client(
        "s3",
        region_name="eu-west-1",
        endpoint_url=moto_url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    mine, theirs = prefix_of("acme", "0a1b2c3d"), prefix_of("bolt", "0a1b2c3d")
    s3.get_object(Bucket=aws.bucket, Key=f"{mine}secret")
    s3.put_object(Bucket=aws.bucket, Key=f"{mine}more", Body=b"")
    for attempt in (
        lambda: s3.get_object(Bucket=aws.bucket, Key=f"{theirs}secret"),
        lambda: s3.put_object(Bucket=aws.bucket, Key=f"{theirs}more", Body=b""),
        lambda: s3.delete_object(Bucket=aws.bucket, Key=f"{theirs}secret"),
        lambda: s3.list_buckets(),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()
