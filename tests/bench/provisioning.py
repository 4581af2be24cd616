"""`tenant_create` from call to done, against a bare client that makes the same, one by one."""

import json
import os
from datetime import UTC, datetime
from typing import Any

from server.executor.aws import AwsWrites
from tests.bench.bare import Cluster
from tests.bench.measuring import Figure, in_turns, ratio, timed
from tests.bench.processes import BUCKET, OIDC, REGION, World, applied
from tools.backends.kubernetes import Api
from tools.plan import Apply, Change, PutPrefix, PutRole
from tools.provisioning import TenantSpec, created_at, desired
from tools.tiers import DEFAULT_TIERS, Tiers

PAIRS = 15
SLOW_PAIRS, SLOW_S = 9, 0.01


async def provisioning(here: World) -> list[Figure]:
    """`tenant_create` over REST from the call to its answer, with its plan, preview and journal: 20
    changes. An operator asks, whom the bench's policy lets go ahead unattended, so that no human's
    time is in it. Against the same objects sent by a bare client (aiohttp, boto3) to the cluster and
    to AWS one after another, without looking what is there. The practice cluster answers in less
    than a millisecond, so that what is measured there are two commits to the journal, five requests
    more (is the name free, the dry run, a look before what is applied) and Python; where each answer
    takes 10 ms longer, as over a network, it shows that what does not depend on each other goes side
    by side."""

    bare = await Bare.over(here)
    names = (f"{here.mark}-{n:03d}" for n in range(1000))

    async def ours() -> None:
        await here.call("tenant_create", name=next(names), plan="pro")

    async def theirs() -> None:
        await bare.create(next(names))

    title = f"`tenant_create`, {here.name}"
    figures = [ratio(title, 1.5, await in_turns(timed(ours), timed(theirs), PAIRS, warm=2))]
    if here.name == "practice cluster":
        await _delay(here.admin, SLOW_S)
        slow = await in_turns(timed(ours), timed(theirs), SLOW_PAIRS)
        await _delay(here.admin, 0)
        what = f"{title} that takes {SLOW_S * 1000:.0f} ms longer for each answer"
        figures.append(ratio(what, 1.5, slow))
    return figures


class Bare:
    """Sends what a tenant is made of to the cluster and to AWS, each when the last was answered."""

    def __init__(self, cluster: Cluster, account: AwsWrites, paths: Api, aws_url: str) -> None:
        import boto3

        self.cluster = cluster
        self.account = account
        self.kinds = paths.kinds
        session = boto3.Session(region_name=REGION)
        self.iam, self.s3 = (session.client(s, endpoint_url=aws_url) for s in ("iam", "s3"))

    @classmethod
    async def over(cls, here: World) -> "Bare":
        account = AwsWrites(
            region=REGION,
            bucket=BUCKET,
            oidc_providers={"": OIDC},
            endpoint=here.aws_url,
        )
        return cls(here.admin, await account.connected(), Api("bench"), here.aws_url)

    async def create(self, name: str) -> None:
        spec = TenantSpec(
            name=name, uid=os.urandom(4).hex(), cluster="bench", plan="pro",
            created=created_at(datetime.now(UTC)),
        )  # fmt: skip
        for change in desired(spec, Tiers(tiers=DEFAULT_TIERS), self.account):
            await self._make(change)

    async def _make(self, change: Change) -> None:
        match change:
            case Apply():
                kind = await self.kinds.find(change.ref.kind)
                names = {"apiVersion": kind.api_version, "kind": kind.word}
                await applied(self.cluster, await self.kinds.path(change.ref), names | change.body)
            case PutRole():
                role = {"RoleName": change.ref.name}
                tags = [{"Key": k, "Value": v} for k, v in change.tags.items()]
                trust, policy = json.dumps(change.trust), json.dumps(change.policy)
                self.iam.create_role(**role, AssumeRolePolicyDocument=trust, Tags=tags)
                self.iam.put_role_policy(**role, PolicyName="tenant", PolicyDocument=policy)
            case PutPrefix():
                bucket, _, key = change.ref.name.partition("/")
                self.s3.put_object(Bucket=bucket, Key=key)
            case _:
                raise TypeError(f"{change} is new here")


async def _delay(cluster: Cluster, seconds: float) -> None:
    await cluster.request("DELETE", "/practice/faults")
    if seconds:
        fault: dict[str, Any] = {"do": "delay", "seconds": seconds, "times": 1_000_000}
        await cluster.request("POST", "/practice/faults", json=fault)
