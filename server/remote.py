"""A gate that is a client of a running server, over its Unix socket or over HTTP."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.plain import fit_key, plain
from tools.calls import Caller, Outcome, Problem, Progress, State, ToolInfo
from tools.errors import Code, ToolError

if TYPE_CHECKING:
    import ssl

    import httpx

NDJSON = "application/x-ndjson"
CONNECT_S = 5.0
# Longer than a server waits for anything that it was asked to wait for.
ANSWER_S = 720.0


class Unreached(ToolError):
    """The server was not reached, or (`lost`) did not answer to the end."""


class RemoteGate:
    """The `Gate` of another process. Who calls is said by the token; of the `Caller` only the door
    and what it restricts itself to are passed on."""

    def __init__(
        self,
        where: str | Path,
        token: str = "",
        below: str = "",
        tls: "ssl.SSLContext | bool" = True,
    ) -> None:
        """`where` is a URL, or the path of a socket; `below` is what its paths begin with; `tls`
        knows the server's certificate, and has ours."""
        self.tls = tls
        self.where = where
        self.below = below
        self.token = token
        self._client: httpx.AsyncClient | None = None

    async def tools(self, caller: Caller) -> list[ToolInfo]:
        body = await self.get("/api/v1/tools", caller)
        with _as_ours(self.where):
            return [ToolInfo.model_validate(info) for info in body["tools"]]

    async def caller(self, caller: Caller) -> Caller:
        """Who the server takes us for. Raises `ToolError`."""
        known = await self.get("/api/v1/caller", caller)
        with _as_ours(self.where):
            return Caller.model_validate(known)

    async def call(
        self,
        caller: Caller,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        key: str | None = None,
        preview: bool = False,
        wait_s: float | None = None,
        progress: Progress | None = None,
    ) -> Outcome:
        try:
            return await self.ask(
                caller, tool, arguments, key=key, preview=preview, wait_s=wait_s, progress=progress
            )
        except ToolError as error:
            return Outcome(state=State.FAILED, tool=tool, error=Problem.of(error))

    async def ask(
        self,
        caller: Caller,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        key: str | None = None,
        preview: bool = False,
        wait_s: float | None = None,
        progress: Progress | None = None,
    ) -> Outcome:
        """As `call`, but raises `ToolError` where the server was not reached (or, with `lost`, did
        not answer)."""
        sent = plain(arguments)
        params: dict[str, Any] = {"preview": "true"} if preview else {}
        if wait_s is not None:
            params["wait"] = f"{wait_s:g}"
        headers = self._headers(caller)
        if key := fit_key(key or None):
            headers["Idempotency-Key"] = key
        if progress is None:
            answer = await self._send(
                "POST", _path(tool), headers=headers, params=params, json=sent
            )
            with _as_ours(self.where):
                return _outcome(tool, answer)
        headers["Accept"] = NDJSON
        async for line in self._lines(tool, headers=headers, params=params, json=sent):
            if isinstance(line, Outcome):
                return line
            with _as_ours(self.where):
                if "outcome" in line:
                    return Outcome.model_validate(line["outcome"])
                told = line["progress"]
                said = told["message"], told["done"], told["total"]
            await progress(*said)
        raise _lost(self.where, "the answer broke off")

    async def stream(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        headers = self._headers(caller) | {"Accept": NDJSON}
        async for line in self._lines(tool, headers=headers, json=plain(arguments)):
            if isinstance(line, Outcome):
                raise _error(line.error) if line.error else _lost(self.where, "it did not stream")
            with _as_ours(self.where):
                problem = Problem.model_validate(line["error"]) if "error" in line else None
                piece = {} if problem else line["piece"]
            if problem:
                raise _error(problem)
            yield piece

    async def events(
        self, path: str, caller: Caller, body: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """What a path tells event by event (SSE). Raises `ToolError`."""
        import httpx

        headers = self._headers(caller) | {"Accept": "text/event-stream"}
        try:
            async with self._connected().stream("POST", path, headers=headers, json=body) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise _error(_problem(answer))
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        with _as_ours(self.where):
                            event = dict(json.loads(line.removeprefix("data: ")))
                        yield event
        except httpx.HTTPError as error:
            raise self._unreached(error) from error

    async def get(self, path: str, caller: Caller | None = None) -> dict[str, Any]:
        """A page of the server's as JSON. Raises `ToolError`."""
        headers = self._headers(caller) if caller else {}
        return self._page(await self._send("GET", path, headers=headers))

    async def post(self, path: str, caller: Caller | None = None) -> dict[str, Any]:
        headers = self._headers(caller) if caller else {}
        return self._page(await self._send("POST", path, headers=headers))

    def _unreached(self, error: Exception) -> ToolError:
        return _unreached(self.where, error)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _headers(self, caller: Caller) -> dict[str, str]:
        headers = {"X-Pilothouse-Door": caller.door}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if caller.read_only:
            headers["X-Pilothouse-Read-Only"] = "true"
        if caller.toolsets is not None:
            headers["X-Pilothouse-Toolsets"] = ",".join(sorted(caller.toolsets))
        return headers

    def _connected(self) -> "httpx.AsyncClient":
        if self._client is None:
            import httpx

            timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
            limits = httpx.Limits(max_connections=256, max_keepalive_connections=32)
            if isinstance(self.where, Path):
                transport = httpx.AsyncHTTPTransport(uds=str(self.where), limits=limits)
                self._client = httpx.AsyncClient(
                    base_url=f"http://localhost{self.below}", transport=transport, timeout=timeout
                )
            else:
                url = self.where.rstrip("/").removesuffix("/mcp") + self.below
                try:
                    self._client = httpx.AsyncClient(
                        base_url=url, timeout=timeout, limits=limits, verify=self.tls
                    )
                except httpx.InvalidURL as error:
                    raise _no_url(self.where) from error
        return self._client

    async def _send(self, method: str, path: str, **request: Any) -> "httpx.Response":
        import httpx

        try:
            return await self._connected().request(method, path, **request)
        except httpx.HTTPError as error:
            raise self._unreached(error) from error

    async def _lines(self, tool: str, **request: Any) -> AsyncIterator[dict[str, Any] | Outcome]:
        """Each line of an answer; the one outcome, where it did not come line by line."""
        import httpx

        try:
            async with self._connected().stream("POST", _path(tool), **request) as answer:
                if not answer.headers.get("content-type", "").startswith(NDJSON):
                    await answer.aread()
                    with _as_ours(self.where):
                        outcome = _outcome(tool, answer)
                    yield outcome
                    return
                async for line in answer.aiter_lines():
                    if line.strip():
                        with _as_ours(self.where):
                            said = dict(json.loads(line))
                        yield said
        except httpx.HTTPError as error:
            raise self._unreached(error) from error

    def _page(self, answer: "httpx.Response") -> dict[str, Any]:
        if answer.is_success:
            with _as_ours(self.where):
                return dict(answer.json())
        raise _error(_problem(answer))


def _path(tool: str) -> str:
    from urllib.parse import quote

    return f"/api/v1/tools/{quote(tool[:128], safe='', errors='replace')}"


def _outcome(tool: str, answer: "httpx.Response") -> Outcome:
    if answer.is_success:
        return Outcome.model_validate_json(answer.content)
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if isinstance(body, dict) and "outcome" in body:
        return Outcome.model_validate(body["outcome"])
    return Outcome(state=State.FAILED, tool=tool, error=_problem(answer))


def _problem(answer: "httpx.Response") -> Problem:
    try:
        body = answer.json()
        return Problem(code=body["code"], message=body["detail"], hint=body.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        return Problem(
            code=Code.UNAVAILABLE if answer.status_code >= 500 else Code.FAILED_PRECONDITION,
            message=f"{answer.url.host} answered {answer.status_code}, not as Pilothouse does.",
            hint="Check --url.",
        )


@contextmanager
def _as_ours(where: str | Path) -> Iterator[None]:
    """Reads an answer. Raises `ToolError` where it is none that Pilothouse gives."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"{where} answers, but not as Pilothouse does.",
            "Check --url, and that both are of one version.",
        ) from error


def _error(problem: Problem) -> ToolError:
    return ToolError(problem.code, problem.message, problem.hint, retry_after=problem.retry_after)


def _unreached(where: str | Path, error: Exception) -> ToolError:
    import httpx

    if isinstance(error, httpx.UnsupportedProtocol):
        return _no_url(str(where))
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
        return Unreached(
            Code.UNAVAILABLE,
            f"No server answers at {where}.",
            "Start it with `pilothouse serve`, or check --url.",
        )
    return _lost(where, str(error) or type(error).__name__)


def _lost(where: str | Path, why: str) -> Unreached:
    return Unreached(
        Code.UNAVAILABLE,
        f"The server at {where} did not answer to the end ({why}).",
        "call_list shows whether it took the call; with the same key it may be sent again.",
        lost=True,
    )


def _no_url(where: str) -> ToolError:
    return ToolError(
        Code.INVALID_ARGUMENT, f"{where!r} is no URL of a server.", "Such as http://127.0.0.1:8000."
    )
