"""The HTTP side: who asks, whether they may, what to do, and in what shape to answer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from . import kinds as discovery
from . import lists, tables, watches
from .api import Api, Ask, DeleteOptions
from .errors import ApiError, bad_request, no_such_path
from .evictions import evict
from .faults import Faults
from .identity import User, authenticate, impersonated
from .kinds import Kind
from .kubelet import Kubelet
from .logs import Reading
from .metrics import Metrics
from .practice import Practice
from .rbac import Attributes, denial
from .requests import Target, is_resource, target
from .reviews import review
from .scales import scale_of, set_scale
from .store import Record, encode

Object = dict[str, Any]
log = logging.getLogger(__name__)
APPLY = "application/apply-patch+yaml"
REVIEWED = ("authentication.k8s.io", "authorization.k8s.io")
HEALTH = ("/readyz", "/livez", "/healthz")
VERSION = {
    "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
    "minCompatibilityMajor": "1", "minCompatibilityMinor": "35", "gitVersion": "v1.36.2",
    "gitCommit": "", "gitTreeState": "clean", "buildDate": "", "goVersion": "go1.26.6",
    "compiler": "gc", "platform": "linux/amd64",
}  # fmt: skip
UNPRINTABLE = {"Content-Type": "application/json"}


class Door:
    """The practice cluster as an ASGI application."""

    def __init__(
        self,
        api: Api,
        users: Mapping[str, User],
        kubelet: Kubelet,
        faults: Faults,
        drop: Callable[[Scope], None],
    ) -> None:
        self._api = api
        self._users = users
        self._kubelet = kubelet
        self._faults = faults
        self._drop = drop
        self._metrics = Metrics(api)
        self._practice = Practice(api, faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, unless it is to go wrong."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        fault = None
        if not Practice.serves(request.url.path):
            query = f"?{request.url.query}" if request.url.query else ""
            fault = self._faults.take(request.method, request.url.path + query)
        if fault and fault.do == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        if fault and fault.do == "delay":
            await asyncio.sleep(fault.seconds)
        if fault and fault.do == "drop":
            self._drop(scope)
            return
        try:
            if fault and fault.do == "answer":
                raise fault.refusal()
            response = await self._answer(request)
        except Exception as wrong:
            refused = wrong if isinstance(wrong, ApiError) else _unexpected(request, wrong)
            response = Response(
                encode(refused.status()), refused.code, {**refused.headers, **UNPRINTABLE}
            )
        if fault and fault.do == "lose":
            self._drop(scope)
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        user = authenticate(request.headers, self._users)
        path = request.url.path
        if is_resource(path):
            wanted = target(self._api.kinds, request.method, path, request.query_params)
            user = self._allowed(request, user, wanted.attributes, wanted.kind)
            return await self._resource(request, user, wanted)
        verb = request.method.lower()
        user = self._allowed(request, user, Attributes(verb, path=path), None)
        if Practice.serves(path):
            return await self._practice.answer(request)
        return self._elsewhere(path)

    def _allowed(self, request: Request, user: User, wanted: Attributes, kind: Kind | None) -> User:
        if other := impersonated(request.headers):
            self._api.authorizer.check_impersonation(user, other, wanted, kind)
            user = other
        if not self._api.authorizer.allowed(user, wanted):
            raise denial(user, wanted, kind)
        return user

    def _elsewhere(self, path: str) -> Response:
        kinds = self._api.kinds
        if path.startswith(HEALTH):
            return PlainTextResponse("ok")
        if path == "/version":
            return _json(VERSION)
        parts = path.strip("/").split("/")
        if parts == ["api"]:
            address = {"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}
            return _json(
                {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]}
            )
        if parts == ["apis"]:
            return _json(discovery.group_list(kinds))
        versions = [k.version for k in kinds if k.group == parts[1]] if len(parts) > 1 else []
        if parts[0] == "apis" and len(parts) == 2 and versions:
            entry = discovery.group_entry(parts[1], list(dict.fromkeys(versions)))
            return _json({"kind": "APIGroup", "apiVersion": "v1"} | entry)
        group, version = (
            ("", parts[-1])
            if parts[0] == "api"
            else (parts[1] if len(parts) > 1 else "", parts[-1])
        )
        found = discovery.resource_list(kinds, group, version)
        if parts[0] not in ("api", "apis") or not found["resources"]:
            raise no_such_path()
        return _json(found)

    async def _resource(self, request: Request, user: User, wanted: Target) -> Response:
        if wanted.subresource == "log":
            return self._log(request, wanted)
        if wanted.verb in ("get", "list", "watch"):
            return self._read(request, wanted)
        ask = _ask(request, user)
        body = await _body(request)
        response = self._write(request, wanted, body, ask)
        for warning in dict.fromkeys(ask.warnings):
            text = warning.replace("\\", "\\\\").replace('"', '\\"')
            response.raw_headers.append((b"warning", f'299 - "{text}"'.encode()))
        return response

    # Reading

    def _read(self, request: Request, wanted: Target) -> Response:
        kind, query = wanted.kind, dict(request.query_params)
        accept = request.headers.get("accept", "")
        if wanted.subresource == "scale":
            record = self._api.get(kind, wanted.namespace, wanted.name)
            return _json(scale_of(record))
        if kind.group == "metrics.k8s.io":
            records = self._metrics.records(kind, wanted.namespace, wanted.name)
        else:
            records = None
        namespace = wanted.namespace if kind.namespaced else ""
        if wanted.verb == "get":
            record = records[0] if records else self._api.get(kind, namespace, wanted.name)
            return self._one(record, accept, query)
        if wanted.name:
            # A watch of one object is one of its kind, by its name.
            query |= {"fieldSelector": f"metadata.name={wanted.name}"}
        test = lists.test(kind, query)
        if wanted.verb == "watch":
            return StreamingResponse(
                self._watched(kind, namespace, test, accept, query), media_type="application/json"
            )
        if records is None:
            records = self._api.store.records(kind, namespace)
        return Response(
            lists.answer(kind, records, test, query, accept, self._api.store, self._api.clock),
            media_type="application/json",
        )

    def _one(
        self, record: Record, accept: str, query: Mapping[str, str], status: int = 200
    ) -> Response:
        if tables.TABLE in accept:
            meta = {"resourceVersion": record.object["metadata"].get("resourceVersion", "")}
            include = query.get("includeObject", "Metadata")
            now = self._api.clock.now()
            shown = tables.table(record.kind, [record.object], include, now, meta)
            return _json(shown, status)
        if tables.PARTIAL in accept:
            return _json(tables.partial(record.object), status)
        return Response(record.whole, status, media_type="application/json")

    async def _watched(
        self,
        kind: Kind,
        namespace: str,
        test: Callable[[Object], bool],
        accept: str,
        query: Mapping[str, str],
    ) -> AsyncIterator[bytes]:
        revision = int(query.get("resourceVersion") or 0)
        wanted = watches.Wanted(
            kind,
            namespace,
            test,
            lists.shower(accept, query, self._api.clock),
            revision=revision or None,
            seconds=float(query.get("timeoutSeconds") or 1800),
            bookmarks=query.get("allowWatchBookmarks") in ("1", "true"),
            initial=query.get("sendInitialEvents") in ("1", "true"),
        )
        async for piece in watches.stream(self._api.store, self._api.clock, wanted):
            yield piece

    def _log(self, request: Request, wanted: Target) -> Response:
        pod = self._api.get(wanted.kind, wanted.namespace, wanted.name).object
        query = request.query_params
        previous = query.get("previous") in ("true", "1")
        log = self._kubelet.log(pod, query.get("container", ""), previous)
        clock = self._api.clock
        reading = Reading(query, clock.now())
        if log is None:
            return Response(b"", media_type="text/plain")
        if not reading.follow:
            return Response(reading.all(log), headers={"Content-Type": "text/plain"})

        def look_again(seconds: float) -> None:
            clock.call_later(seconds, log.wake)

        return StreamingResponse(
            reading.followed(log, look_again), headers={"Content-Type": "text/plain"}
        )

    # Writing

    def _write(self, request: Request, wanted: Target, body: Any, ask: Ask) -> Response:
        kind, api, query = wanted.kind, self._api, request.query_params
        namespace, name = wanted.namespace if kind.namespaced else "", wanted.name
        accept = request.headers.get("accept", "")
        sort = request.headers.get("content-type", "").partition(";")[0].strip()
        if wanted.subresource == "eviction":
            options = _options({}, (body or {}).get("deleteOptions"))
            return _json(evict(api, namespace, name, options, ask), 201)
        if wanted.subresource == "scale":
            how = "put" if wanted.verb == "update" else sort
            how = "application/merge-patch+json" if how == APPLY else how
            return _json(set_scale(api, kind, namespace, name, how, body, ask))
        match wanted.verb:
            case "create" if kind.group in REVIEWED:
                return _json(review(api, kind, body, ask), 201)
            case "create":
                return self._one(api.create(kind, namespace, body, ask), accept, query, 201)
            case "update":
                part = wanted.subresource
                record = api.update(kind, namespace, name, body, ask, part)
            case "patch" if sort == APPLY:
                ask.manager = query.get("fieldManager", "")
                part = wanted.subresource
                record, new = api.apply(kind, namespace, name, body, ask, part)
                return self._one(record, accept, query, 201 if new else 200)
            case "patch":
                part = wanted.subresource
                record = api.patch(kind, namespace, name, sort, body, ask, part)
            case "delete":
                return _json(api.delete(kind, namespace, name, _options(query, body), ask))
            case _:
                return self._delete_all(kind, namespace, body, query, ask)
        return self._one(record, accept, query)

    def _delete_all(
        self, kind: Kind, namespace: str, body: Any, query: Mapping[str, str], ask: Ask
    ) -> Response:
        test = lists.test(kind, query)
        chosen = [r for r in self._api.store.records(kind, namespace) if test(r.object)]
        options = _options(query, body)
        for record in chosen:
            self._api.delete(kind, *record.key, options, ask)
        items = [record.object for record in chosen]
        return _json(
            {
                "kind": kind.list_kind or f"{kind.kind}List",
                "apiVersion": kind.api_version,
                "metadata": {"resourceVersion": str(self._api.store.revision)},
                "items": items,
            }
        )


class _Yaml(yaml.SafeLoader):
    """As the API reads YAML: a time is a text."""

    yaml_implicit_resolvers = {
        first: [(tag, test) for tag, test in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _unexpected(request: Request, wrong: Exception) -> ApiError:
    log.error("%s %s", request.method, request.url.path, exc_info=wrong)
    return ApiError(500, "InternalError", f"Internal error occurred: {wrong!r}")


def _json(body: Object, status: int = 200) -> Response:
    return Response(encode(body), status, media_type="application/json")


def _ask(request: Request, user: User) -> Ask:
    query = request.query_params
    agent = request.headers.get("user-agent", "unknown").partition("/")[0]
    dry_run = query.getlist("dryRun")
    if dry_run and dry_run != ["All"]:
        raise bad_request("dryRun: the only supported value is All")
    return Ask(
        user,
        query.get("fieldManager") or agent[:128],
        bool(dry_run),
        query.get("force") in ("true", "1"),
        query.get("fieldValidation") or "Warn",
    )


def _options(query: Mapping[str, str], body: Any) -> DeleteOptions:
    body = body if isinstance(body, dict) else {}
    conditions = body.get("preconditions") or {}
    policy = body.get("propagationPolicy") or query.get("propagationPolicy")
    if body.get("orphanDependents") is not None and policy is None:
        policy = "Orphan" if body["orphanDependents"] else "Background"
    if policy not in (None, "Orphan", "Foreground", "Background"):
        raise bad_request(f"invalid propagationPolicy: {policy}")
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    return DeleteOptions(
        policy,
        None if grace is None else int(grace),
        conditions.get("uid"),
        conditions.get("resourceVersion"),
    )


async def _body(request: Request) -> Any:
    raw = await request.body()
    if not raw:
        return None if request.method == "DELETE" else {}
    try:
        return json.loads(raw)
    except ValueError:
        pass
    try:
        found = yaml.load(raw, _Yaml)  # noqa: S506 - a safe loader that is stricter still
        # Keys are texts in JSON, whatever YAML takes them for.
        return json.loads(json.dumps(found))
    except yaml.YAMLError as wrong:
        raise bad_request(f"error decoding the body: {wrong}") from None
