"""The clusters and the AWS account as one call reaches them, with the rights that it runs with."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from server.executor.writes import Writes
from server.health import Check
from tools.calls import Caller, Role
from tools.errors import Code, ToolError
from tools.holdings import TenantRef
from tools.looking import Aws, Cluster, Looks
from tools.plan import Ref
from tools.tool import Tool

# A cluster that hangs must not hold up what is done in another for longer.
IDENTITY_S = 5.0
PROTECTED = ("kube-", "openshift-", "pilothouse-")


class Bound:
    """The backends for one call. Tools are handed `clusters` and `aws`; the engine `writes`."""

    def __init__(self, clusters: Mapping[str, Any], default: str, aws: Any | None) -> None:
        self.clusters: Mapping[str, Cluster] = clusters
        self.cluster: Cluster = clusters[default]
        self.aws: Aws | None = aws
        self._writes = clusters
        self._account = aws

    def looks(self, ref: Ref) -> Looks:
        return self.writes(ref)

    def writes(self, ref: Ref) -> Writes:
        if ref.backend == "aws":
            if self._account is None:
                raise _not_configured(f"AWS account {ref.at}")
            return self._account  # type: ignore[no-any-return]
        if ref.at not in self._writes:
            raise _not_configured(f"cluster {ref.at}")
        return self._writes[ref.at]  # type: ignore[no-any-return]


class Backends:
    """Every configured cluster, the first being the default, and the AWS account if there is one.

    `apis` are `tools.backends.kubernetes.Api`s, `aws` is what `server.executor.aws` makes.
    """

    def __init__(self, apis: Mapping[str, Any], aws: Any | None = None) -> None:
        self.apis = apis
        self.aws = aws
        self.default = next(iter(apis))
        self._plain: Mapping[str, Any] | None = None

    def protected(self, namespace: str) -> bool:
        """Does this namespace belong to the platform itself?"""
        return namespace == "default" or namespace.startswith(PROTECTED)

    async def identities(self) -> dict[str, str]:
        """What tells each cluster from every other: the uid of its `kube-system`, where it can be
        read."""
        path = "/api/v1/namespaces/kube-system"

        async def uid(api: Any) -> str:
            try:
                return str((await api.get(path, timeout_s=IDENTITY_S))["metadata"]["uid"])
            except (ToolError, KeyError, TypeError):
                return ""

        uids = await asyncio.gather(*(uid(api) for api in self.apis.values()))
        return {name: uid for name, uid in zip(self.apis, uids, strict=True) if uid}

    def bind(
        self, caller: Caller, tool: Tool, tenant: TenantRef | None, role: Role | None, about: str
    ) -> Bound:
        """What a caller reaches with a tool. A tenant's caller goes as the ServiceAccount of their
        role there, so that the cluster's own RBAC holds whatever Pilothouse does."""
        default = tenant.cluster if tenant else self.default
        if default not in self.apis:
            raise _not_configured(f"cluster {default}")
        if tool.runs_as == "platform" or role is Role.OPERATOR or tenant is None or role is None:
            return Bound(self.own(), default, self.aws)
        from server.executor.kubernetes import KubeWrites
        from tools.backends.kubernetes import Identity

        identity = Identity(
            service_account=f"pilothouse-{role.value}",
            namespace=tenant.name,
            person=caller.person,
            subject=caller.subject,
        )
        return Bound({default: KubeWrites(self.apis[default], identity)}, default, None)

    def own(self) -> Mapping[str, Any]:
        """The clusters with Pilothouse's own rights."""
        if self._plain is None:
            from server.executor.kubernetes import KubeWrites

            self._plain = {name: KubeWrites(api) for name, api in self.apis.items()}
        return self._plain

    def checks(self) -> dict[str, Check]:
        """By the name of each backend, how to ask whether it answers."""
        asks: dict[str, Check] = {
            f"cluster {n}": partial(api.get, "/version") for n, api in self.apis.items()
        }
        if self.aws is not None:
            asks["aws"] = partial(self.aws.call, "sts", "get_caller_identity")
        return asks

    async def close(self) -> None:
        await asyncio.gather(*(api.close() for api in self.apis.values()))


def _not_configured(what: str) -> ToolError:
    return ToolError(
        Code.FAILED_PRECONDITION,
        f"The {what} is not configured here.",
        "Start Pilothouse with it, or ask where it is.",
    )
