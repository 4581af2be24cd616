"""A small identity provider over a real socket: discovery, keys that can be changed, tokens, and
the authorisation code flow with PKCE."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from server.serving import listen, served


@dataclass
class Key:
    private: Any
    algorithm: str
    id: str = field(default_factory=lambda: secrets.token_hex(4))

    def public(self) -> dict[str, Any]:
        kind = (
            jwt.algorithms.RSAAlgorithm if self.algorithm[0] in "RP" else jwt.algorithms.ECAlgorithm
        )
        return json.loads(kind.to_jwk(self.private.public_key())) | {"kid": self.id, "use": "sig"}


def rsa_key(algorithm: str = "RS256") -> Key:
    return Key(rsa.generate_private_key(65537, 2048), algorithm)


def ec_key() -> Key:
    return Key(ec.generate_private_key(ec.SECP256R1()), "ES256")


@dataclass
class Provider:
    """`asked` counts requests by path; `says` are claims of whoever signs in; `breaks` answers 500."""

    url: str = ""
    keys: list[Key] = field(default_factory=lambda: [rsa_key()])
    asked: dict[str, int] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    says: dict[str, Any] = field(default_factory=dict)
    forms: list[dict[str, Any]] = field(default_factory=list)
    breaks: bool = False
    moved_to: str = ""

    def token(self, key: Key | None = None, header: Any = None, **claims: Any) -> str:
        key, now = key or self.keys[0], int(time.time())
        said = {
            "iss": self.url, "aud": "https://pilot.example/mcp", "sub": "alice",
            "iat": now, "exp": now + 600,
        } | claims  # fmt: skip
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, key.private, key.algorithm, {"kid": key.id} | (header or {}))

    async def discovery(self, request: Request) -> Response:
        paths = {
            "jwks_uri": "keys",
            "authorization_endpoint": "authorize",
            "token_endpoint": "token",
        }
        said = {name: f"{self.url}/{path}" for name, path in paths.items()}
        return JSONResponse({"issuer": self.url} | said)

    async def published(self, request: Request) -> Response:
        if self.moved_to:
            return RedirectResponse(self.moved_to)
        return JSONResponse({"keys": [key.public() for key in self.keys]})

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        code = secrets.token_hex(8)
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"]}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 302)

    async def exchange(self, request: Request) -> Response:
        form = dict(await request.form())
        self.forms.append(form | {"authorization": request.headers.get("authorization", "")})
        asked = self.codes.pop(str(form["code"]), None)
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        said = {"aud": asked["client_id"], "nonce": asked["nonce"]} | self.says
        return JSONResponse(
            {"access_token": "x", "token_type": "Bearer", "id_token": self.token(**said)}
        )

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked[path] = self.asked.get(path, 0) + 1
        if self.breaks:
            return Response("broken", 500)
        doors = {
            "/.well-known/openid-configuration": self.discovery, "/keys": self.published,
            "/authorize": self.authorize, "/token": self.exchange,
        }  # fmt: skip
        return await doors[path](request)


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    listener = listen("127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = Starlette(routes=[Route("/{path:path}", made.answer, methods=["GET", "POST"])])
    async with served(app, listener, 1):
        yield made
