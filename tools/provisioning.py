"""All that a tenant is made of, as data: one pure function from what it is to what must be there.

Creating, changing, repairing and adopting a tenant are this function of another spec; what differs
from what is there is what gets done.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tools.backends.aws.policies import WORKLOAD, prefix_of, reach, role_name
from tools.errors import Code, ToolError
from tools.holdings import TenantRef
from tools.looking import Aws
from tools.objects import MANAGED_BY, OURS, Object, annotations, labels, meta
from tools.plan import Apply, Change, PutPrefix, PutRole, Ref
from tools.tiers import Tiers

Isolation = Literal["namespace", "node-pool", "cluster"]

MARK = "pilothouse.dev/"
TENANT, UID, PLAN, ISOLATION, POOL = (
    MARK + name for name in ("tenant", "tenant-uid", "plan", "isolation", "pool")
)
OWNER, DISPLAY_NAME, PROTECTED, ROLE_ARN, PREFIX, CREATED = (
    MARK + name
    for name in ("owner", "display-name", "deletion-protection", "role-arn", "prefix", "created")
)
IRSA = "eks.amazonaws.com/role-arn"
ROLES = ("admin", "user", "viewer")
# The ClusterRoles of deploy/clusterroles.yaml that a tenant's bindings name.
CLUSTER_ROLES = (*(f"pilothouse:tenant-{role}" for role in ROLES), "pilothouse:impersonator")
# Whom Pilothouse runs as where it runs in a cluster as deploy/ has it.
PILOTHOUSE = {"kind": "ServiceAccount", "name": "pilothouse", "namespace": "pilothouse"}

RBAC = "rbac.authorization.k8s.io"
NAMESPACE = "v1/Namespace"
QUOTA = "v1/ResourceQuota"
POLICY = "MutatingAdmissionPolicy"
BINDING = "MutatingAdmissionPolicyBinding"
# What a tenant's namespace holds of ours, so that what is there too much is found.
KINDS = (
    "v1/ServiceAccount",
    f"{RBAC}/v1/RoleBinding",
    "networking.k8s.io/v1/NetworkPolicy",
    QUOTA,
    "v1/LimitRange",
)


class TenantSpec(BaseModel):
    """What a tenant is, as its Namespace's labels and annotations say it."""

    model_config = ConfigDict(frozen=True)
    name: str
    uid: str
    cluster: str
    plan: str
    isolation: Isolation = "namespace"
    pool: str = ""
    owner: str = ""
    display_name: str = ""
    protected: bool = False
    created: str = ""
    role_arn: str = ""
    prefix: str = ""

    @property
    def selector(self) -> str:
        """Finds all that this tenant is made of."""
        return f"{MANAGED_BY}={OURS},{UID}={self.uid}"


def is_tenant(namespace: Object) -> bool:
    mine = labels(namespace)
    return mine.get(MANAGED_BY) == OURS and bool(mine.get(UID)) and TENANT in mine


def tenant_ref(namespace: Object, cluster: str) -> TenantRef:
    mine = labels(namespace)
    return TenantRef(
        name=meta(namespace)["name"],
        uid=mine[UID],
        cluster=cluster,
        isolation=mine.get(ISOLATION, "namespace"),
        deleting="deletionTimestamp" in meta(namespace),
    )


def spec_of(namespace: Object, cluster: str) -> TenantSpec:
    """What a Namespace says of its tenant."""
    mine, said = labels(namespace), annotations(namespace)
    return TenantSpec(
        name=meta(namespace)["name"],
        uid=mine.get(UID, ""),
        cluster=cluster,
        plan=mine.get(PLAN, ""),
        isolation=_level(mine.get(ISOLATION, "")),
        pool=mine.get(POOL, ""),
        owner=said.get(OWNER, ""),
        display_name=said.get(DISPLAY_NAME, ""),
        protected=said.get(PROTECTED) == "true",
        created=said.get(CREATED) or meta(namespace).get("creationTimestamp", ""),
        role_arn=said.get(ROLE_ARN, ""),
        prefix=said.get(PREFIX, ""),
    )


def created_at(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def desired(
    spec: TenantSpec,
    tiers: Tiers,
    aws: Aws | None,
    *,
    admission: str = "",
    force: bool = False,
) -> list[Change]:
    """The changes that bring a tenant about, wherever it starts from.

    `admission` is the API version that serves MutatingAdmissionPolicy, for a node pool. `force`
    takes our own fields back from whoever set them since. Raises `ToolError` for an unknown tier.
    """
    tier = tiers.tiers.get(spec.plan)
    if tier is None:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"There is no plan tier {spec.plan or '(none is recorded)'}.",
            f"One of: {', '.join(tiers.tiers)}.",
        )
    if aws is not None:
        role, prefix = aws_refs(spec, aws)
        spec = spec.model_copy(update={"role_arn": aws.arn(role), "prefix": prefix.name})
    objects = [
        (NAMESPACE, spec.name, _namespace(spec)),
        *_accounts(spec),
        *_bindings(spec),
        *_network(spec, tiers),
        (QUOTA, "plan", {"spec": {"hard": tier.quota}}),
        ("v1/LimitRange", "plan", {"spec": {"limits": [_limits(tier)]}}),
    ]
    if spec.isolation == "node-pool":
        objects += _pool(spec, admission)
    changes: list[Change] = [_apply(spec, *o, force=force) for o in objects]
    if aws is not None:
        tags = {MANAGED_BY: OURS, TENANT: spec.name, UID: spec.uid}
        changes += [
            PutRole(
                id="role",
                ref=role,
                trust=aws.trust(spec.name, spec.cluster),
                policy=reach(aws.arn(prefix)),
                tags=tags,
                boundary=aws.boundary,
            ),
            PutPrefix(id="prefix", ref=prefix, tags=tags),
        ]
    return changes


def aws_refs(spec: TenantSpec, aws: Aws) -> tuple[Ref, Ref]:
    """A tenant's role and prefix. Raises `ToolError` where they are in another account."""
    if not aws.bucket and not spec.prefix:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            "No S3 bucket is set for the tenants' objects.",
            "Set aws.bucket to one that is there.",
        )
    role = aws.ref("iam/Role", role_name(spec.name, spec.uid))
    if spec.role_arn and spec.role_arn != aws.arn(role):
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"The role of tenant {spec.name} is {spec.role_arn}; the AWS credentials are for "
            f"account {aws.at}.",
            "Start Pilothouse with the credentials of that account.",
        )
    name = spec.prefix or f"{aws.bucket}/{prefix_of(spec.name, spec.uid)}"
    return role, aws.ref("s3/Prefix", name)


Named = tuple[str, str, dict[str, Any]]


def _apply(spec: TenantSpec, kind: str, name: str, body: dict[str, Any], *, force: bool) -> Apply:
    inside = kind in KINDS
    namespace = spec.name if inside else ""
    ours = {MANAGED_BY: OURS, TENANT: spec.name, UID: spec.uid}
    about = dict(body.get("metadata") or {})
    about["labels"] = ours | (about.get("labels") or {})
    return Apply(
        id="namespace" if kind == NAMESPACE else f"{kind.rpartition('/')[2].lower()}-{name}",
        ref=Ref(at=spec.cluster, kind=kind, name=name, namespace=namespace),
        needs=() if kind == NAMESPACE else ("namespace",),
        body=body | {"metadata": about},
        force=force,
    )


def _namespace(spec: TenantSpec) -> dict[str, Any]:
    said = {
        OWNER: spec.owner,
        DISPLAY_NAME: spec.display_name,
        PROTECTED: "true" if spec.protected else "",
        ROLE_ARN: spec.role_arn,
        PREFIX: spec.prefix,
        CREATED: spec.created,
    }
    marks = {
        PLAN: spec.plan,
        ISOLATION: spec.isolation,
        POOL: spec.pool if spec.isolation == "node-pool" else "",
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/warn": "baseline",
    }
    metadata = {"labels": marks, "annotations": said}
    # What is empty is not kept by the API server, and would look like drift.
    kept = {part: {k: v for k, v in of.items() if v} for part, of in metadata.items()}
    return {"metadata": {part: of for part, of in kept.items() if of}}


def _accounts(spec: TenantSpec) -> list[Named]:
    """One for each role that callers have, whom nobody but Pilothouse acts as; and the one that
    workloads run as to take on the tenant's AWS role."""
    idle: dict[str, Any] = {"automountServiceAccountToken": False}
    found: list[Named] = [("v1/ServiceAccount", f"pilothouse-{role}", idle) for role in ROLES]
    takes_on = {"metadata": {"annotations": {IRSA: spec.role_arn}}} if spec.role_arn else {}
    return [*found, ("v1/ServiceAccount", WORKLOAD, idle | takes_on)]


def _bindings(spec: TenantSpec) -> list[Named]:
    def binding(name: str, role: str, subject: Mapping[str, str]) -> Named:
        reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
        return f"{RBAC}/v1/RoleBinding", name, {"roleRef": reference, "subjects": [dict(subject)]}

    return [
        *(
            binding(
                f"pilothouse-{role}",
                f"pilothouse:tenant-{role}",
                {"kind": "ServiceAccount", "name": f"pilothouse-{role}", "namespace": spec.name},
            )
            for role in ROLES
        ),
        binding("pilothouse-impersonator", "pilothouse:impersonator", PILOTHOUSE),
    ]


def _network(spec: TenantSpec, tiers: Tiers) -> list[Named]:
    everyone: dict[str, Any] = {}
    system = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    ports = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    mine = [{"podSelector": everyone}]
    policies: dict[str, dict[str, Any]] = {
        "default-deny": {"policyTypes": ["Ingress", "Egress"]},
        "allow-dns": {
            "policyTypes": ["Egress"],
            "egress": [{"to": [system], "ports": ports}],
        },
        "allow-same-tenant": {
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": mine}],
            "egress": [{"to": mine}],
        },
    }
    if peers := tiers.isolation.allow_egress:
        policies["allow-egress"] = {"policyTypes": ["Egress"], "egress": [{"to": peers}]}
    if peers := tiers.isolation.allow_ingress:
        policies["allow-ingress"] = {"policyTypes": ["Ingress"], "ingress": [{"from": peers}]}
    kind = "networking.k8s.io/v1/NetworkPolicy"
    return [
        (kind, name, {"spec": {"podSelector": everyone} | rules})
        for name, rules in policies.items()
    ]


def _limits(tier: Any) -> dict[str, Any]:
    return {
        "type": "Container",
        "default": tier.default,
        "defaultRequest": tier.default_request,
        "max": tier.max,
    }


def _pool(spec: TenantSpec, admission: str) -> list[Named]:
    """Puts the namespace's new pods onto its nodes, and lets them onto these. A namespace's
    node-selector annotation would do nothing on a server with the usual admission plugins."""
    name = pool_policy(spec.name)
    policy = {
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": spec.name}},
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods"],
                        "scope": "*",
                    }
                ],
            },
            "mutations": [
                {"patchType": "JSONPatch", "jsonPatch": {"expression": _placing(spec.pool)}}
            ],
        }
    }
    return [
        (f"{admission}/{POLICY}", name, policy),
        (f"{admission}/{BINDING}", name, {"spec": {"policyName": name}}),
    ]


def pool_policy(tenant: str) -> str:
    return f"pilothouse-pool-{tenant}"


def _placing(pool: str) -> str:
    """CEL. `nodeSelector` and `tolerations` are atomic, which an ApplyConfiguration may not touch:
    what a pod says itself stays, and ours is added."""
    return "\n".join(
        [
            "(has(object.spec.nodeSelector) ? [] : [JSONPatch{",
            '  op: "add", path: "/spec/nodeSelector", value: Object.spec.nodeSelector{}}]) +',
            '[JSONPatch{op: "add",',
            f'  path: "/spec/nodeSelector/" + jsonpatch.escapeKey("{POOL}"), value: "{pool}"}}] +',
            "(has(object.spec.tolerations) ? [] : [JSONPatch{",
            '  op: "add", path: "/spec/tolerations", value: []}]) +',
            "(has(object.spec.tolerations) && object.spec.tolerations.exists(t,",
            f'  has(t.key) && t.key == "{POOL}") ? [] : [JSONPatch{{',
            '  op: "add", path: "/spec/tolerations/-", value: Object.spec.tolerations{',
            f'    key: "{POOL}", operator: "Equal", value: "{pool}", effect: "NoSchedule"}}}}])',
        ]
    )


def _level(text: str) -> Isolation:
    return text if text in ("node-pool", "cluster") else "namespace"  # type: ignore[return-value]


def refs(changes: Sequence[Change]) -> set[Ref]:
    return {change.ref for change in changes}
