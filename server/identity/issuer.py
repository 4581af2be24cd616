"""An OpenID Connect issuer: what it says of itself, its keys, and whether a token is its own.

Its keys are fetched when first needed, looked at again every few minutes (so that one it withdrew
is worth nothing soon), and at once for a key that is not known yet; but never more often than
every few seconds, whatever is sent. While it does not answer, the keys it had go on for a day.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from server.settings_identity import Oidc
from tools.errors import Code, ToolError

if TYPE_CHECKING:
    import httpx
    from jwt import PyJWK

log = structlog.get_logger(__name__)

RENEWED_S, KEPT_S, FLOOR_S = 300.0, 24 * 3600.0, 5.0
LEEWAY_S = 30
MOST_BYTES, MOST_TOKEN, MOST_KEYS = 1 << 20, 16_384, 100
REQUIRED = ("iss", "aud", "exp", "iat", "sub")
# Nothing symmetric: what an issuer publishes must not be enough to make a token.
ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}


class Issuer:
    def __init__(self, settings: Oidc, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds, and is what the keys age by."""
        self.settings = settings
        self._clock = clock
        self._keys: dict[str, dict[str, Any]] = {}
        self._said: dict[str, Any] = {}
        self._had_at = self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._failing = False
        self._behind: asyncio.Task[None] | None = None
        self._client: httpx.AsyncClient | None = None

    async def claims(self, token: str, audience: Sequence[str]) -> dict[str, Any]:
        """What a token of the issuer's says. Raises `ToolError` saying what is wrong with it."""
        import jwt

        if len(token) > MOST_TOKEN:
            raise _refused("it is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise _refused("it is no JSON Web Token") from None
        algorithm = header.get("alg")
        if algorithm not in {name for names in ALGORITHMS.values() for name in names}:
            raise _refused(f"it is signed with {str(algorithm)[:16]!r}, which is not taken")
        key = await self._key(str(header.get("kid", "")), str(algorithm))
        try:
            said = jwt.decode(
                token,
                key,
                algorithms=[str(algorithm)],
                audience=list(audience),
                issuer=self.settings.issuer,
                leeway=LEEWAY_S,
                options={"require": list(REQUIRED), "enforce_minimum_key_length": True},
            )
        except jwt.InvalidTokenError as error:
            raise _refused(_why(error)) from None
        return dict(said)

    async def endpoints(self) -> dict[str, Any]:
        """What the issuer says of itself. Raises `ToolError`."""
        await self._renew()
        return self._said

    async def post(self, url: str, form: dict[str, str], **options: Any) -> dict[str, Any]:
        """Send the issuer a form. Raises `ToolError`."""
        return await self._json("POST", url, data=form, **options)

    async def close(self) -> None:
        if self._behind:
            self._behind.cancel()
        if self._client:
            await self._client.aclose()

    async def _key(self, id: str, algorithm: str) -> "PyJWK":
        from jwt import PyJWK
        from jwt.exceptions import PyJWTError

        await self._renew()
        found = self._find(id, algorithm)
        if found is None:
            await self._renew(wanted=(id, algorithm))
            found = self._find(id, algorithm)
        if found is None:
            raise _refused("the issuer has no such key")
        try:
            return PyJWK(found, algorithm)
        except (PyJWTError, ValueError):
            raise _refused("the issuer's key cannot be used") from None

    def _find(self, id: str, algorithm: str) -> dict[str, Any] | None:
        fits = [key for key in self._keys.values() if _fits(key, algorithm)]
        if id:
            return next((key for key in fits if key.get("kid") == id), None)
        return fits[0] if len(fits) == 1 else None

    async def _renew(self, wanted: tuple[str, str] | None = None) -> None:
        """Fetch the keys where those we have are old, or lack the one wanted."""
        if self._settled(wanted):
            return
        if wanted is None and self._failing and self._clock() - self._had_at < KEPT_S:
            # It did not answer before: callers whose keys we have are not kept waiting for it.
            if self._behind is None or self._behind.done():
                self._behind = asyncio.create_task(self._fetched(wanted))
            return
        await self._fetched(wanted)

    async def _fetched(self, wanted: tuple[str, str] | None) -> None:
        async with self._fetching:
            if self._settled(wanted):  # somebody else has just fetched them
                return
            self._tried_at = self._clock()
            try:
                await self._fetch()
                self._failing = False
            except ToolError as error:
                self._failing = True
                log.warning("no keys from the identity provider", why=error.message)
                if self._clock() - self._had_at > KEPT_S:
                    raise

    def _settled(self, wanted: tuple[str, str] | None) -> bool:
        now = self._clock()
        have = now - self._had_at < (RENEWED_S if wanted is None else KEPT_S)
        if have and (wanted is None or self._find(*wanted)):
            return True
        if now - self._tried_at >= FLOOR_S:
            return False
        if now - self._had_at > KEPT_S:
            raise _unreached(self.settings.issuer, "it did not a moment ago", FLOOR_S)
        return True

    async def _fetch(self) -> None:
        issuer = self.settings.issuer
        said = await self._json("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if said.get("issuer") != issuer:
            raise _unreached(issuer, f"it calls itself {str(said.get('issuer'))[:200]!r}")
        listed = (await self._json("GET", str(said.get("jwks_uri", "")))).get("keys")
        keys = [key for key in listed or () if isinstance(key, dict) and key.get("use") != "enc"]
        self._keys = {str(key.get("kid", n)): key for n, key in enumerate(keys[:MOST_KEYS])}
        self._said, self._had_at = said, self._clock()

    async def _json(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        import json

        import httpx

        if self._client is None:
            import ssl

            ca_file = self.settings.ca_file
            self._client = httpx.AsyncClient(
                timeout=self.settings.timeout_s,
                follow_redirects=False,
                trust_env=False,
                verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
            )
        if urlsplit(url).scheme != "https" and not self.settings.issuer.startswith("http:"):
            raise _unreached(self.settings.issuer, "it names an address without https")
        try:
            async with (
                asyncio.timeout(self.settings.timeout_s),
                self._client.stream(method, url, **request) as answer,
            ):
                body = b""
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise _unreached(self.settings.issuer, "its answer is too long")
            said = json.loads(body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            why = str(error) or type(error).__name__
            raise _unreached(self.settings.issuer, why) from None
        except (ValueError, RecursionError):
            said = None
        if not answer.is_success:
            raise _unreached(self.settings.issuer, f"it answered {answer.status_code}")
        if not isinstance(said, dict):
            raise _unreached(self.settings.issuer, "its answer is no JSON object")
        return said


def _fits(key: dict[str, Any], algorithm: str) -> bool:
    of_kind = algorithm in ALGORITHMS.get(str(key.get("kty")), ())
    return of_kind and key.get("alg", algorithm) == algorithm


def _why(error: Exception) -> str:
    import jwt

    match error:
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.ImmatureSignatureError():
            return "it is not valid yet"
        case jwt.InvalidAudienceError():
            return "it is for another audience"
        case jwt.InvalidIssuerError():
            return "it is another issuer's"
        case jwt.MissingRequiredClaimError():
            return f"it says no {error.claim}"
        case jwt.InvalidSignatureError() | jwt.InvalidKeyError():
            return "its signature is not the issuer's"
    return "it is malformed"


def _refused(why: str) -> ToolError:
    return ToolError(
        Code.UNAUTHENTICATED,
        f"This token lets nobody in: {why}.",
        "Sign in with the identity provider again. An operator finds what is asked of its tokens "
        "in the settings below `oidc`.",
    )


def _unreached(issuer: str, why: str, retry_after: float | None = None) -> ToolError:
    return ToolError(
        Code.UNAVAILABLE,
        f"The identity provider {issuer} does not answer as it should: {why[:200]}.",
        "Try again in a moment, or come with a token of Pilothouse's own.",
        retry_after=retry_after,
    )
