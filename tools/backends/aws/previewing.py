"""What a change to AWS would do, worked out by us: IAM, S3 and RDS have no dry run to ask."""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tools.backends.aws.instances import service_of
from tools.backends.aws.observing import intended, observe, split
from tools.backends.aws.policies import POLICY, WORKLOAD
from tools.backends.aws.refusals import no_bucket
from tools.errors import Code, ToolError
from tools.plan import (
    Change,
    DeleteInstance,
    DeleteRole,
    Difference,
    EmptyPrefix,
    Json,
    Preview,
    PutPrefix,
    PutRole,
    SetInstance,
)

if TYPE_CHECKING:
    from tools.backends.aws.account import AwsAccount


async def preview(aws: "AwsAccount", change: Change) -> Preview:
    """Raises `ToolError` where AWS would refuse it, as far as that can be known."""
    seen = change.seen or await observe(aws.call, change)
    change = change.model_copy(update={"seen": seen})
    return Preview(
        id=change.id,
        title=f"{change.verb.capitalize()} {change.ref}",
        verb=change.verb,
        how="computed",
        undo=change.undoable,
        diff=list(moves(seen.value, intended(change))),
        notes=await _notes(aws, change),
    )


def moves(before: Json, after: Json, path: str = "") -> Iterator[Difference]:
    """The fields that move from one state to the other."""
    if before == after:
        return
    if isinstance(before, dict | None) and isinstance(after, dict | None) and (before or after):
        one, other = before or {}, after or {}
        for name in sorted(one.keys() | other.keys()):
            here = f"{path}.{name}" if path else name
            yield from moves(one.get(name), other.get(name), here)
        return
    yield Difference(path=path, before=before, after=after)


async def _notes(aws: "AwsAccount", change: Change) -> list[str]:
    match change:
        case PutRole():
            kept = await _others(aws, change) if change.verb == "update" else ""
            note = f"It also has policies that others gave it, and keeps them: {kept}."
            return [*await _untaken(aws, change), *([note] if kept else [])]
        case DeleteRole():
            lost = await _others(aws, change)
            return [f"Policies that others gave it are taken from it: {lost}."] if lost else []
        case PutPrefix():
            await _must_have_bucket(aws, change)
        case EmptyPrefix():
            return [f"{await _usage(aws, change)} are deleted for good, and all their versions."]
        case SetInstance() | DeleteInstance():
            return _losses(change, await aws.instance(service_of(change.ref), change.ref.name))
    return []


async def _untaken(aws: "AwsAccount", change: PutRole) -> list[str]:
    """What somebody must still do before any pod can take the role on."""
    principal = change.trust["Statement"][0]["Principal"]
    if not (provider := principal.get("Federated")):
        tenant = change.tags.get("pilothouse.dev/tenant", "")
        command = (
            f"aws eks create-pod-identity-association --namespace {tenant} "
            f"--service-account {WORKLOAD} --role-arn {aws.arn(change.ref)} --cluster-name CLUSTER"
        )
        told = f"Its pods get it once EKS is told: {command}"
        return [told] if change.verb == "create" else []
    asked = {"OpenIDConnectProviderArn": provider}
    with suppress(ToolError):  # Pilothouse may lack the right to look
        if not await aws.there("iam", "get_open_id_connect_provider", **asked):
            return [f"No pod can take the role on yet: IAM has no OIDC provider {provider}."]
    return []


async def _others(aws: "AwsAccount", change: Change) -> str:
    inline = await aws.call("iam", "list_role_policies", RoleName=change.ref.name)
    attached = await aws.call("iam", "list_attached_role_policies", RoleName=change.ref.name)
    names = [n for n in inline["PolicyNames"] if n != POLICY]
    return ", ".join(names + [p["PolicyName"] for p in attached["AttachedPolicies"]])


async def _must_have_bucket(aws: "AwsAccount", change: Change) -> None:
    # Asked every time: it is also how a plan finds out that AWS is away, or takes us for nobody.
    bucket, _ = split(change.ref)
    try:
        await aws.call("s3", "head_bucket", Bucket=bucket)
    except ToolError as error:
        raise (no_bucket(bucket) if error.code is Code.NOT_FOUND else error) from error


async def _usage(aws: "AwsAccount", change: Change) -> str:
    most = 10_000
    try:
        objects, size = await aws.prefix_usage(change.ref, most)
    except ToolError as error:
        if "NoSuchBucket" not in str(error.__cause__):
            raise
        objects = size = 0
    return f"{objects}{' or more' if objects >= most else ''} objects ({size:,} bytes)"


def _losses(change: SetInstance | DeleteInstance, found: dict[str, Any]) -> list[str]:
    """Raises `ToolError` where it is protected against this, or in no state for it."""
    stops = isinstance(change, DeleteInstance) or not change.running
    if isinstance(change, DeleteInstance) and found.get("protected"):
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"{found['id']} is protected against deletion.",
            "Switch its termination (EC2) or deletion (RDS) protection off in AWS first.",
        )
    if isinstance(change, SetInstance) and stops:
        _may_stop(found)
    notes = []
    if found.get("instance_store") and stops:
        notes.append("Its disks are instance store: what is on them is lost.")
    if isinstance(change, DeleteInstance):
        if found["service"] == "rds":
            snapshot = change.final_snapshot
            notes.append(
                f"A final snapshot {snapshot} is kept; automated backups are not."
                if snapshot
                else "No final snapshot is kept: its data and automated backups are lost."
            )
        elif lost := found["disks_lost"]:
            notes.append(f"{lost} of its {lost + found['disks_kept']} EBS volumes go with it.")
    elif stops and found["service"] == "rds":
        notes.append("AWS starts it again by itself after seven days.")
    elif stops and found.get("public_ip"):
        notes.append(f"It may come back with another public address than {found['public_ip']}.")
    if stops and found["state"] not in ("stopped", "stopping"):
        notes.append(f"It is {found['state']} now: whoever uses it is cut off.")
    return notes


def _may_stop(found: dict[str, Any]) -> None:
    if found.get("keeps_running"):
        why, how = "is protected against being stopped", "Switch its stop protection off in AWS"
    elif found.get("instance_store"):
        why, how = "cannot be stopped: its root disk is instance store", "Delete it instead"
    elif found.get("cluster"):
        why = f"belongs to the cluster {found['cluster']} and stops with it only"
        how = "Stop the cluster in AWS"
    else:
        return
    raise ToolError(Code.FAILED_PRECONDITION, f"{found['id']} {why}.", f"{how}.")
