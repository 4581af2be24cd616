"""One AWS account and region as the tools see it: ways to look."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Literal, Self

from tools.backends.aws import instances, observing, policies, previewing
from tools.backends.aws.calling import Requests
from tools.errors import Code, ToolError
from tools.plan import Change, Json, Plan, Preview, Ref, Seen

PAGE = 1000
BELIEVED_S = 60.0


class AwsAccount:
    """The account that boto3's credentials are for. `trust` says how a tenant's ServiceAccount
    takes on its role; `oidc_providers` are the clusters' issuers (for `irsa`), under `""` the one
    for clusters that are not named.

    Which account it is is asked once (`connected`), unless `account` says so already.
    """

    def __init__(
        self,
        *,
        region: str = "",
        bucket: str = "",
        trust: policies.Trust = "irsa",
        oidc_providers: Mapping[str, str] | None = None,
        boundary: str = "",
        endpoint: str = "",
        account: str = "",
    ) -> None:
        self.requests = Requests(region, endpoint)
        self.call = self.requests.call
        self.bucket = bucket
        self.boundary = boundary
        self.account = account
        self._partition = "aws"
        self._trust = trust
        self._issuers = {
            cluster: issuer.removeprefix("https://").rstrip("/")
            for cluster, issuer in (oidc_providers or {}).items()
        }
        self._lock = asyncio.Lock()
        self._there: dict[tuple[str, ...], float] = {}
        self._forgotten = 0

    async def connected(self) -> Self:
        async with self._lock:
            # Renewed credentials may be for another account.
            forgotten = self.requests.forgotten
            if not self.account or forgotten != self._forgotten:
                who = await self.call("sts", "get_caller_identity")
                self._partition = who["Arn"].split(":")[1]
                self.account = who["Account"]
                self._forgotten = forgotten
        return self

    async def there(self, service: str, operation: str, **which: str) -> bool:
        """Does AWS know this? A yes is believed for a minute: it is asked for each tenant alike,
        of what outlives them all, and making a change finds out anyway."""
        asked = (self.account, service, operation, *which.values())
        if time.monotonic() < self._there.get(asked, 0):
            return True
        try:
            await self.call(service, operation, **which)
        except ToolError as error:
            if error.code is Code.NOT_FOUND:
                return False
            raise
        self._there[asked] = time.monotonic() + BELIEVED_S
        return True

    @property
    def at(self) -> str:
        return f"{self.account}/{self.requests.region}"

    def ref(self, kind: str, name: str) -> Ref:
        return Ref(backend="aws", at=self.at, kind=kind, name=name)

    def arn(self, ref: Ref) -> str:
        if ref.kind == "iam/Role":
            return f"arn:{self._partition}:iam::{self.account}:role{policies.PATH}{ref.name}"
        if ref.kind == "s3/Prefix":
            return f"arn:{self._partition}:s3:::{ref.name}"
        raise ValueError(f"{ref.kind} has no ARN here")

    def trust(self, tenant: str, cluster: str) -> dict[str, Any]:
        if self._trust == "pod-identity":
            return policies.pod_identity(self.account, tenant)
        issuer = self._issuers.get(cluster) or self._issuers.get("")
        if not issuer:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"It is not set whose tokens a tenant's role is to trust in cluster {cluster}.",
                "Set aws.oidc_provider (or clusters.<name>.oidc_provider) to its issuer, or "
                "aws.trust to pod-identity.",
            )
        return policies.irsa(self._provider_arn(issuer), tenant)

    @property
    def provider_arns(self) -> list[str]:
        """The OIDC providers that roles trust; none where Pod Identity is used."""
        if self._trust == "pod-identity":
            return []
        return [self._provider_arn(issuer) for issuer in self._issuers.values() if issuer]

    def _provider_arn(self, issuer: str) -> str:
        return f"arn:{self._partition}:iam::{self.account}:oidc-provider/{issuer}"

    async def instances(self, service: Literal["ec2", "rds"]) -> list[dict[str, Any]]:
        return await instances.every(self.call, service)

    async def instance(self, service: Literal["ec2", "rds"], id: str) -> dict[str, Any]:
        return await instances.one(self.call, service, id)

    async def prefix_usage(self, prefix: Ref, most: int = 10_000) -> tuple[int, int]:
        bucket, key = observing.split(prefix)
        objects = size = 0
        token: dict[str, str] = {}
        while objects < most:
            page = await self.call(
                "s3",
                "list_objects_v2",
                Bucket=bucket,
                Prefix=key,
                MaxKeys=min(PAGE, most),
                **token,
            )
            # The empty object that holds the prefix open is ours.
            found = [o for o in page.get("Contents", ()) if o["Key"] != key]
            objects += len(found)
            size += sum(o["Size"] for o in found)
            if not page.get("IsTruncated"):
                break
            token = {"ContinuationToken": page["NextContinuationToken"]}
        return objects, size

    async def observe(self, change: Change) -> Seen:
        await self.must_have(change.ref)
        return await observing.observe(self.call, change)

    def intended(self, change: Change) -> Json:
        return observing.intended(change)

    async def preview(self, change: Change, plan: Plan) -> Preview:
        await self.must_have(change.ref)
        return await previewing.preview(self, change)

    async def must_have(self, ref: Ref) -> None:
        """Raises `ToolError` for an object of another account or region."""
        await self.connected()
        if ref.at != self.at:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"{ref} is in AWS account and region {ref.at}; the credentials are for {self.at}.",
                "Start Pilothouse with the credentials and region of that account.",
            )
