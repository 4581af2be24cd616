"""A cluster as the tools see it: ways to look, with one caller's rights."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from tools.backends.kubernetes import observing, previewing, watching
from tools.backends.kubernetes.api import Api, Identity
from tools.backends.kubernetes.fields import MANAGER
from tools.errors import Code, ToolError
from tools.looking import Table
from tools.plan import Change, Json, Plan, Preview, Ref, Seen

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
# A log may be followed for so long; the caller can follow it again.
FOLLOW_S = 3600.0
BELIEVED_S = 60.0


class KubeCluster:
    """One cluster through one `Api`, with our own rights or those of an `Identity`."""

    def __init__(self, api: Api, identity: Identity | None = None) -> None:
        self.api = api.as_(identity) if identity else api
        self.name = api.name

    def ref(self, kind: str, name: str, namespace: str = "") -> Ref:
        return Ref(at=self.name, kind=kind, name=name, namespace=namespace)

    async def kind(self, word: str) -> str:
        return (await self.api.kinds.find(word)).name

    async def namespaced(self, kind: str) -> bool:
        return (await self.api.kinds.find(kind)).namespaced

    async def get(self, ref: Ref) -> dict[str, Any]:
        found: dict[str, Any] = await self.api.get(await self.api.kinds.path(ref))
        return found

    async def find(self, ref: Ref) -> dict[str, Any] | None:
        try:
            return await self.get(ref)
        except ToolError as error:
            if error.code is Code.NOT_FOUND:
                return None
            raise

    async def there(self, ref: Ref) -> bool:
        if time.monotonic() < self.api.there.get(ref, 0):
            return True
        found = await self.find(ref) is not None
        if found:
            self.api.there[ref] = time.monotonic() + BELIEVED_S
        return found

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
        known = await self.api.kinds.find(kind)
        answer = await self.api.get(
            known.path(namespace),
            _query(labels, fields, limit, next, cached),
            accept=METADATA if parts == "metadata" else "application/json",
        )
        named = {"apiVersion": known.api_version, "kind": known.word}
        items = [item | named for item in answer.get("items") or ()]
        return items, (answer.get("metadata") or {}).get("continue") or ""

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
        known = await self.api.kinds.find(kind)
        # Without its metadata, a row does not say which namespace it is in.
        bare = not metadata and (bool(namespace) or not known.namespaced)
        answer = await self.api.get(
            known.path(namespace),
            _query(labels, fields, limit, next, cached)
            | {"includeObject": "None" if bare else "Metadata"},
            accept=TABLE,
        )
        rows = _rows(answer) if answer.get("kind") == "Table" else _plain_rows(answer)
        for row in rows:
            row.setdefault("namespace", namespace)
            if not metadata:
                row.pop("metadata", None)
        about = answer.get("metadata") or {}
        return Table(
            rows=rows,
            next=about.get("continue") or "",
            remaining=about.get("remainingItemCount"),
        )

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
    ) -> str:
        path, query = await self._log(namespace, pod, container, tail, since_s)
        query |= {"previous": previous, "timestamps": timestamps, "limitBytes": limit_bytes}
        try:
            return str(await self.api.get(path, query, accept="*/*"))
        except ToolError as error:
            raise _not_yet(error) from error

    async def follow(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        tail: int | None = None,
        since_s: int | None = None,
    ) -> AsyncIterator[str]:
        path, query = await self._log(namespace, pod, container, tail, since_s)
        try:
            async for line in self.api.lines(path, query | {"follow": True}, timeout_s=FOLLOW_S):
                yield line.decode("utf-8", "replace")
        except ToolError as error:
            raise _not_yet(error) from error

    async def watch(
        self,
        kind: str,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        timeout_s: float = 60,
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        known = await self.api.kinds.find(kind)
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        async for event in watching.watch(self.api, known, namespace, selectors, timeout_s):
            yield event

    async def probe(self, kind: str, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        known = await self.api.kinds.find(kind)
        reply = await self.api.request(
            "POST",
            known.path(namespace),
            {"dryRun": "All", "fieldManager": MANAGER},
            {"apiVersion": known.api_version, "kind": known.word} | body,
        )
        stored: dict[str, Any] = reply.body
        return stored

    async def allowed(self, verb: str, kind: str, namespace: str = "", name: str = "") -> bool:
        known = await self.api.kinds.find(kind)
        asked = {"verb": verb, "group": known.group, "resource": known.plural}
        asked |= {k: v for k, v in {"namespace": namespace, "name": name}.items() if v}
        reply = await self.api.request(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": asked},
            },
        )
        return bool((reply.body.get("status") or {}).get("allowed"))

    async def observe(self, change: Change) -> Seen:
        return await observing.observe(self, change)

    def intended(self, change: Change) -> Json:
        return observing.intended(change)

    async def preview(self, change: Change, plan: Plan) -> Preview:
        return await previewing.preview(self, change, plan)

    async def _log(
        self, namespace: str, pod: str, container: str, tail: int | None, since_s: int | None
    ) -> tuple[str, dict[str, Any]]:
        path = await self.api.kinds.path(self.ref("v1/Pod", pod, namespace), "log")
        return path, {"container": container, "tailLines": tail, "sinceSeconds": since_s}


def _query(labels: str, fields: str, limit: int, next: str, cached: bool) -> dict[str, Any]:
    query = {"labelSelector": labels, "fieldSelector": fields, "limit": limit, "continue": next}
    return query | {"resourceVersion": "0"} if cached and not next else query


def _rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    names = [
        column["name"].lower().replace(" ", "_").replace("-", "_")
        for column in table.get("columnDefinitions") or ()
    ]
    rows = []
    for row in table.get("rows") or ():
        cells = dict(zip(names, row["cells"], strict=False))
        if about := (row.get("object") or {}).get("metadata"):
            about.pop("managedFields", None)
            cells |= {"name": about.get("name", ""), "metadata": about}
            if "namespace" in about:
                cells["namespace"] = about["namespace"]
        rows.append(cells)
    return rows


def _plain_rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """For a server that makes no tables of a kind: the little that every object says."""
    rows = []
    for item in answer.get("items") or ():
        about = item.get("metadata") or {}
        about.pop("managedFields", None)
        row = {"name": about.get("name", ""), "created": about.get("creationTimestamp", "")}
        if about.get("namespace"):
            row["namespace"] = about["namespace"]
        rows.append(row | {"metadata": about})
    return rows


def _not_yet(error: ToolError) -> ToolError:
    """The API answers 400 for a log that is not there yet: no fault of the arguments."""
    waits = "waiting to start" in error.message or "previous terminated" in error.message
    if error.code is Code.INVALID_ARGUMENT and waits:
        return ToolError(
            Code.FAILED_PRECONDITION, error.message, "Look at the pod's events for why; ask later."
        )
    return error
