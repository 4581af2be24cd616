"""TLS, and who comes with a certificate: a connection of theirs is given a token of its own, which
only this process knows and which ends with the connection. So every door knows them as it knows
the others."""

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from server.identity.certificates import Certificates
from server.serving import Protocol
from server.settings_identity import Tls
from tools.errors import Code, ToolError

STATE = "pilothouse.certificate"


class WithToken:
    """Hands on the connection's token, where a request brings none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = scope.get("state", {}).get(STATE)
        if token and not any(name == b"authorization" for name, _ in scope["headers"]):
            bearer = (b"authorization", f"Bearer {token}".encode())
            scope = {**scope, "headers": [*scope["headers"], bearer]}
        await self._app(scope, receive, send)


def check(tls: Tls) -> None:
    """Raises `ToolError` for files that are no certificates."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.cert, tls.key)
        if tls.client_ca:
            context.load_verify_locations(tls.client_ca)
    except OSError as error:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"The certificate, its key or the clients' CA cannot be used: {error}.",
            "Check tls.cert, tls.key and tls.client_ca.",
        ) from None


def options(tls: Tls, certificates: Certificates) -> dict[str, Any]:
    """What uvicorn is to be told."""
    given: dict[str, Any] = {"ssl_certfile": tls.cert, "ssl_keyfile": tls.key}
    if tls.client_ca:
        asked = ssl.CERT_REQUIRED if tls.require else ssl.CERT_OPTIONAL
        given |= {"ssl_ca_certs": tls.client_ca, "ssl_cert_reqs": asked}
        given["http"] = _knowing(certificates.come, certificates.go)
    return given


def _knowing(
    come: Callable[[list[str]], str], go: Callable[[str], None]
) -> "type[asyncio.Protocol]":
    class Knowing(Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            peer = transport.get_extra_info("peercert") or {}
            if token := come(list(_names(peer))):
                self.app_state = {**self.app_state, STATE: token}

        def connection_lost(self, exc: Exception | None) -> None:
            go(self.app_state.get(STATE, ""))
            super().connection_lost(exc)

    return Knowing


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    """What a certificate says whose it is; its common name counts only where there is nothing
    newer (RFC 6125)."""
    found = [name for kind, name in certificate.get("subjectAltName", ()) if kind in ("URI", "DNS")]
    if found:
        yield from found
        return
    for parts in certificate.get("subject", ()):
        yield from (value for kind, value in parts if kind == "commonName")
