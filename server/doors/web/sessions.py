"""Signing in: a cookie that stands for a token, and the secret that every form carries.

The cookie names a token's SHA-256 and is sealed, so that it lets in whom the token lets in, and
for no longer: revoking the token ends every session that was begun with it, and signing out ends
one, copies of its cookie and all.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.requests import HTTPConnection
from starlette.responses import Response

from tools.calls import Caller
from tools.errors import Code, ToolError

COOKIE = "pilothouse"
VISIT = "pilothouse_visit"  # what a form is bound to before anybody has signed in
LASTS_S = 12 * 3600
CSRF_HEADER = "x-pilothouse-csrf"


class Over(Protocol):
    """Sessions that are over, by their id; `until` is in seconds since 1970."""

    async def add(self, id: str, until: float) -> None: ...

    async def has(self, id: str) -> bool: ...


class Sessions:
    """`key` seals; `find` gives the caller of a token's SHA-256, or None; `over` keeps those that
    were ended, and `end_token` makes worthless a token that was made by signing in."""

    def __init__(
        self,
        key: Callable[[], Awaitable[bytes]],
        find: Callable[[str], Awaitable[Caller | None]],
        over: Over,
        end_token: Callable[[str], Awaitable[None]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._find_key = key
        self._find = find
        self._over = over
        self._end_token = end_token
        self._now = now
        self._key = b""

    async def begin(self, answer: Response, request: HTTPConnection, token: str) -> None:
        until, id = int(self._now()) + LASTS_S, secrets.token_hex(8)
        said = f"{hashlib.sha256(token.encode()).hexdigest()}.{until}.{id}"
        value = f"{said}.{await self._seal('session', said)}"
        _set(answer, request, COOKIE, value, LASTS_S)
        answer.delete_cookie(VISIT, path="/")

    async def end(self, answer: Response, request: HTTPConnection) -> None:
        if said := await self._said(request):
            sha256, until, id = said
            await self._over.add(id, until)
            await self._end_token(sha256)
        answer.delete_cookie(COOKIE, path="/")

    async def caller(self, request: HTTPConnection) -> Caller | None:
        """Who signed in, with the rights of now."""
        said = await self._said(request)
        if said is None:
            return None
        sha256, until, id = said
        if self._now() >= until or await self._over.has(id):
            return None
        return await self._find(sha256)

    async def _said(self, request: HTTPConnection) -> tuple[str, int, str] | None:
        """Of a cookie of ours: the token's SHA-256, until when it lasts, and its id."""
        said, _, seal = request.cookies.get(COOKIE, "").rpartition(".")
        if not hmac.compare_digest(seal.encode(), (await self._seal("session", said)).encode()):
            return None
        parts = said.split(".")
        return (parts[0], int(parts[1]), parts[2]) if len(parts) == 3 else None

    async def caller_of_api(self, request: HTTPConnection) -> Caller | None:
        """The same for a request that a script made: to change anything it must carry the secret,
        which a page of another site cannot know."""
        if request.scope.get("method", "GET") not in ("GET", "HEAD"):
            sent = request.headers.get(CSRF_HEADER, "")
            if not hmac.compare_digest(sent.encode(), (await self.secret(request)).encode()):
                return None
        return await self.caller(request)

    def visit(self, answer: Response, request: HTTPConnection) -> None:
        """Bind the forms of who has not signed in to this browser."""
        if visit := request.scope.get("pilothouse.visit"):
            _set(answer, request, VISIT, visit, LASTS_S)

    async def secret(self, request: HTTPConnection) -> str:
        """What the forms of this browser carry."""
        bound = request.cookies.get(COOKIE) or request.cookies.get(VISIT)
        if not bound:
            bound = request.scope.setdefault("pilothouse.visit", secrets.token_urlsafe(16))
        return await self._seal("form", bound)

    async def check(self, request: HTTPConnection, sent: str) -> None:
        """Raises `ToolError` for a form that is not of this browser and this page."""
        origin = request.headers.get("origin")
        own = {f"{scheme}://{request.headers.get('host', '')}" for scheme in ("http", "https")}
        same = hmac.compare_digest(sent.encode(), (await self.secret(request)).encode())
        if not same or (origin is not None and origin not in own):
            raise ToolError(
                Code.PERMISSION_DENIED,
                "This form was not made for you here and now.",
                "Load the page again, and send it from there.",
            )

    async def _seal(self, what: str, said: str) -> str:
        self._key = self._key or hashlib.sha256(b"web" + await self._find_key()).digest()
        return hmac.new(self._key, f"{what}:{said}".encode(), "sha256").hexdigest()


def _set(answer: Response, request: HTTPConnection, name: str, value: str, age: int) -> None:
    proxied = request.headers.get("x-forwarded-proto", "")
    secure = "https" in (request.url.scheme, proxied)
    answer.set_cookie(
        name, value, max_age=age, path="/", httponly=True, samesite="strict", secure=secure
    )
