"""Ways to look at a cluster and at AWS. There is none to change anything with."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel

from tools.plan import Change, Json, Plan, Preview, Ref, Seen


class Looks(Protocol):
    """How one backend is looked at on behalf of one caller. Nothing here changes anything."""

    async def observe(self, change: Change) -> Seen:
        """What is there now, in the fields that the change writes."""
        ...

    def intended(self, change: Change) -> Json:
        """`change.after` spelt as `observe` would spell it once the change has been made."""
        ...

    async def preview(self, change: Change, plan: Plan) -> Preview:
        """What the change would do; asks the backend (a dry run) where it can be asked.

        Raises `ToolError` with the backend's own words where it would refuse the change.
        """
        ...


class Table(BaseModel):
    """A list as the API server tables it: few bytes, made for reading.

    `rows` hold the cells by their column's name in lower case with underscores (`up_to_date`),
    and `namespace`, `name`. `next` continues the list; `remaining` is how many are left.
    """

    rows: list[dict[str, Any]]
    next: str = ""
    remaining: int | None = None


class Cluster(Looks, Protocol):
    """One cluster, seen with one caller's rights."""

    name: str

    def ref(self, kind: str, name: str, namespace: str = "") -> Ref:
        """A reference into this cluster; `kind` as `apps/v1/Deployment`."""
        ...

    async def get(self, ref: Ref) -> dict[str, Any]:
        """The whole object. Raises `ToolError(NOT_FOUND)`."""
        ...

    async def find(self, ref: Ref) -> dict[str, Any] | None:
        """The whole object, or None where there is none."""
        ...

    async def there(self, ref: Ref) -> bool:
        """Is it there? A yes is believed for a minute: for what outlives what is asked about it."""
        ...

    async def list(
        self,
        kind: str,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 500,
        next: str = "",
        parts: Literal["metadata", "whole"] = "metadata",
        cached: bool = False,
    ) -> tuple[Sequence[dict[str, Any]], str]:
        """Objects of a kind (one namespace, or all) and what continues the list.

        `cached` takes them from the API server's cache: all of them, maybe a moment old. Otherwise
        it first makes sure that nothing newer is stored, which takes up to 0.1 s for a quiet kind.
        """
        ...

    async def table(
        self,
        kind: str,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 500,
        next: str = "",
        metadata: bool = False,
        cached: bool = False,
    ) -> Table:
        """The server's own table of a kind; with `metadata`, each row has the object's too.
        `cached` as for `list`."""
        ...

    async def kind(self, word: str) -> str:
        """The full kind for what a person would write (`deploy`, `Ingress`, `batch/v1/Job`)."""
        ...

    async def namespaced(self, kind: str) -> bool:
        """Are objects of this kind in namespaces, or of the whole cluster?"""
        ...

    async def logs(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        tail: int | None = None,
        since_s: int | None = None,
        previous: bool = False,
        timestamps: bool = False,
        limit_bytes: int = 1 << 20,
    ) -> str: ...

    def follow(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        tail: int | None = None,
        since_s: int | None = None,
    ) -> AsyncIterator[str]:
        """The log's lines as they come, until the container ends."""
        ...

    def watch(
        self,
        kind: str,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        timeout_s: float = 60,
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """What is there (`ADDED`), then each event, until the time is up."""
        ...

    async def probe(self, kind: str, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        """Dry-run the creation of an object; what would be stored. Raises as `preview` does."""
        ...

    async def allowed(self, verb: str, kind: str, namespace: str = "", name: str = "") -> bool:
        """May this caller do that here (a SelfSubjectAccessReview)?"""
        ...


class Aws(Looks, Protocol):
    """One AWS account and region. `boundary` is the ARN of the policy that bounds every role."""

    at: str
    bucket: str
    boundary: str

    async def connected(self) -> Self:
        """This, once it is known which account the credentials are for; ask before all the rest.
        Raises `ToolError`."""
        ...

    def ref(self, kind: str, name: str) -> Ref: ...

    def arn(self, ref: Ref) -> str:
        """The ARN of a tenant's role or prefix."""
        ...

    async def instances(self, service: Literal["ec2", "rds"]) -> list[dict[str, Any]]:
        """Every instance: `id`, `service`, `name`, `state`, `type`, `zone`, `launched`, and the
        tags `tenant` and `tenant_uid` (empty where there are none)."""
        ...

    async def instance(self, service: Literal["ec2", "rds"], id: str) -> dict[str, Any]:
        """One instance, with `protected` and `loses`: what is lost with a stop or its deletion."""
        ...

    async def prefix_usage(self, prefix: Ref, most: int = 10_000) -> tuple[int, int]:
        """Objects and bytes under a prefix (counted up to `most`)."""
        ...

    def trust(self, tenant: str, cluster: str) -> dict[str, Any]:
        """The trust policy of a tenant's role: IRSA (each cluster has an issuer of its own) or Pod
        Identity, as configured."""
        ...
