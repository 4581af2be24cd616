"""Requests to one cluster as plain paths and dictionaries: typed models are slow."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tools.backends.kubernetes.connection import Connection
from tools.backends.kubernetes.kinds import Kinds
from tools.backends.kubernetes.refusals import DOCTOR, refusal
from tools.errors import Code, ToolError
from tools.plan import Ref

TIMEOUT_S = 30.0
# A read is tried this often; the waits between double from the first, with jitter.
TRIES = 4
FIRST_WAIT_S = 0.1
# Who asks us to wait longer is not waited for: the caller is told instead.
LONGEST_WAIT_S = 5.0
# A line of a log is cut into pieces of this many bytes, a watch's event may be far longer.
LINE = 64 << 10
EVENT = 16 << 20


@dataclass(frozen=True)
class Identity:
    """Whose rights a request has: a tenant's ServiceAccount; and for whom, for the audit log."""

    service_account: str
    namespace: str
    person: str = ""
    subject: str = ""

    def headers(self) -> dict[str, str]:
        # The API server adds a ServiceAccount's own groups by itself when none are asked for.
        headers = {
            "Impersonate-User": f"system:serviceaccount:{self.namespace}:{self.service_account}"
        }
        extras = {"person": self.person, "subject": self.subject}
        for key, value in extras.items():
            if value:
                headers[f"Impersonate-Extra-pilothouse.dev%2f{key}"] = _printable(value)
        return headers


@dataclass(frozen=True)
class Reply:
    """An answer: its body as JSON (or as text, where it was none), and the server's warnings."""

    status: int
    body: Any
    warnings: tuple[str, ...] = ()


class Api:
    """One cluster, asked with our own rights, or with those of an `Identity` (see `as_`)."""

    def __init__(self, name: str, kubeconfig: str = "", context: str = "") -> None:
        self.name = name
        self.identity: Identity | None = None
        self.connection = Connection(name, kubeconfig, context)
        # Which kinds there are is the same for all who ask; and what is there, and until when that
        # is believed.
        self.kinds = Kinds(self)
        self.there: dict[Ref, float] = {}

    def as_(self, identity: Identity | None) -> "Api":
        """The same connections with the rights of somebody else."""
        other = copy(self)
        other.identity = identity
        return other

    async def close(self) -> None:
        await self.connection.close()

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Reply:
        """Ask, and return what was answered. Raises `ToolError`.

        What changes nothing is tried again when the server is busy or the connection broke. What
        may change something is sent once: a lost answer raises with `lost=True`.
        """
        query = _said(query)
        safe = method == "GET" or query.get("dryRun") == "All" or path.endswith("accessreviews")
        sending = {"Content-Type": content_type, "Accept": accept, **(headers or {})}
        for attempt in range(1, TRIES + 1):
            try:
                return await self._once(method, path, query, body, sending, timeout_s, safe)
            except ToolError as error:
                if error.code is Code.UNAUTHENTICATED and attempt == 1:
                    if await self.connection.reload():
                        continue
                    raise
                wait = error.retry_after or FIRST_WAIT_S * 2 ** (attempt - 1)
                again = safe and _worth_another_try(error) and wait <= LONGEST_WAIT_S
                if not again or attempt == TRIES:
                    raise
                await asyncio.sleep(wait + random.uniform(0, wait / 4))  # noqa: S311
        raise AssertionError("the last try returns or raises")

    async def get(self, path: str, query: Mapping[str, Any] | None = None, **how: Any) -> Any:
        return (await self.request("GET", path, query, **how)).body

    async def lines(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        timeout_s: float,
        longest: int = LINE,
    ) -> AsyncIterator[bytes]:
        """The lines of an answer as they come, until the server ends it or the time is up."""
        headers = {"Accept": "application/json, */*"}
        try:
            response = await self._open("GET", path, _said(query), None, headers, timeout_s)
        except (TimeoutError, OSError, _client_error()) as error:
            raise self._broken(error, timeout_s, safe=True) from error
        async with response:
            if response.status >= 400:
                raise self._refusal(response, await response.read(), safe=True)
            kept = b""
            async for piece in self._pieces(response, timeout_s):
                *whole, kept = (kept + piece).split(b"\n")
                for line in whole:
                    yield line
                while len(kept) > longest:
                    yield kept[:longest]
                    kept = kept[longest:]
            if kept:
                yield kept

    async def _pieces(self, response: Any, timeout_s: float) -> AsyncIterator[bytes]:
        while True:
            try:
                piece = await response.content.readany()
            except TimeoutError:
                return
            except (OSError, _client_error()) as error:
                raise self._broken(error, timeout_s, safe=True) from error
            if not piece:
                return
            yield piece

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        headers: Mapping[str, str],
        timeout_s: float,
        safe: bool,
    ) -> Reply:
        try:
            response = await self._open(method, path, query, body, headers, timeout_s)
            async with response:
                content = await response.read()
        except (TimeoutError, OSError, _client_error()) as error:
            raise self._broken(error, timeout_s, safe) from error
        if response.status >= 400:
            raise self._refusal(response, content, safe)
        warnings = tuple(_warning(w) for w in response.headers.getall("Warning", ()))
        answer = _parsed(content, response.content_type)
        if "json" in headers["Accept"] and not isinstance(answer, dict):
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"What answers at {self.connection.url} is no Kubernetes API.",
                f"Check the server and the proxy of cluster {self.name}'s kubeconfig.",
                lost=not safe,
            )
        return Reply(response.status, answer, warnings)

    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Any:
        target = f"{path}?{urlencode(query)}" if query else path
        whose = self.identity.headers() if self.identity else {}
        sent = {"User-Agent": "pilothouse", **headers, **whose}
        return await self.connection.send(
            method, target, headers=sent, body=body, timeout_s=timeout_s
        )

    def _refusal(self, response: Any, content: bytes, safe: bool) -> ToolError:
        body = _parsed(content, response.content_type)
        return refusal(self.name, response.status, body, response.headers, carried=not safe)

    def _broken(self, error: BaseException, timeout_s: float, safe: bool) -> ToolError:
        import aiohttp

        where = f"cluster {self.name} at {self.connection.url}"
        unsent = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
        if isinstance(error, (*unsent, aiohttp.InvalidURL)):
            return ToolError(Code.UNAVAILABLE, f"Cannot reach {where}: {error}", DOCTOR)
        if isinstance(error, TimeoutError):
            return ToolError(
                Code.DEADLINE_EXCEEDED,
                f"No answer within {timeout_s:g} s from {where}.",
                "Wait, and repeat." if safe else "Look whether it was done before you repeat it.",
                lost=not safe,
            )
        return ToolError(
            Code.UNAVAILABLE,
            f"The connection broke to {where}: {error or type(error).__name__}",
            "Wait, and repeat." if safe else "Look whether it was done before you repeat it.",
            lost=not safe,
        )


def _worth_another_try(error: ToolError) -> bool:
    """Busy, or a connection that broke; not one that could not be made, nor a silent server."""
    if error.code is Code.RESOURCE_EXHAUSTED:
        return error.retry_after is not None
    return error.code is Code.UNAVAILABLE and not error.message.startswith("Cannot reach")


def _client_error() -> type[Exception]:
    import aiohttp

    return aiohttp.ClientError


def _said(query: Mapping[str, Any] | None) -> dict[str, str]:
    """A query without what was not said, in the API's spelling."""
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in (query or {}).items()
        if value is not None and value != "" and value is not False
    }


def _parsed(content: bytes, content_type: str) -> Any:
    if content_type.endswith("json"):
        try:
            return json.loads(content)
        except ValueError:
            pass
    return content.decode("utf-8", "replace")


def _warning(header: str) -> str:
    """The text of a Warning header (`299 - "text"`)."""
    _, _, text = header.partition('"')
    return (text.rpartition('"')[0] or header).replace('\\"', '"')


def _printable(value: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in value)[:256]
