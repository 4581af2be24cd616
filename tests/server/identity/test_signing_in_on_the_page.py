"""Signing in on the page: with the identity provider, and with a password."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from server.app import App
from server.commands.serving import serving
from server.identity import new_token
from tests.browsing import browser, need_chromium
from tests.house import settings
from tests.server.identity.provider import Provider, provider
from tools.calls import Caller

WORDS = "correct horse battery"


@asynccontextmanager
async def house(
    tmp_path: Path, practice: Any, idp: Provider, **oidc: Any
) -> AsyncIterator[tuple[App, str]]:
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    asked = {"issuer": idp.url, "audience": ["us"], "operators": ["ops"], "client_id": "page"}
    made = settings(
        tmp_path, str(tmp_path / "kubeconfig"), "http://127.0.0.1:1", port=0, oidc=asked | oidc
    )
    async with serving(made) as served:
        yield served


async def begun(http: httpx.AsyncClient) -> dict[str, str]:
    """What the provider is asked."""
    sent = await http.get("/login/oidc?next=/tenants")
    assert sent.status_code == 303
    return {k: v[0] for k, v in parse_qs(urlsplit(sent.headers["location"]).query).items()}


async def test_the_code_is_bound_to_the_browser_the_request_and_the_verifier(
    tmp_path: Path, practice: Any
) -> None:
    async with (
        provider() as idp,
        house(tmp_path, practice, idp, client_secret="s&cret") as (_, url),
    ):
        idp.says = {"sub": "olivia", "groups": ["ops"]}
        async with httpx.AsyncClient(base_url=url) as http, httpx.AsyncClient() as other:
            asked = await begun(http)
            assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
            assert asked["redirect_uri"] == f"{url}/callback"
            sent = await other.get(f"{idp.url}/authorize", params=asked)
            back = sent.headers["location"]
            assert (await other.get(back)).status_code == 401, "another browser"
            wrong = back.replace(asked["state"], "x")
            assert (await http.get(wrong)).status_code == 401, "another request"
            done = await http.get(back)
            assert done.status_code == 200
            assert "url=/tenants" in done.text
            assert idp.forms[-1]["authorization"] == "Basic cGFnZTpzJTI2Y3JldA=="
            assert (await http.get("/api/v1/caller")).json()["subject"] == "olivia"
            assert (await http.get(back)).status_code == 401, "once"


@pytest.mark.parametrize(
    ("says", "status", "told"),
    [
        ({"nonce": "another"}, 401, "another sign-in"),
        ({"aud": "another"}, 401, "another audience"),
        ({"aud": ["page", "x"], "azp": "x"}, 401, "another client"),
        ({"groups": []}, 403, "may do nothing here"),
    ],
)
async def test_a_token_for_something_else_signs_nobody_in(
    tmp_path: Path, practice: Any, says: dict[str, Any], status: int, told: str
) -> None:
    async with provider() as idp, house(tmp_path, practice, idp) as (_, url):
        idp.says = {"groups": ["ops"]} | says
        async with httpx.AsyncClient(base_url=url) as http:
            sent = await http.get(f"{idp.url}/authorize", params=await begun(http))
            refused = await http.get(sent.headers["location"])
            assert refused.status_code == status
            assert told in refused.text
            assert (await http.get("/api/v1/caller")).status_code == 401


async def test_without_a_client_there_is_no_such_way_in(tmp_path: Path, practice: Any) -> None:
    async with (
        provider() as idp,
        house(tmp_path, practice, idp, client_id="") as (_, url),
        httpx.AsyncClient(base_url=url) as http,
    ):
        assert (await http.get("/login/oidc")).status_code == 404
        assert (await http.get("/callback?code=x&state=y")).status_code == 404
        assert "identity provider" not in (await http.get("/signin")).text


async def test_people_sign_in_with_a_browser(tmp_path: Path, practice: Any) -> None:
    need_chromium()
    async with provider() as idp, house(tmp_path, practice, idp) as (app, url):
        idp.says = {"sub": "olivia", "groups": ["ops"]}
        code, sha256 = new_token("pi_")
        root = Caller.of("root", operator=True)
        await app.identity.accounts.create(
            root, email="ada@acme.example", name="", operator=True, invitation=sha256,
            password_hash="",
        )  # fmt: skip
        await app.identity.sign_in.register("ada@acme.example", WORDS, "Ada", code)
        async with browser() as started:
            page = await started.new_page(base_url=url)
            page.set_default_timeout(15_000)
            await page.goto("/tenants")
            await page.screenshot(path=tmp_path / "signin.png")
            await page.get_by_role("link", name="Sign in with the identity provider").click()
            await page.wait_for_url("**/tenants")
            await page.get_by_text("olivia").first.wait_for()
            other = await (await started.new_context(base_url=url)).new_page()
            other.set_default_timeout(15_000)
            await other.goto("/signin")
            await other.get_by_label("Email address").fill("ada@acme.example")
            await other.get_by_label("Password").fill("not this one")
            await other.get_by_role("button", name="with a password").click()
            await other.get_by_text("or the password is wrong").wait_for()
            await other.get_by_label("Email address").fill("ada@acme.example")
            await other.get_by_label("Password").fill(WORDS)
            await other.get_by_role("button", name="with a password").click()
            await other.get_by_role("heading", name="Now").wait_for()
