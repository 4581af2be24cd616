"""Registering, signing in and out, and what keeps other sites and other people out, over real
sockets."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from server.demo import Demo
from server.doors import live

pytestmark = pytest.mark.asyncio(loop_scope="session")
MOST_BYTES = 60_000
WORDS = "correct horse battery"


@asynccontextmanager
async def visitor(demo: Demo, who: str = "", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=demo.url, headers=headers, timeout=30) as client:
        if who:
            signed_in = await sign_in(client, demo.tokens[who])
            assert signed_in.status_code == 303, signed_in.text
        yield client


async def sign_in(client: httpx.AsyncClient, token: str, **more: str) -> httpx.Response:
    form = {"csrf": secret(await client.get("/signin")), "token": token, "next": "/"}
    return await client.post("/signin", data=form | more)


def secret(page: httpx.Response) -> str:
    return re.findall(r'name="csrf" value="([0-9a-f]{64})"', page.text)[0]


def scale(page: httpx.Response, **more: str) -> dict[str, str]:
    """The form that scales acme's web, as its page has it."""
    form = {"csrf": secret(page), "form": "scale", "tool": "workload_scale", "a.replicas": "3"}
    return form | {"a.tenant": "acme", "a.kind": "Deployment", "a.name": "web"} | more


WEB = "/workloads/acme/Deployment/web"


async def test_who_has_not_signed_in_is_asked_to_and_comes_back_to_where_they_were(
    demo: Demo,
) -> None:
    async with visitor(demo) as client:
        sent = await client.get("/approvals?next=x")
        assert sent.status_code == 303
        assert sent.headers["location"] == "/signin?next=%2Fapprovals%3Fnext%3Dx"
        asked = await client.get(sent.headers["location"])
        assert 'value="/approvals?next=x"' in asked.text
        there = await sign_in(client, demo.tokens["vera"], next="/approvals?next=x")
        assert there.headers["location"] == "/approvals?next=x"


async def test_who_comes_by_a_link_of_another_site_is_let_in_from_a_page_of_ours(
    demo: Demo,
) -> None:
    async with visitor(demo) as client:
        headers = {"sec-fetch-site": "cross-site"}
        first = await client.get("/calls/abc?x=1", headers=headers)
        assert '<meta http-equiv="refresh" content="0;url=/calls/abc?x=1">' in first.text
        again = await client.get("/calls/abc?x=1", headers={"sec-fetch-site": "same-origin"})
        assert again.headers["location"].startswith("/signin")


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
async def test_signing_in_leads_to_no_other_site(demo: Demo, to: str) -> None:
    async with visitor(demo) as client:
        there = await sign_in(client, demo.tokens["vera"], next=to)
        assert there.headers["location"] == "/"


async def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(demo: Demo) -> None:
    async with visitor(demo) as client:
        plain = await sign_in(client, demo.tokens["vera"])
    async with visitor(demo, **{"x-forwarded-proto": "https"}) as client:
        sealed = await sign_in(client, demo.tokens["vera"])
    cookie = next(c for c in plain.headers.get_list("set-cookie") if c.startswith("pilothouse="))
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert demo.tokens["vera"] not in cookie
    assert "Secure" in sealed.headers["set-cookie"]


async def test_a_token_that_lets_nobody_in_does_not_here(demo: Demo) -> None:
    async with visitor(demo) as client:
        refused = await sign_in(client, "ph_" + "x" * 43)
        assert refused.status_code == 401
        assert "unknown, expired or revoked" in refused.text
        assert (await client.get("/")).status_code == 303


@pytest.mark.parametrize("change", ["a", "b", "c", "d"])
async def test_a_cookie_that_was_tampered_with_lets_nobody_in(demo: Demo, change: str) -> None:
    async with visitor(demo, "vera") as client:
        cookie = client.cookies["pilothouse"]
        sha256, until, id, seal = cookie.split(".")
        forged = {
            "a": f"{sha256}.{int(until) + 1}.{id}.{seal}",
            "b": f"{'0' * 64}.{until}.{id}.{seal}",
            "c": f"{sha256}.{until}.{'0' * 16}.{seal}",
            "d": "é",
        }
        client.cookies.jar.clear()
        headers = {"cookie": f"pilothouse={forged[change]}".encode("latin-1")}
        assert (await client.get("/", headers=headers)).status_code == 303


async def test_revoking_the_token_ends_the_session(demo: Demo, call: Any) -> None:
    from server.identity import new_token

    token, sha256 = new_token()
    made = await call("olivia", "token_create", sha256=sha256, subject="guest", operator=True)
    async with visitor(demo) as client:
        await sign_in(client, token)
        assert (await client.get("/")).status_code == 200
        await call("olivia", "token_revoke", id=made["answer"]["id"])
        assert (await client.get("/")).status_code == 303


async def test_who_signs_out_leaves_no_copy_of_the_session_that_works(demo: Demo) -> None:
    async with visitor(demo, "vera") as client, visitor(demo, "vera") as elsewhere:
        stolen = {"cookie": f"pilothouse={client.cookies['pilothouse']}"}
        form = {"csrf": secret(await client.get("/"))}
        async with visitor(demo, **stolen) as thief:
            assert (await thief.get("/")).status_code == 200
            out = await client.post("/signout", data=form)
            assert out.headers["location"] == "/signin"
            assert (await thief.get("/")).status_code == 303
            assert (await thief.get("/api/v1/caller")).status_code == 401
        assert (await elsewhere.get("/")).status_code == 200


async def test_an_event_source_is_let_in_by_the_cookie_and_ends_when_one_signs_out(
    demo: Demo, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.2)
    asked = {"accept": "text/event-stream", "sec-fetch-site": "same-origin"}
    events = "/api/v1/events?types=call"
    async with visitor(demo, "ada") as client, asyncio.timeout(30):
        form = {"csrf": secret(await client.get("/"))}
        async with client.stream("GET", events, headers=asked) as stream:
            assert stream.status_code == 200
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            made = await call("ada", "workload_restart", tenant="acme", name="web")
            async for line in lines:
                if line.startswith("data: "):
                    assert json.loads(line.removeprefix("data: "))["id"] == made["call_id"]
                    break
            await client.post("/signout", data=form)
            rest = [line async for line in lines if line.startswith(("event", "data"))]
        assert rest[-2] == "event: dropped"
        assert "A token is needed" in rest[-1]
        assert (await client.get(events, headers=asked)).status_code == 401


async def test_a_form_without_this_browsers_secret_does_nothing(demo: Demo) -> None:
    async with visitor(demo, "ada") as client, visitor(demo, "ada") as other:
        page, elsewhere = await client.get(WEB), await other.get(WEB)
        for csrf in ("", "0" * 64):
            assert (await client.post(WEB, data=scale(page, csrf=csrf))).status_code == 403
        signed_out = await visitor_secret(demo)
        assert (await client.post(WEB, data=scale(page, csrf=signed_out))).status_code == 403
        assert secret(page) == secret(elsewhere) or client.cookies != other.cookies


async def visitor_secret(demo: Demo) -> str:
    async with visitor(demo) as client:
        return secret(await client.get("/signin"))


async def test_a_form_from_another_site_does_nothing(demo: Demo) -> None:
    async with visitor(demo, "ada") as client:
        page = await client.get(WEB)
        headers = {"origin": "https://evil.example"}
        refused = await client.post(WEB, data=scale(page), headers=headers)
        assert refused.status_code == 403


async def test_a_session_reads_the_api_and_changes_nothing_there_without_the_secret(
    demo: Demo,
) -> None:
    async with visitor(demo, "ada") as client:
        known = await client.get("/api/v1/caller")
        assert known.json()["subject"] == "ada"
        assert known.json()["door"] == "web"
        path = "/api/v1/tools/tenant_list"
        assert (await client.post(path, json={})).status_code == 401
        headers = {"x-pilothouse-csrf": secret(await client.get("/"))}
        assert (await client.post(path, json={}, headers=headers)).status_code == 200


async def test_a_double_click_is_one_call(demo: Demo, call: Any) -> None:
    async with visitor(demo, "ada") as client:
        page = await client.get(WEB)
        form = scale(page, key="once", **{"a.replicas": "4"})
        first, second = [await client.post(WEB, data=form) for _ in range(2)]
        assert first.status_code == 303
        assert first.headers["location"] == second.headers["location"]
        seen = await client.get(first.headers["location"])
        assert "through this page" in seen.text


async def test_what_was_refused_is_said_at_its_form_with_what_was_typed(demo: Demo) -> None:
    async with visitor(demo, "ada") as client:
        page = await client.get(WEB)
        refused = await client.post(WEB, data=scale(page, **{"a.replicas": "many"}))
        assert refused.status_code == 400
        form = refused.text.split('id="scale"')[1].split("</form>")[0]
        assert 'value="many"' in form
        assert "replicas" in form.split('class="problem"')[1]


async def test_a_viewer_has_no_buttons_and_is_refused_anyhow(demo: Demo) -> None:
    async with visitor(demo, "vera") as client:
        page = await client.get(WEB)
        assert 'id="scale"' not in page.text
        refused = await client.post(WEB, data=scale(page))
        assert refused.status_code == 403
        assert "permission_denied" in refused.text


async def test_of_other_tenants_a_viewer_sees_nothing(demo: Demo) -> None:
    async with visitor(demo, "vera") as client:
        assert "globex" not in (await client.get("/")).text
        assert (await client.get("/tenants/globex")).status_code in (403, 404)
        assert (await client.get("/workloads/globex/Deployment/shop")).status_code in (403, 404)


async def test_every_page_forbids_what_it_does_not_need(demo: Demo) -> None:
    async with visitor(demo, "olivia") as client:
        for path in ("/", "/signin", "/tenants/nobody", "/audit"):
            policy = (await client.get(path)).headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            page = (await client.get(path)).text
            assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=|https?://", page)


async def test_the_first_view_is_small(demo: Demo) -> None:
    async with visitor(demo, "olivia", **{"accept-encoding": "identity"}) as client:
        page = await client.get("/")
        parts = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text))
        assert len(parts) == 3
        files = [await client.get(part) for part in parts]
        assert all("immutable" in file.headers["cache-control"] for file in files)
        assert len(page.content) + sum(len(file.content) for file in files) < MOST_BYTES


async def test_what_does_not_answer_keeps_nobody_from_the_first_view(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = asyncio.Event()

    async def never_yet(ask: Any) -> dict[str, Any]:
        await answers.wait()
        return {"ok": True, "ms": 4321.0}

    monkeypatch.setattr("server.health._asked", never_yet)
    monkeypatch.setattr("server.health.HOLDS_S", 0.0)
    async with visitor(demo, "olivia") as client:
        async with asyncio.timeout(20):
            while "4321 ms" not in (page := await client.get("/")).text:
                health = page.text.split('aria-label="Health"')[1].split("</section>")[0]
                assert "has not answered" not in health
                if 'class="check' not in health:
                    assert "data-asking" in health
                answers.set()


async def test_the_audit_trail_is_exported_with_the_filters_of_its_page(demo: Demo) -> None:
    import io

    import pyarrow.parquet as pq

    async with visitor(demo, "olivia") as client:
        query = "?type=create&tenant=acme"
        text = (await client.get(f"/audit.csv{query}")).text
        rows = text.strip().splitlines()
        assert rows[0].startswith("time,subject,person,door,tool,tenant")
        assert all("create" in row and "acme" in row for row in rows[1:])
        whole = await client.get(f"/audit.parquet{query}")
        table = pq.read_table(io.BytesIO(whole.content))
        assert table.num_rows == len(rows) - 1 > 0
        assert "attachment" in whole.headers["content-disposition"]


async def test_reads_do_not_drown_the_changes_in_the_audit_trail(demo: Demo) -> None:
    async with visitor(demo, "olivia") as client:
        page = await client.get("/audit")
        assert "<code>tenant_create</code>" in page.text
        assert "<code>audit_list</code>" not in page.text
        assert "<code>call_list</code>" not in page.text
        both = re.findall(r'href="(\?[^"]*)">Reads, too', page.text)[0].replace("&amp;", "&")
        page = await client.get(f"/audit{both}")
        assert "<code>audit_list</code>" in page.text
        assert "Changes only" in page.text


async def test_a_jobs_log_is_read_as_lines(demo: Demo, call: Any) -> None:
    hello = {"tenant": "acme", "image": "busybox:1.37", "command": ["echo", "hello"]}
    made = await call("olivia", "job_create", **hello, wait=True)
    name = made["answer"]["name"]
    async with visitor(demo, "vera") as client:
        assert "hello" in (await client.get(f"/jobs/acme/{name}/log?follow=1")).text
        assert "hello" in (await client.get(f"/jobs/acme/{name}")).text


# ---- from an invitation, and out again


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
