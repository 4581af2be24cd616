"""What is there in AWS, in what a change writes, in the one spelling in which states compare."""

import asyncio
from typing import Any

from tools.backends.aws import instances
from tools.backends.aws.calling import Call
from tools.backends.aws.policies import POLICY, normal
from tools.errors import Code, ToolError
from tools.plan import (
    Change,
    DeleteInstance,
    DeleteRole,
    DropPrefix,
    EmptyPrefix,
    Json,
    PutPrefix,
    PutRole,
    Ref,
    Seen,
    SetInstance,
)


async def observe(call: Call, change: Change) -> Seen:
    match change:
        case PutRole():
            return await role(call, change.ref.name, only=change.tags)
        case DeleteRole():
            return await role(call, change.ref.name)
        case PutPrefix():
            return await _marker(call, change.ref, only=change.tags)
        case DropPrefix():
            return await _gone_with_its_bucket(_marker(call, change.ref))
        case EmptyPrefix():
            return await _gone_with_its_bucket(_anything(call, change.ref))
        case SetInstance():
            found = await _instance(call, change.ref)
            on = found and found["state"] not in ("stopped", "stopping")
            return Seen(value={"running": on}) if found else Seen()
        case DeleteInstance():
            found = await _instance(call, change.ref)
            return Seen(value={k: found[k] for k in ("name", "type")}) if found else Seen()
    raise TypeError(f"{type(change).__name__} is no change to AWS")


def intended(change: Change) -> Json:
    if isinstance(change, PutRole):
        documents = {"trust": normal(change.trust), "policy": normal(change.policy)}
        return change.after | documents
    return change.after


async def role(call: Call, name: str, only: dict[str, str] | None = None) -> Seen:
    """A role in the fields of `PutRole`; of its tags just those named, if any are."""

    async def ask(operation: str, **which: str) -> dict[str, Any] | None:
        try:
            return await call("iam", operation, RoleName=name, **which)
        except ToolError as error:
            _nothing(error)
            return None

    answer, policy = await asyncio.gather(
        ask("get_role"), ask("get_role_policy", PolicyName=POLICY)
    )
    return role_seen(answer["Role"], policy, only) if answer else Seen()


def role_seen(
    found: dict[str, Any], policy: dict[str, Any] | None, only: dict[str, str] | None
) -> Seen:
    """What IAM says of a role, and of its policy."""
    tags = {t["Key"]: t["Value"] for t in found.get("Tags", ())}
    value = {
        "trust": normal(found["AssumeRolePolicyDocument"]),
        "policy": normal(policy["PolicyDocument"]) if policy else {},
        "tags": {k: v for k, v in tags.items() if only is None or k in only},
        "boundary": found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""),
    }
    return Seen(uid=found["RoleId"], value=value)


def split(ref: Ref) -> tuple[str, str]:
    """A prefix's bucket and key."""
    bucket, _, key = ref.name.partition("/")
    return bucket, key


async def _marker(call: Call, ref: Ref, only: dict[str, str] | None = None) -> Seen:
    bucket, key = split(ref)
    try:
        found = await call("s3", "get_object_tagging", Bucket=bucket, Key=key)
    except ToolError as error:
        return _nothing(error)
    tags = {t["Key"]: t["Value"] for t in found["TagSet"]}
    return Seen(value={"tags": {k: v for k, v in tags.items() if only is None or k in only}})


async def _anything(call: Call, ref: Ref) -> Seen:
    """Whether anything is there, not how much: its users may still be writing."""
    bucket, key = split(ref)
    page = await call("s3", "list_object_versions", Bucket=bucket, Prefix=key, MaxKeys=1)
    there = page.get("Versions") or page.get("DeleteMarkers") or await uploads(call, ref)
    return Seen(value={"objects": True}) if there else Seen()


async def uploads(call: Call, ref: Ref) -> list[dict[str, Any]]:
    """Uploads in parts that were begun and not ended: not listed as objects, and paid for."""
    bucket, key = split(ref)
    page = await call("s3", "list_multipart_uploads", Bucket=bucket, Prefix=key, MaxUploads=1000)
    return list(page.get("Uploads", ()))


async def _gone_with_its_bucket(looking: Any) -> Seen:
    try:
        seen: Seen = await looking
    except ToolError as error:
        if "NoSuchBucket" not in str(error.__cause__):
            raise
        return Seen()
    return seen


async def _instance(call: Call, ref: Ref) -> dict[str, Any] | None:
    try:
        found = await instances.one(call, instances.service_of(ref), ref.name)
    except ToolError as error:
        _nothing(error)
        return None
    return None if found["state"] in instances.GONE else found


def _nothing(error: ToolError) -> Seen:
    if error.code is not Code.NOT_FOUND:
        raise error
    return Seen()
