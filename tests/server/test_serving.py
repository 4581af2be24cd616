"""Serving, and stopping in the middle of something."""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from server import settings
from server.commands.doctor_cluster import cluster_roles
from server.commands.serving import serving
from server.identity import new_token
from server.serving import listen, listen_here
from server.settings import Settings
from tools.backends.kubernetes import Api
from tools.errors import ToolError


@pytest.fixture
async def here(
    tmp_path: Path, practice: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Settings]:
    """Settings for the practice cluster, which is ready for tenants; `stopping` is taken away."""
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    config = str(tmp_path / "kubeconfig")
    practice.kubeconfig(path=config)
    api = Api("test", config)
    for body in cluster_roles():
        path = f"/apis/{body['apiVersion']}/{body['kind'].lower()}s/{body['metadata']['name']}"
        await api.request(
            "PATCH", path, {"fieldManager": "test", "force": "true"}, body,
            content_type="application/apply-patch+yaml",
        )  # fmt: skip
    yield settings.load(
        state=tmp_path / "state", kubeconfig=config, port=0, limits={"grace_s": 0.2}
    )
    with suppress(ToolError):
        await api.request("DELETE", "/api/v1/namespaces/stopping")
    await api.close()


async def test_a_call_in_the_middle_when_the_server_stops_goes_on_when_it_starts_again(
    here: Settings,
) -> None:
    async with serving(here) as (app, url), httpx.AsyncClient(base_url=url, timeout=30) as client:
        first = app.identity.local("cli", "token_create")
        assert first
        tokens = {}
        for name in ("root", "other"):
            tokens[name], sha256 = new_token()
            caller = first if name == "root" else await app.who(tokens["root"], "cli", local=True)
            asked = {"sha256": sha256, "subject": name, "operator": True}
            assert caller
            assert not (await app.gate.call(caller, "token_create", asked)).error

        async def call(who: str, tool: str, arguments: dict[str, Any], query: str = "") -> Any:
            headers = {"Authorization": f"Bearer {tokens[who]}"}
            path = f"/api/v1/tools/{tool}{query}"
            return (await client.post(path, json=arguments, headers=headers)).json()

        made = await call("root", "tenant_create", {"name": "stopping"})
        done = await call("other", "call_approve", {"id": made["call_id"]})
        assert done["state"] == "succeeded", done
        job = {"tenant": "stopping", "name": "long", "image": "busybox", "wait": True}
        job |= {"command": ["sleep", "2"]}
        begun = await call("root", "job_create", job, "?wait=0")
        assert begun["state"] == "running", begun
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{url}/health")
    async with serving(here) as (_, url), httpx.AsyncClient(base_url=url, timeout=30) as client:
        ended = await call("root", "call_wait", {"id": begun["call_id"]})
        assert ended["answer"]["call"]["outcome"]["state"] == "succeeded"


async def test_everything_is_served_on_one_port(here: Settings) -> None:
    async with serving(here) as (_, url), httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/health")).json() == {"status": "healthy"}
        ready = (await client.get("/ready")).json()
        assert ready["checks"].keys() == {"state", "cluster default"}
        assert "pilothouse_tokens 0.0" in (await client.get("/metrics")).text
        answer = await client.post("/mcp", json={}, headers={"Accept": "application/json"})
        assert answer.status_code == 401, "nobody is let in by where they come from"
        assert (await client.post("/api/v1/tools/tenant_list")).status_code == 401
        assert (await client.get("/mcp", headers={"Host": "evil.example"})).status_code == 421


async def test_ready_says_what_does_not_answer(here: Settings, tmp_path: Path) -> None:
    nowhere = (tmp_path / "kubeconfig").read_text().split("server:")[
        0
    ] + "server: http://127.0.0.1:1"
    rest = (tmp_path / "kubeconfig").read_text().split("server:")[1].partition("\n")[2]
    (tmp_path / "kubeconfig").write_text(f"{nowhere}\n{rest}")
    async with serving(here) as (_, url), httpx.AsyncClient(base_url=url) as client:
        answer = await client.get("/ready")
        assert answer.status_code == 503
        checks = answer.json()["checks"]
        assert (checks["state"]["ok"], checks["cluster default"]["ok"]) == (True, False)
        assert (await client.get("/health")).is_success


def test_an_address_that_cannot_be_had_is_an_error_with_a_way_on() -> None:
    with pytest.raises(ToolError, match=r"Cannot listen on 192\.0\.2\.1:1"):
        listen("192.0.2.1", 1)


def test_a_socket_is_its_owners_alone_and_takes_the_place_of_one_left_behind(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.sock"
    for _ in range(2):
        with listen_here(path):
            assert path.stat().st_mode & 0o777 == 0o600
    assert os.path.exists(path)
    with pytest.raises(ToolError, match="too long"):
        listen_here(tmp_path / ("x" * 100) / "s.sock")
