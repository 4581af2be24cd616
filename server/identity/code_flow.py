"""Signing in on the page with the identity provider: authorisation code with PKCE (RFC 7636).

What the browser carries there and back is sealed, so that an answer is taken from the browser that
asked, once it was asked, and within minutes.
"""

import base64
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from urllib.parse import quote, urlencode

from server.identity.callers import Identity
from tools.errors import Code, ToolError

LASTS_S = 600


class CodeFlow:
    def __init__(
        self, identity: Identity, key: Callable[[], Awaitable[bytes]], public: str
    ) -> None:
        """`key` seals; `public` is where clients see us, if that is not where they ask."""
        assert identity.issuer is not None
        self._identity = identity
        self._issuer = identity.issuer
        self._key = key
        self._public = public.rstrip("/")

    async def begin(self, here: str, goes_to: str) -> tuple[str, str]:
        """Where to send the browser, and what it is to carry. Raises `ToolError`."""
        import jwt

        said = await self._issuer.endpoints()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._issuer.settings.client_id,
            "redirect_uri": self._back(here),
            "scope": self._issuer.settings.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        until = self._identity.now() + timedelta(seconds=LASTS_S)
        carried = {"state": state, "nonce": nonce, "verifier": verifier, "next": goes_to}
        sealed = jwt.encode(carried | {"exp": until}, await self._seal(), "HS256")
        where = str(said.get("authorization_endpoint", ""))
        if not where.startswith(("https://", "http://")):
            raise _failed("it names nowhere to sign in")
        return f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}", sealed

    async def finish(self, here: str, state: str, code: str, carried: str) -> tuple[str, str]:
        """The token of a session, and where to go on. Raises `ToolError`."""
        import jwt

        try:
            asked = jwt.decode(carried, await self._seal(), ["HS256"], options={"require": ["exp"]})
        except jwt.InvalidTokenError:
            raise _failed("this browser did not ask to, or too long ago") from None
        if not code or not secrets.compare_digest(state.encode(), asked["state"].encode()):
            raise _failed("the identity provider's answer is not to what this browser asked")
        settings, endpoints = self._issuer.settings, await self._issuer.endpoints()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back(here),
            "client_id": settings.client_id,
            "code_verifier": asked["verifier"],
        }
        headers = {}
        if secret := settings.client_secret.get_secret_value():
            pair = f"{quote(settings.client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        where = str(endpoints.get("token_endpoint", ""))
        answer = await self._issuer.post(where, form, headers=headers)
        said = await self._issuer.claims(str(answer.get("id_token", "")), [settings.client_id])
        if not secrets.compare_digest(str(said.get("nonce", "")).encode(), asked["nonce"].encode()):
            raise _failed("its token was made for another sign-in")
        if said.get("azp", settings.client_id) != settings.client_id:
            raise _failed("its token was made for another client")
        lasts = timedelta(hours=settings.session_h)
        return await self._identity.signed_in_elsewhere(said, lasts), asked["next"]

    def _back(self, here: str) -> str:
        return f"{self._public or here.rstrip('/')}/callback"

    async def _seal(self) -> bytes:
        return hashlib.sha256(b"oidc" + await self._key()).digest()


def _failed(why: str) -> ToolError:
    return ToolError(
        Code.UNAUTHENTICATED, f"You could not be signed in: {why}.", "Begin again at /signin."
    )
