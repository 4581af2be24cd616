"""From an invitation to the page, and out again."""

from typing import Any

import httpx
import pytest

from server.demo import Demo
from tests.server.doors.web.test_signing_in import secret, visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORDS = "correct horse battery"


@pytest.fixture
def invited(demo: Demo) -> Any:
    async def invite(email: str) -> str:
        headers = {"authorization": f"Bearer {demo.tokens['olivia']}"}
        async with httpx.AsyncClient(base_url=demo.url, headers=headers, timeout=30) as client:
            made = await client.post("/api/v1/users", json={"email": email})
            return str(made.json()["answer"]["invitation"])

    return invite


async def register(client: httpx.AsyncClient, **given: str) -> httpx.Response:
    form = {"csrf": secret(await client.get("/register")), "password": WORDS}
    return await client.post("/register", data=form | given)


async def test_who_was_invited_registers_is_let_in_and_told_what_is_missing(
    demo: Demo, invited: Any, call: Any
) -> None:
    code = await invited("rosa@acme.example")
    async with visitor(demo) as client:
        assert "/register" in (await client.get("/signin")).text
        there = await register(client, email="rosa@acme.example", invitation=f" {code}\n")
        assert (there.status_code, there.headers["location"]) == (303, "/")
        for path in ("/", "/tenants"):
            page = await client.get(path)
            assert "rosa@acme.example" in page.text
            assert "may do nothing here yet" in page.text
        members = {"rosa@acme.example": "viewer"}
        made = await call("olivia", "workspace_create", name="w", members=members, tenants=["acme"])
        assert not made.get("error"), made
        assert "Recommended" in (await client.get("/")).text
        again = await register(client, email="rosa@acme.example", invitation=code)
        assert again.status_code == 401, "an invitation is good once"


async def test_a_refused_registration_tells_nothing_of_who_is_there(
    demo: Demo, invited: Any
) -> None:
    code = await invited("sven@acme.example")
    async with visitor(demo) as client:
        said = set()
        for email in ("sven@acme.example", "nobody@acme.example", "olivia", "not an address"):
            refused = await register(client, email=email, invitation="pi_" + "x" * 43)
            assert email in refused.text, "what was typed stays"
            assert WORDS not in refused.text
            said.add(
                (refused.status_code, refused.text.split('role="alert">')[1].split("</div>")[0])
            )
        elsewhere = await register(client, email="nobody@acme.example", invitation=code)
        assert {status for status, _ in said} == {elsewhere.status_code} == {401}
        assert len(said) == 1
        weak = await register(client, email="sven@acme.example", invitation=code, password="short")
        assert weak.status_code == 400
        assert "12 to 256 characters" in weak.text
        assert (await client.get("/")).status_code == 303


async def test_nobody_registers_for_somebody_from_another_site(demo: Demo, invited: Any) -> None:
    code = await invited("tove@acme.example")
    async with visitor(demo) as client:
        assert (await register(client, email="tove@acme.example", invitation=code, csrf="0")
                ).status_code == 403  # fmt: skip
        headers = {"origin": "https://evil.example"}
        form = {"csrf": secret(await client.get("/register")), "password": WORDS}
        form |= {"email": "tove@acme.example", "invitation": code}
        refused = await client.post("/register", data=form, headers=headers)
        assert refused.status_code == 403


async def test_signing_out_ends_what_signing_in_made(demo: Demo, invited: Any) -> None:
    code = await invited("ulla@acme.example")
    sessions = demo.app.identity.sessions.rows.all
    async with visitor(demo) as client:
        before = set(sessions)
        await register(client, email="ulla@acme.example", invitation=code)
        (mine,) = set(sessions) - before
        await client.post("/signout", data={"csrf": secret(await client.get("/"))})
        assert mine not in sessions

        # And who brought the token of a session elsewhere: all of that session.
        who = {"email": "ulla@acme.example", "password": WORDS}
        signed = (await client.post("/api/v1/auth/login", json=who)).json()
        form = {"csrf": secret(await client.get("/signin")), "token": signed["access_token"]}
        assert (await client.post("/signin", data=form)).status_code == 303
        await client.post("/signout", data={"csrf": secret(await client.get("/"))})
        headers = {"authorization": f"Bearer {signed['access_token']}"}
        assert (await client.get("/api/v1/caller", headers=headers)).status_code == 401
        more = {"refresh_token": signed["refresh_token"]}
        assert (await client.post("/api/v1/auth/refresh", json=more)).status_code == 401
