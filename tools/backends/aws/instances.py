"""EC2 and RDS instances as one kind of thing."""

from typing import Any, Literal

from tools.backends.aws.calling import Call
from tools.errors import Code, ToolError
from tools.plan import Ref

Service = Literal["ec2", "rds"]
PAGES = 200
# EC2 shows an instance for about an hour after its end.
GONE = frozenset({"terminated", "shutting-down", "deleting", "deleted"})
RUNNING = {"ec2": "running", "rds": "available"}
STOPPED = "stopped"


def service_of(ref: Ref) -> Service:
    return "ec2" if ref.kind.startswith("ec2/") else "rds"


async def every(call: Call, service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    for _ in range(PAGES):
        if service == "ec2":
            page = await call("ec2", "describe_instances", MaxResults=1000, **token)
            found += [_ec2(i) for r in page["Reservations"] for i in r["Instances"]]
            token = {"NextToken": page["NextToken"]} if page.get("NextToken") else {}
        else:
            page = await call("rds", "describe_db_instances", MaxRecords=100, **token)
            found += [_rds(i) for i in page["DBInstances"]]
            token = {"Marker": page["Marker"]} if page.get("Marker") else {}
        if not token:
            break
    return found


async def one(call: Call, service: Service, id: str) -> dict[str, Any]:
    """Raises `ToolError(NOT_FOUND)`; what has been terminated is found for a while."""
    if service == "rds":
        page = await call("rds", "describe_db_instances", DBInstanceIdentifier=id)
        found = [_rds(i) for i in page["DBInstances"]]
    else:
        page = await call("ec2", "describe_instances", InstanceIds=[id])
        found = [_ec2(i) for r in page["Reservations"] for i in r["Instances"]]
    if not found:
        raise ToolError(Code.NOT_FOUND, f"There is no {service} instance {id}.", "instance_list.")
    instance = found[0]
    if service == "ec2" and instance["state"] not in GONE:
        instance["protected"] = await _flag(call, id, "disableApiTermination")
        instance["keeps_running"] = await _flag(call, id, "disableApiStop")
    return instance


async def _flag(call: Call, id: str, attribute: str) -> bool:
    answer = await call("ec2", "describe_instance_attribute", InstanceId=id, Attribute=attribute)
    return bool(answer.get(attribute[0].upper() + attribute[1:], {}).get("Value"))


def _ec2(instance: dict[str, Any]) -> dict[str, Any]:
    tags = {t["Key"]: t["Value"] for t in instance.get("Tags", ())}
    disks = [d.get("Ebs", {}) for d in instance.get("BlockDeviceMappings", ())]
    return {
        "id": instance["InstanceId"],
        "service": "ec2",
        "name": tags.get("Name", ""),
        "state": instance["State"]["Name"],
        "type": instance["InstanceType"],
        "zone": instance.get("Placement", {}).get("AvailabilityZone", ""),
        "launched": instance["LaunchTime"].isoformat(),
        "disks_lost": sum(bool(d.get("DeleteOnTermination")) for d in disks),
        "disks_kept": sum(not d.get("DeleteOnTermination") for d in disks if d),
        "instance_store": instance.get("RootDeviceType") == "instance-store",
        "public_ip": instance.get("PublicIpAddress", ""),
        **_tenant(tags),
    }


def _rds(instance: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": instance["DBInstanceIdentifier"],
        "service": "rds",
        "name": instance.get("DBName") or instance["DBInstanceIdentifier"],
        "state": instance["DBInstanceStatus"],
        "type": instance["DBInstanceClass"],
        "zone": instance.get("AvailabilityZone", ""),
        "launched": instance["InstanceCreateTime"].isoformat()
        if instance.get("InstanceCreateTime")
        else "",
        "engine": f"{instance.get('Engine', '')} {instance.get('EngineVersion', '')}".strip(),
        "cluster": instance.get("DBClusterIdentifier", ""),
        "protected": bool(instance.get("DeletionProtection")),
        **_tenant({t["Key"]: t["Value"] for t in instance.get("TagList", ())}),
    }


def _tenant(tags: dict[str, str]) -> dict[str, str]:
    return {
        "tenant": tags.get("pilothouse.dev/tenant") or tags.get("tenant", ""),
        "tenant_uid": tags.get("pilothouse.dev/tenant-uid", ""),
    }
