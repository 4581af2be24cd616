"""What a tenant is made of, compared as data: the function asks nobody."""

from typing import Any

import pytest

from tools.backends.aws import AwsAccount
from tools.errors import Code, ToolError
from tools.plan import Apply, Change, PutPrefix, PutRole, in_order
from tools.provisioning import TenantSpec, desired, is_tenant, spec_of, tenant_ref
from tools.tiers import DEFAULT_TIERS, Isolation, Tiers

TIERS = Tiers(tiers=DEFAULT_TIERS)
SPEC = TenantSpec(
    name="acme",
    uid="0a1b2c3d",
    cluster="main",
    plan="pro",
    owner="ann@example.com",
    display_name="Acme, Inc.",
    protected=True,
    created="2026-01-02T03:04:05Z",
)
AWS = AwsAccount(
    account="123456789012",
    region="eu-west-1",
    bucket="objects",
    oidc_providers={"": "oidc.example/1"},
)
ROLE = "arn:aws:iam::123456789012:role/pilothouse/pilothouse-acme-0a1b2c3d"
OURS = {
    "app.kubernetes.io/managed-by": "pilothouse",
    "pilothouse.dev/tenant": "acme",
    "pilothouse.dev/tenant-uid": "0a1b2c3d",
}


def wanted(spec: TenantSpec = SPEC, tiers: Tiers = TIERS, **how: Any) -> dict[str, Change]:
    return {c.id: c for c in desired(spec, tiers, AWS, **how)}


def test_a_tenant_is_sixteen_changes_of_which_only_those_inside_wait_for_the_namespace() -> None:
    changes = wanted()
    assert list(changes) == [
        "namespace",
        "serviceaccount-pilothouse-admin",
        "serviceaccount-pilothouse-user",
        "serviceaccount-pilothouse-viewer",
        "serviceaccount-pilothouse-workload",
        "rolebinding-pilothouse-admin",
        "rolebinding-pilothouse-user",
        "rolebinding-pilothouse-viewer",
        "rolebinding-pilothouse-impersonator",
        "networkpolicy-default-deny",
        "networkpolicy-allow-dns",
        "networkpolicy-allow-same-tenant",
        "resourcequota-plan",
        "limitrange-plan",
        "role",
        "prefix",
    ]
    free = {"namespace", "role", "prefix"}
    for id, change in changes.items():
        assert change.needs == (() if id in free else ("namespace",))
    assert in_order(changes.values())


def test_all_that_is_in_the_cluster_is_applied_and_marked_as_ours() -> None:
    for change in wanted().values():
        if change.ref.backend == "kubernetes":
            assert isinstance(change, Apply)
            assert not change.force
            assert change.body["metadata"]["labels"].items() >= OURS.items()
            assert change.ref.at == "main"
            assert change.ref.namespace == ("" if change.id == "namespace" else "acme")


def test_the_namespace_says_all_that_a_tenant_is() -> None:
    body = wanted()["namespace"].after
    assert body["metadata"] == {
        "labels": OURS
        | {
            "pilothouse.dev/plan": "pro",
            "pilothouse.dev/isolation": "namespace",
            "pod-security.kubernetes.io/enforce": "baseline",
            "pod-security.kubernetes.io/warn": "baseline",
        },
        "annotations": {
            "pilothouse.dev/owner": "ann@example.com",
            "pilothouse.dev/display-name": "Acme, Inc.",
            "pilothouse.dev/deletion-protection": "true",
            "pilothouse.dev/role-arn": ROLE,
            "pilothouse.dev/prefix": "objects/tenants/acme-0a1b2c3d/",
            "pilothouse.dev/created": "2026-01-02T03:04:05Z",
        },
    }
    live = {"metadata": body["metadata"] | {"name": "acme"}}
    assert is_tenant(live)
    read = spec_of(live, "main")
    prefix = "objects/tenants/acme-0a1b2c3d/"
    assert read == SPEC.model_copy(update={"role_arn": ROLE, "prefix": prefix})
    assert tenant_ref(live, "main").uid == "0a1b2c3d"
    assert wanted(read) == wanted()


def test_each_role_s_account_is_bound_to_its_shipped_role_in_the_namespace_only() -> None:
    for role in ("admin", "user", "viewer"):
        binding = wanted()[f"rolebinding-pilothouse-{role}"].after
        assert binding["roleRef"]["name"] == f"pilothouse:tenant-{role}"
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": f"pilothouse-{role}", "namespace": "acme"}
        ]


def test_workloads_take_the_role_on_through_their_own_account() -> None:
    account = wanted()["serviceaccount-pilothouse-workload"].after
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": ROLE}
    role = wanted()["role"]
    assert isinstance(role, PutRole)
    subject = role.trust["Statement"][0]["Condition"]["StringEquals"]["oidc.example/1:sub"]
    assert subject == "system:serviceaccount:acme:pilothouse-workload"


def test_the_role_reaches_the_prefix_that_is_made_beside_it() -> None:
    role, prefix = wanted()["role"], wanted()["prefix"]
    assert isinstance(role, PutRole)
    assert isinstance(prefix, PutPrefix)
    assert prefix.ref.name == "objects/tenants/acme-0a1b2c3d/"
    assert role.policy["Statement"][0]["Resource"] == f"arn:aws:s3:::{prefix.ref.name}*"


def test_a_tier_is_the_quota_and_the_limits() -> None:
    changes = wanted()
    assert changes["resourcequota-plan"].after["spec"] == {"hard": DEFAULT_TIERS["pro"].quota}
    (limits,) = changes["limitrange-plan"].after["spec"]["limits"]
    assert limits["max"] == DEFAULT_TIERS["pro"].max
    with pytest.raises(ToolError) as caught:
        wanted(SPEC.model_copy(update={"plan": "gold"}))
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_what_the_settings_let_through_is_let_through() -> None:
    out = [{"ipBlock": {"cidr": "198.51.100.0/24"}}]
    into = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    isolation = Isolation(allow_egress=out, allow_ingress=into)
    changes = wanted(tiers=Tiers(tiers=DEFAULT_TIERS, isolation=isolation))
    assert changes["networkpolicy-allow-egress"].after["spec"]["egress"] == [{"to": out}]
    assert changes["networkpolicy-allow-ingress"].after["spec"]["ingress"] == [{"from": into}]


def test_a_pool_of_nodes_adds_a_policy_for_the_namespace_s_pods() -> None:
    spec = SPEC.model_copy(update={"isolation": "node-pool", "pool": "big"})
    changes = wanted(spec, admission="admissionregistration.k8s.io/v1")
    more = [id for id in changes if id not in wanted()]
    assert more == [
        "mutatingadmissionpolicy-pilothouse-pool-acme",
        "mutatingadmissionpolicybinding-pilothouse-pool-acme",
    ]
    policy = changes[more[0]]
    assert policy.ref.kind == "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
    assert policy.ref.namespace == ""
    constraints = policy.after["spec"]["matchConstraints"]
    assert constraints["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "acme"
    }
    assert '"big"' in str(policy.after["spec"]["mutations"])
    assert changes["namespace"].after["metadata"]["labels"]["pilothouse.dev/pool"] == "big"


def test_without_aws_nothing_of_aws_is_made_and_nothing_recorded_forgotten() -> None:
    spec = SPEC.model_copy(update={"role_arn": ROLE})
    changes = {c.id: c for c in desired(spec, TIERS, None)}
    assert "role" not in changes
    assert "prefix" not in changes
    said = changes["namespace"].after["metadata"]["annotations"]
    assert said["pilothouse.dev/role-arn"] == ROLE


def test_a_role_in_another_account_is_refused_rather_than_made_twice() -> None:
    spec = SPEC.model_copy(update={"role_arn": ROLE.replace("123456789012", "999999999999")})
    with pytest.raises(ToolError) as caught:
        wanted(spec)
    assert caught.value.code is Code.FAILED_PRECONDITION
