"""A served Pilothouse and an identity provider, with the clients that people have."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from server.app import App
from server.commands.serving import serving
from tests.house import settings
from tests.server.identity.provider import Provider, provider, rsa_key


@asynccontextmanager
async def house(
    tmp_path: Path, practice: Any, idp: Provider, **options: Any
) -> AsyncIterator[tuple[App, str]]:
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    oidc = {"issuer": idp.url, "operators": ["ops"]} | options.pop("oidc", {})
    made = settings(
        tmp_path, str(tmp_path / "kubeconfig"), "http://127.0.0.1:1", port=0,
        public_url="https://pilot.example", oidc=oidc, **options,
    )  # fmt: skip
    async with serving(made) as served:
        yield served


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_client_finds_the_issuer_and_comes_in_with_its_token(
    tmp_path: Path, practice: Any
) -> None:
    async with provider() as idp, house(tmp_path, practice, idp) as (_, url):
        async with httpx.AsyncClient(base_url=url) as http:
            asked = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            challenge = (await http.post("/mcp", json=asked)).headers["www-authenticate"]
            told = "https://pilot.example/.well-known/oauth-protected-resource/mcp"
            assert challenge == f'Bearer resource_metadata="{told}"'
            for path in ("/mcp", ""):
                page = await http.get(f"/.well-known/oauth-protected-resource{path}")
                assert page.json()["authorization_servers"] == [f"{idp.url}/"]
                assert page.json()["resource"] == "https://pilot.example/mcp"
            token = idp.token(sub="olivia", groups=["ops"])
            me = (await http.get("/api/v1/caller", headers=bearer(token))).json()
            assert (me["subject"], me["operator"]) == ("olivia", True)
        async with (
            httpx2.AsyncClient(headers=bearer(token), timeout=30) as http2,
            Client(streamable_http_client(f"{url}/mcp", http_client=http2)) as client,
        ):
            found = await client.call_tool("tenant_list", {})
            assert not found.is_error


@pytest.mark.parametrize(
    ("claims", "status", "says"),
    [
        ({"aud": "https://other.example/mcp"}, 401, "another audience"),
        ({"exp": 1}, 401, "expired"),
        ({"groups": []}, 403, "may do nothing here"),
    ],
)
async def test_each_door_says_why_somebody_is_not_let_in(
    tmp_path: Path, practice: Any, claims: dict[str, Any], status: int, says: str
) -> None:
    async with (
        provider() as idp,
        house(tmp_path, practice, idp) as (_, url),
        httpx.AsyncClient(base_url=url) as http,
    ):
        token = idp.token(**{"groups": ["ops"]} | claims)
        over_mcp = await http.post("/mcp", json={}, headers=bearer(token))
        over_rest = await http.post("/api/v1/tools/tenant_list", headers=bearer(token))
        for refused in (over_mcp, over_rest):
            assert refused.status_code == status
            assert says in refused.json()["detail"]
        if status == 401:
            told = over_mcp.headers["www-authenticate"]
            assert 'error="invalid_token"' in told
            assert says in told
            assert "resource_metadata=" in told


async def test_keys_are_changed_while_the_server_runs_and_away_is_told_as_unavailable(
    tmp_path: Path, practice: Any
) -> None:
    async with (
        provider() as idp,
        house(tmp_path, practice, idp) as (app, url),
        httpx.AsyncClient(base_url=url) as http,
    ):
        issuer = app.identity.issuer
        assert issuer
        idp.breaks = True
        away = await http.get("/api/v1/caller", headers=bearer(idp.token(groups=["ops"])))
        assert away.status_code == 503
        assert int(away.headers["retry-after"]) >= 1
        idp.breaks, issuer._tried_at = False, float("-inf")
        for _ in range(2):
            token = idp.token(groups=["ops"])
            assert (await http.get("/api/v1/caller", headers=bearer(token))).status_code == 200
            idp.keys, issuer._tried_at = [rsa_key()], float("-inf")
