"""What IAM's documents let whom do, by IAM's own rules of evaluation: what nothing allows is denied,
and of an allowing statement the action, the resource and every condition fit. moto enforces actions
and resources, and ignores conditions; that AWS keeps its rules only AWS itself can prove."""

from fnmatch import fnmatchcase
from typing import Any

import pytest

from tools.backends.aws.policies import irsa, pod_identity, prefix_of, reach

BUCKET = "arn:aws:s3:::tenants"
MINE, THEIRS = prefix_of("acme", "0a1b2c3d"), prefix_of("acme-2", "9f8e7d6c")
ISSUER = "oidc.eks.eu-west-1.amazonaws.com/id/AB12"
PROVIDER = f"arn:aws:iam::123456789012:oidc-provider/{ISSUER}"
HERE, ELSEWHERE = "acme", "bolt"


def allows(document: dict[str, Any], action: str, resource: str = "", **context: str) -> bool:
    def fits(statement: dict[str, Any]) -> bool:
        assert statement["Effect"] == "Allow", "a Deny is evaluated first, and there is none yet"
        resources = listed(statement["Resource"]) if "Resource" in statement else ["*"]
        return (
            any(fnmatchcase(action.lower(), a.lower()) for a in listed(statement["Action"]))
            and any(fnmatchcase(resource, r) for r in resources)
            and all(
                holds(operator, context.get(key), listed(wanted))
                for operator, keys in statement.get("Condition", {}).items()
                for key, wanted in keys.items()
            )
        )

    return any(fits(statement) for statement in document["Statement"])


def holds(operator: str, value: str | None, wanted: list[str]) -> bool:
    """Where the request does not have the key, the condition does not hold."""
    if value is None:
        return False
    if operator == "StringLike":
        return any(fnmatchcase(value, w) for w in wanted)
    assert operator == "StringEquals", f"{operator} is not evaluated here"
    return value in wanted


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"])
def test_an_object_is_reached_below_ones_own_prefix_only(action: str) -> None:
    role = reach(f"{BUCKET}/{MINE}")
    assert allows(role, action, f"{BUCKET}/{MINE}a/b")
    for key in (f"{THEIRS}a", "a", "tenants/", MINE.rstrip("/"), f"{MINE.rstrip('/')}x/a"):
        assert not allows(role, action, f"{BUCKET}/{key}"), key
    assert not allows(role, action, f"arn:aws:s3:::tenants-of-others/{MINE}a")


def test_a_list_is_of_ones_own_prefix_only() -> None:
    role = reach(f"{BUCKET}/{MINE}")

    def lists(**context: str) -> bool:
        return allows(role, "s3:ListBucket", BUCKET, **context)

    assert lists(**{"s3:prefix": MINE})
    assert lists(**{"s3:prefix": f"{MINE}a/"})
    assert not lists()  # the whole bucket
    for prefix in ("", "tenants/", "tenants/acme", MINE.rstrip("/"), THEIRS, "*"):
        assert not lists(**{"s3:prefix": prefix}), prefix
    assert not allows(role, "s3:ListBucketVersions", BUCKET, **{"s3:prefix": MINE})


@pytest.mark.parametrize(
    "action",
    [
        "s3:PutBucketPolicy", "s3:DeleteBucket", "s3:PutObjectAcl", "s3:GetBucketPolicy",
        "s3:ListAllMyBuckets", "iam:PassRole", "sts:AssumeRole", "s3:BypassGovernanceRetention",
    ],
)  # fmt: skip
def test_nothing_else_is_allowed_anywhere(action: str) -> None:
    role = reach(f"{BUCKET}/{MINE}")
    for resource in (BUCKET, f"{BUCKET}/{MINE}a", "*"):
        assert not allows(role, action, resource, **{"s3:prefix": MINE})


def test_the_role_is_taken_on_by_the_tenants_workloads_only() -> None:
    trust = irsa(PROVIDER, HERE)

    def may(**claims: str) -> bool:
        context = {f"{ISSUER}:{claim}": value for claim, value in claims.items()}
        return allows(trust, "sts:AssumeRoleWithWebIdentity", **context)

    def account(namespace: str, name: str = "pilothouse-workload") -> str:
        return f"system:serviceaccount:{namespace}:{name}"

    assert trust["Statement"][0]["Principal"] == {"Federated": PROVIDER}
    assert may(aud="sts.amazonaws.com", sub=account(HERE))
    assert not may(aud="sts.amazonaws.com", sub=account(ELSEWHERE))
    assert not may(aud="sts.amazonaws.com", sub=account(HERE, "default"))
    assert not may(aud="kubernetes", sub=account(HERE))
    assert not may(sub=account(HERE))
    assert not allows(trust, "sts:AssumeRole")


def test_pod_identity_hands_it_to_the_tenants_workloads_only() -> None:
    trust = pod_identity("123456789012", HERE)

    def may(namespace: str, name: str = "pilothouse-workload", account: str = "123456789012"):
        return allows(
            trust,
            "sts:AssumeRole",
            **{
                "aws:SourceAccount": account,
                "aws:RequestTag/kubernetes-namespace": namespace,
                "aws:RequestTag/kubernetes-service-account": name,
            },
        )

    assert trust["Statement"][0]["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert may(HERE)
    assert not may(ELSEWHERE)
    assert not may(HERE, "default")
    assert not may(HERE, account="999999999999")
