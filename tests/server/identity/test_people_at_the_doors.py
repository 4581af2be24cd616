"""Registering, signing in, users and workspaces over REST, at a served Pilothouse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from server.app import App
from server.commands.serving import serving
from server.identity import new_token
from server.journal import audit
from tests.house import settings
from tools.calls import Caller

WORDS = "correct horse battery"
ADA = {"email": "ada@acme.example", "password": WORDS}


@asynccontextmanager
async def served(
    tmp_path: Path, practice: Any, **options: Any
) -> AsyncIterator[tuple[App, str, dict[str, str]]]:
    """The application, its URL, and the headers of an operator."""
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    kubeconfig = str(tmp_path / "kubeconfig")
    made = settings(tmp_path, kubeconfig, "http://127.0.0.1:1", port=0, **options)
    async with serving(made) as (app, url):
        token, sha256 = new_token()
        await app.identity.tokens.create(
            Caller.of("root", operator=True, door="cli"), sha256=sha256, subject="root",
            tenants={}, operator=True, agent=False, person="", expires_days=None,
        )  # fmt: skip
        yield app, url, {"authorization": f"Bearer {token}"}


async def test_from_an_invitation_to_signing_out(tmp_path: Path, practice: Any) -> None:
    async with (
        served(tmp_path, practice) as (app, url, root),
        httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=30) as http,
    ):
        made = await http.post("/users", json={"email": ADA["email"]}, headers=root)
        code, id = made.json()["answer"]["invitation"], made.json()["answer"]["id"]
        assert (await http.post("/auth/register", json=ADA)).status_code == 403
        registered = await http.post("/auth/register", json=ADA | {"invitation": code})
        assert registered.status_code == 201
        wrong = await http.post("/auth/login", json=ADA | {"password": "not this one"})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "unauthenticated")
        signed = (await http.post("/auth/login", json=ADA)).json()
        assert (signed["token_type"], signed["expires_in"]) == ("Bearer", 900)
        me = {"authorization": f"Bearer {signed['access_token']}"}
        assert (await http.get("/users/me", headers=me)).json()["email"] == ADA["email"]
        renamed = await http.put("/users/me", json={"name": "Ada L."}, headers=me)
        assert renamed.json()["answer"]["name"] == "Ada L."
        assert (await http.get("/users", headers=me)).status_code == 403
        assert (await http.get("/users/" + id, headers=root)).json()["name"] == "Ada L."
        web = {"name": "web", "members": {ADA["email"]: "user"}}
        workspace = (await http.post("/workspaces", json=web, headers=root)).json()["answer"]
        at = f"/workspaces/{workspace['id']}"
        assert (await http.get(at, headers=root)).json()["members"] == web["members"]
        changed = await http.put(at, json={"description": "the site"}, headers=root)
        assert changed.json()["answer"]["description"] == "the site"
        assert len((await http.get("/workspaces", headers=root)).json()["workspaces"]) == 1
        assert (await http.delete(at, headers=root)).status_code == 200
        went_on = await http.post("/auth/refresh", json={"refresh_token": signed["refresh_token"]})
        me = {"authorization": f"Bearer {went_on.json()['access_token']}"}
        new = {"old_password": WORDS, "new_password": "quite another one"}
        assert (await http.post("/auth/password", json=new, headers=me)).status_code == 200
        assert (await http.post("/auth/logout", headers=me)).status_code == 200
        assert (await http.get("/users/me", headers=me)).status_code == 401
        off = await http.put(f"/users/{id}", json={"disabled": True}, headers=root)
        assert off.json()["answer"]["state"] == "disabled"
        assert (await http.delete(f"/users/{id}", headers=root)).status_code == 200
        assert (await http.get(f"/users/{id}", headers=root)).status_code == 404
        await app.local_gate.audit.flush()
        query = sa.select(audit.c.tool, audit.c.subject, audit.c.state)
        noted = {tuple(row) for row in await app.journal.run(lambda c: c.execute(query).all())}
        for what in ("register", "login", "password", "logout"):
            assert (f"auth_{what}", ADA["email"], "succeeded") in noted
        assert ("auth_login", ADA["email"], "denied") in noted


async def test_a_password_is_on_no_record_and_in_no_answer(
    tmp_path: Path, practice: Any, capfd: Any
) -> None:
    async with (
        served(tmp_path, practice, people={"registration": "open"}, log={"level": "debug"})
        as (_, url, _),
        httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=30) as http,
    ):  # fmt: skip
        secret = "swordfish-of-the-deep"
        sent = [
            {"email": "not one", "password": secret},
            {"email": "a@b.example", "password": secret, "more": secret},
            {"email": "a@b.example", "password": [secret]},
            {"email": "a@b.example", "password": secret},
        ]
        for path in ("/auth/login", "/auth/register"):
            for body in sent:
                answer = await http.post(path, json=body)
                assert secret not in answer.text
                assert answer.status_code in (400, 401, 201)
    printed = capfd.readouterr()
    stored = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    for text in (printed.out.encode(), printed.err.encode(), stored):
        assert secret.encode() not in text


async def test_over_mcp_there_is_no_user_to_make(tmp_path: Path, practice: Any) -> None:
    async with (
        served(tmp_path, practice) as (_, url, root),
        httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=30) as http,
    ):
        as_agent = root | {"x-pilothouse-door": "mcp"}
        shown = (await http.get("/tools", headers=as_agent)).json()["tools"]
        groups = {tool["group"] for tool in shown}
        assert not groups & {"users", "workspaces", "account", "tokens"}
        refused = await http.post("/users", json={"email": "a@b.example"}, headers=as_agent)
        assert refused.status_code == 403
