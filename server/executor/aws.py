"""Changes to one AWS account: roles, prefixes, instances. Sent again, each happens once."""

from typing import Any
from urllib.parse import urlencode

from tools.backends.aws import AwsAccount, instances, observing
from tools.backends.aws.policies import PATH, POLICY
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
    canonical,
)

PAGE = 1000
# How much of a prefix is emptied at once, before it is said how far it is.
PAGES_AT_ONCE = 10


class AwsWrites(AwsAccount):
    """The account with the right to change things."""

    async def apply(self, change: Change, call_id: str) -> Seen:
        await self.must_have(change.ref)
        if made := await self._made_anew(change):
            return made
        now = await self.observe(change)
        wanted = self.intended(change)
        if canonical(now.value) == canonical(wanted):
            return now
        _must_be_as_seen(change, now, wanted)
        match change:
            case PutRole():
                await self._put_role(change, now.value)
            case DeleteRole():
                await self._delete_role(change.ref.name)
            case PutPrefix():
                await self._put_marker(change)
            case DropPrefix():
                await self._drop_marker(change.ref)
            case EmptyPrefix():
                await self._empty(change.ref, pages=1)
            case SetInstance():
                await self._set_instance(change)
            case DeleteInstance():
                await self._delete_instance(change)
        return await self.observe(change)

    async def is_ours(self, change: Change, call_id: str) -> bool:
        return True  # names of roles and prefixes are the tenant's uid's, which nobody else uses

    def took_effect(self, change: Change, left: Seen) -> bool:
        """`apply` reads a role or a prefix again, as AWS shows it to others."""
        looked = isinstance(change, PutRole | DeleteRole | PutPrefix | DropPrefix)
        return looked and canonical(left.value) == canonical(self.intended(change))

    async def settled(self, change: Change) -> str:
        """Empties a long prefix too, some pages each time, so that one sees how far it is."""
        if isinstance(change, SetInstance | DeleteInstance):
            return await self._instance_settled(change)
        now = await self.observe(change)
        if isinstance(change, EmptyPrefix) and now.value is not None:
            deleted = await self._empty(change.ref, pages=PAGES_AT_ONCE)
            return f"{deleted} more objects deleted"
        done = canonical(now.value) == canonical(self.intended(change))
        return "" if done else "waiting for AWS to show it"

    async def _made_anew(self, change: Change) -> Seen | None:
        """Make what was not there when it was planned. AWS refuses where there is something by now,
        so that nobody need look first; None where it did, or does not know how to."""
        if change.seen is None or change.seen.value is not None:
            return None
        try:
            match change:
                case PutRole():
                    return await self._create_role(change)
                case PutPrefix():
                    await self._put_marker(change, IfNoneMatch="*")
                    return Seen(value=self.intended(change))
        except ToolError as error:
            if error.lost or error.passing:
                raise
        return None

    # ---- roles

    async def _create_role(self, change: PutRole) -> Seen:
        """A role that shows its policy to others is there for them, too."""
        made = await self.call(
            "iam",
            "create_role",
            RoleName=change.ref.name,
            **({"PermissionsBoundary": change.boundary} if change.boundary else {}),
            Path=PATH,
            AssumeRolePolicyDocument=canonical(change.trust),
            Description=f"Tenant {change.tags.get('pilothouse.dev/tenant', '')} of Pilothouse",
            Tags=_tags(change),
        )
        await self._put_policy(change)
        shown = await self.call(
            "iam", "get_role_policy", RoleName=change.ref.name, PolicyName=POLICY
        )
        return observing.role_seen(made["Role"], shown, change.tags)

    async def _put_role(self, change: PutRole, now: Json) -> None:
        if now is None:
            await self._create_role(change)
            return
        name = {"RoleName": change.ref.name}
        await self._must_be_ours(change.ref.name)
        await self.call(
            "iam", "update_assume_role_policy", **name, PolicyDocument=canonical(change.trust)
        )
        if change.tags:
            await self.call("iam", "tag_role", **name, Tags=_tags(change))
        if change.boundary:
            boundary = {"PermissionsBoundary": change.boundary}
            await self.call("iam", "put_role_permissions_boundary", **name, **boundary)
        elif now["boundary"]:
            await self.call("iam", "delete_role_permissions_boundary", **name)
        await self._put_policy(change)

    async def _put_policy(self, change: PutRole) -> None:
        await self.call(
            "iam",
            "put_role_policy",
            RoleName=change.ref.name,
            PolicyName=POLICY,
            PolicyDocument=canonical(change.policy),
        )

    async def _delete_role(self, name: str) -> None:
        await self._must_be_ours(name)
        role = {"RoleName": name}
        # IAM deletes no role that still has any of these. It allows far fewer than one page.
        for policy in (await self.call("iam", "list_role_policies", **role))["PolicyNames"]:
            await self._unless_gone("delete_role_policy", **role, PolicyName=policy)
        attached = await self.call("iam", "list_attached_role_policies", **role)
        for policy in attached["AttachedPolicies"]:
            await self._unless_gone("detach_role_policy", **role, PolicyArn=policy["PolicyArn"])
        profiles = await self.call("iam", "list_instance_profiles_for_role", **role)
        for profile in profiles["InstanceProfiles"]:
            named = {"InstanceProfileName": profile["InstanceProfileName"]}
            await self._unless_gone("remove_role_from_instance_profile", **role, **named)
        await self._unless_gone("delete_role", **role)

    async def _unless_gone(self, operation: str, **arguments: Any) -> None:
        try:
            await self.call("iam", operation, **arguments)
        except ToolError as error:
            if error.code is not Code.NOT_FOUND:
                raise

    async def _must_be_ours(self, name: str) -> None:
        found = (await self.call("iam", "get_role", RoleName=name))["Role"]
        if found["Path"] != PATH:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"The role {found['Arn']} was not made by Pilothouse.",
                "Rename or remove it, and repeat.",
            )

    # ---- prefixes

    async def _put_marker(self, change: PutPrefix, **only: str) -> None:
        bucket, key = observing.split(change.ref)
        tags = urlencode(change.tags)
        await self.call("s3", "put_object", Bucket=bucket, Key=key, Tagging=tags, **only)

    async def _drop_marker(self, ref: Ref) -> None:
        """All versions of the one object whose key is the prefix: it comes first in every list."""
        bucket, key = observing.split(ref)
        for _ in range(PAGE):
            found = await self._versions(bucket, key)
            if not (mine := [v for v in found if v["Key"] == key]):
                return
            await self._delete_objects(bucket, mine)
        raise ToolError(Code.UNAVAILABLE, f"{ref} is written again and again.", "Stop its writers.")

    async def _empty(self, ref: Ref, pages: int) -> int:
        """Delete up to so many pages of versions, delete markers and begun uploads; how many."""
        bucket, key = observing.split(ref)
        deleted = 0
        for _ in range(pages):
            found = await self._versions(bucket, key)
            if found:
                await self._delete_objects(bucket, found)
            deleted += len(found)
            if len(found) < PAGE:
                break
        for upload in await observing.uploads(self.call, ref):
            which = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            await self.call("s3", "abort_multipart_upload", Bucket=bucket, **which)
            deleted += 1
        return deleted

    async def _versions(self, bucket: str, prefix: str) -> list[dict[str, str]]:
        page = await self.call(
            "s3", "list_object_versions", Bucket=bucket, Prefix=prefix, MaxKeys=PAGE
        )
        found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        return [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in found]

    async def _delete_objects(self, bucket: str, objects: list[dict[str, str]]) -> None:
        wanted = {"Objects": objects, "Quiet": True}
        answer = await self.call("s3", "delete_objects", Bucket=bucket, Delete=wanted)
        if errors := answer.get("Errors"):
            first = errors[0]
            raise ToolError(
                Code.PERMISSION_DENIED if first["Code"] == "AccessDenied" else Code.UNAVAILABLE,
                f"{len(errors)} objects were not deleted; {first['Key']}: {first['Message']}",
                "See whether an object lock or a bucket policy keeps them.",
            )

    # ---- instances

    async def _set_instance(self, change: SetInstance) -> None:
        verb = "start" if change.running else "stop"
        if instances.service_of(change.ref) == "ec2":
            await self.call("ec2", f"{verb}_instances", InstanceIds=[change.ref.name])
        else:
            name = {"DBInstanceIdentifier": change.ref.name}
            await self.call("rds", f"{verb}_db_instance", **name)

    async def _delete_instance(self, change: DeleteInstance) -> None:
        if instances.service_of(change.ref) == "ec2":
            await self.call("ec2", "terminate_instances", InstanceIds=[change.ref.name])
            return
        snapshot = change.final_snapshot
        kept = {"FinalDBSnapshotIdentifier": snapshot} if snapshot else {"SkipFinalSnapshot": True}
        await self.call("rds", "delete_db_instance", DBInstanceIdentifier=change.ref.name, **kept)

    async def _instance_settled(self, change: SetInstance | DeleteInstance) -> str:
        service = instances.service_of(change.ref)
        try:
            state = (await self.instance(service, change.ref.name))["state"]
        except ToolError as error:
            if error.code is Code.NOT_FOUND and isinstance(change, DeleteInstance):
                return ""
            raise
        if isinstance(change, DeleteInstance):
            return "" if state == "terminated" else f"it is {state}"
        if state in instances.GONE:
            raise ToolError(
                Code.FAILED_PRECONDITION, f"{change.ref} is {state}.", "Somebody deleted it."
            )
        wanted = instances.RUNNING[service] if change.running else instances.STOPPED
        return "" if state == wanted else f"it is {state}"


def _tags(change: PutRole) -> list[dict[str, str]]:
    return [{"Key": k, "Value": v} for k, v in sorted(change.tags.items())]


def _must_be_as_seen(change: Change, now: Seen, wanted: Json) -> None:
    """Each field is as it was seen, or already as wanted: a change of several requests that was
    cut off in the middle goes on. Raises `ToolError` for anything else."""
    if change.seen is None:
        return
    moved = now.uid != change.seen.uid and "" not in (now.uid, change.seen.uid)
    for name, value in (now.value or {}).items():
        states = [canonical((s or {}).get(name)) for s in (change.seen.value, wanted)]
        moved |= canonical(value) not in (*states, "{}", '""')
    if moved or (now.value is None and change.seen.value is not None):
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"{change.ref} was changed by somebody else meanwhile.",
            "Look at it again, and repeat.",
        )
