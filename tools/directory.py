"""Where each tenant is, as the clusters' namespaces say it, remembered for a few seconds."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence

from tools.errors import ToolError
from tools.holdings import TenantRef
from tools.looking import Cluster
from tools.objects import MANAGED_BY, OURS
from tools.provisioning import NAMESPACE, is_tenant, tenant_ref

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
MOST = 10_000
PAGE = 500
# Who asks for a tenant that is being made should find it soon.
MISSING_S = 1.0


class TenantDirectory:
    """The tenants of all clusters. `clock` gives seconds that only grow."""

    def __init__(
        self, clusters: Mapping[str, Cluster], clock: Callable[[], float], ttl_s: float = 5
    ) -> None:
        self._clusters = clusters
        self._clock = clock
        self._ttl_s = ttl_s
        self._known: dict[str, tuple[float, TenantRef | None]] = {}
        self._asking: dict[str, asyncio.Task[TenantRef | None]] = {}
        self._all: tuple[float, Sequence[TenantRef]] | None = None

    async def find(self, name: str) -> TenantRef | None:
        """Raises `ToolError` where a cluster that might have it does not answer."""
        if not NAME.fullmatch(name):
            return None
        if known := self._known.get(name):
            until, ref = known
            if self._clock() < until:
                return ref
        if name not in self._asking:
            # All who ask at the same time get one answer, also when the first of them hangs up.
            self._asking[name] = asyncio.create_task(self._look(name))
            self._asking[name].add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(self._asking[name])

    async def all(self) -> Sequence[TenantRef]:
        if self._all is None or self._clock() >= self._all[0]:
            pages = await asyncio.gather(*(self._list(c) for c in self._clusters.values()))
            refs = [ref for page in pages for ref in page]
            self._all = (self._clock() + self._ttl_s, refs)
        return self._all[1]

    def forget(self, name: str) -> None:
        """Look again: it was made, changed or deleted."""
        self._known.pop(name, None)
        self._asking.pop(name, None)
        self._all = None

    async def _look(self, name: str) -> TenantRef | None:
        asking = asyncio.current_task()

        async def within(cluster: Cluster) -> TenantRef | ToolError | None:
            try:
                namespace = await cluster.find(cluster.ref(NAMESPACE, name))
            except ToolError as error:
                return error
            if namespace is None or not is_tenant(namespace):
                return None
            return tenant_ref(namespace, cluster.name)

        answers = await asyncio.gather(*map(within, self._clusters.values()))
        found = [a for a in answers if isinstance(a, TenantRef)]
        if not found and (errors := [a for a in answers if isinstance(a, ToolError)]):
            raise errors[0]
        # While it moves to another cluster there are two: the one that stays is meant.
        ref = min(found, key=lambda r: r.deleting, default=None)
        if self._asking.get(name) is asking:
            self._remember(name, ref)
        return ref

    def _remember(self, name: str, ref: TenantRef | None) -> None:
        self._known.pop(name, None)
        while len(self._known) >= MOST:
            self._known.pop(next(iter(self._known)))
        ttl = self._ttl_s if ref else min(self._ttl_s, MISSING_S)
        self._known[name] = (self._clock() + ttl, ref)

    async def _list(self, cluster: Cluster) -> list[TenantRef]:
        refs: list[TenantRef] = []
        token = ""
        while len(refs) < MOST:
            page, token = await cluster.list(
                NAMESPACE, labels=f"{MANAGED_BY}={OURS}", limit=PAGE, next=token
            )
            refs += [tenant_ref(n, cluster.name) for n in page if is_tenant(n)]
            if not token:
                break
        return refs
