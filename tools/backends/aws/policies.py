"""IAM's documents: who may take on a tenant's role, what it may do, and one spelling to compare."""

from collections.abc import Mapping
from typing import Any, Literal

from tools.plan import canonical

Trust = Literal["irsa", "pod-identity"]
Document = dict[str, Any]

# The ServiceAccount that a tenant's workloads run as to get the role.
WORKLOAD = "pilothouse-workload"
PATH = "/pilothouse/"
POLICY = "pilothouse"


def role_name(tenant: str, uid: str) -> str:
    """The uid keeps a tenant made anew under an old name from finding the old one's role."""
    return f"pilothouse-{tenant}-{uid}"


def prefix_of(tenant: str, uid: str) -> str:
    return f"tenants/{tenant}-{uid}/"


def irsa(provider_arn: str, tenant: str) -> Document:
    """Trust in the cluster's OIDC provider, for the tenant's own ServiceAccount only."""
    issuer = provider_arn.partition(":oidc-provider/")[2]
    return _document(
        Effect="Allow",
        Principal={"Federated": provider_arn},
        Action="sts:AssumeRoleWithWebIdentity",
        Condition={
            "StringEquals": {
                f"{issuer}:aud": "sts.amazonaws.com",
                f"{issuer}:sub": f"system:serviceaccount:{tenant}:{WORKLOAD}",
            }
        },
    )


def pod_identity(account: str, tenant: str) -> Document:
    """Trust in EKS Pod Identity, for the tenant's namespace and ServiceAccount only."""
    return _document(
        Effect="Allow",
        Principal={"Service": "pods.eks.amazonaws.com"},
        Action=["sts:AssumeRole", "sts:TagSession"],
        Condition={
            "StringEquals": {
                "aws:SourceAccount": account,
                "aws:RequestTag/kubernetes-namespace": tenant,
                "aws:RequestTag/kubernetes-service-account": WORKLOAD,
            }
        },
    )


def reach(prefix_arn: str) -> Document:
    """Read, write and list what is under one prefix (`arn:aws:s3:::bucket/prefix/`), no more.

    There is no Deny: what nothing allows is denied, and a Deny of all other buckets would stand
    in the way of whoever gives a tenant one of its own.
    """
    bucket_arn, _, prefix = prefix_arn.partition("/")
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Objects",
                "Effect": "Allow",
                "Action": [
                    "s3:AbortMultipartUpload",
                    "s3:DeleteObject",
                    "s3:GetObject",
                    "s3:ListMultipartUploadParts",
                    "s3:PutObject",
                ],
                "Resource": f"{prefix_arn}*",
            },
            {
                "Sid": "List",
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": bucket_arn,
                "Condition": {"StringLike": {"s3:prefix": f"{prefix}*"}},
            },
        ],
    }


def normal(document: Mapping[str, Any]) -> Document:
    """The one spelling of a policy: IAM gives back lists of one as text, and in any order."""
    statements = document.get("Statement", [])
    statements = [statements] if isinstance(statements, Mapping) else statements
    rest = {k: v for k, v in document.items() if k != "Statement"}
    return rest | {"Statement": sorted(map(_statement, statements), key=canonical)}


def _statement(statement: Mapping[str, Any]) -> Document:
    said: Document = {}
    for name, value in statement.items():
        if name == "Condition":
            said[name] = {
                operator: {key: _values(wanted) for key, wanted in keys.items()}
                for operator, keys in value.items()
            }
        elif isinstance(value, Mapping):
            said[name] = {kind: _values(who) for kind, who in value.items()}
        else:
            said[name] = value if name in ("Sid", "Effect") else _values(value)
    return said


def _values(value: Any) -> Any:
    """Sorted text; one alone without its list."""
    values = sorted(_text(v) for v in (value if isinstance(value, list) else [value]))
    return values[0] if len(values) == 1 else values


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _document(**statement: Any) -> Document:
    return {"Version": "2012-10-17", "Statement": [statement]}
