"""Finding a cluster and its credentials, over real sockets."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from tools.backends.kubernetes import Api, connection, context_name
from tools.errors import Code, ToolError


@pytest.fixture
async def gate_keeper() -> Any:
    """A server that answers who came: the bearer token, or 401 for `expired`."""

    async def who(request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "")
        if token == "Bearer expired":
            return web.json_response({"message": "Unauthorized"}, status=401)
        return web.json_response({"token": token})

    app = web.Application()
    app.router.add_get("/who", who)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


def kubeconfig(folder: Path, url: str, **user: Any) -> str:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "main", "context": {"cluster": "c", "user": "u"}},
            {"name": "other", "context": {"cluster": "c"}},
        ],
    }
    file = folder / "config"
    file.write_text(yaml.safe_dump(content))
    return str(file)


def plugin(folder: Path, token_file: Path) -> dict[str, Any]:
    """A credential plugin that hands out what is in a file."""
    program = folder / "plugin.sh"
    credential = '{"apiVersion":"%s","kind":"ExecCredential","status":{"token":"%s"}}'
    version = "client.authentication.k8s.io/v1"
    program.write_text(
        f"#!/bin/sh\nprintf '{credential}' {version} \"$(cat {token_file})\"\n",
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"apiVersion": version, "command": str(program), "interactiveMode": "Never"}


async def who(api: Api) -> str:
    try:
        return str((await api.get("/who"))["token"])
    finally:
        await api.close()


async def test_a_token_of_the_kubeconfig_is_sent(gate_keeper: Any, tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, str(gate_keeper.make_url("")), token="secret")
    assert await who(Api("c", config)) == "Bearer secret"


async def test_another_context_is_another_user(gate_keeper: Any, tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, str(gate_keeper.make_url("")), token="secret")
    assert await who(Api("c", config, "other")) == ""


async def test_KUBECONFIG_is_used_where_no_file_is_named(
    gate_keeper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = kubeconfig(tmp_path, str(gate_keeper.make_url("")), token="secret")
    monkeypatch.setenv("KUBECONFIG", config)
    assert await who(Api("c")) == "Bearer secret"
    assert context_name() == "main"


async def test_a_plugin_is_asked_again_when_its_token_expired(
    gate_keeper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RELOAD_S", 0)
    token = tmp_path / "token"
    token.write_text("first")
    config = kubeconfig(tmp_path, str(gate_keeper.make_url("")), exec=plugin(tmp_path, token))
    api = Api("c", config)
    assert (await api.get("/who"))["token"] == "Bearer first"
    token.write_text("second")
    assert (await api.get("/who"))["token"] == "Bearer first"
    api.connection._configuration.api_key["BearerToken"] = "Bearer expired"
    assert (await api.get("/who"))["token"] == "Bearer second"
    token.write_text("expired")
    api.connection._configuration.api_key["BearerToken"] = "Bearer expired"
    with pytest.raises(ToolError) as refused:
        await api.get("/who")
    assert refused.value.code is Code.UNAUTHENTICATED
    assert "credentials expired" in refused.value.message
    await api.close()


async def test_a_token_file_is_read_again_after_a_while(
    gate_keeper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    config = kubeconfig(tmp_path, str(gate_keeper.make_url("")), tokenFile=str(token))
    api = Api("c", config)
    assert (await api.get("/who"))["token"] == "Bearer first"
    token.write_text("second")
    monkeypatch.setattr(connection, "FRESH_S", 0)
    assert (await api.get("/who"))["token"] == "Bearer second"
    await api.close()


async def test_a_plugin_that_fails_is_said_so_instead_of_going_on_as_nobody(
    gate_keeper: Any, tmp_path: Path
) -> None:
    broken = {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/false"}
    config = kubeconfig(tmp_path, str(gate_keeper.make_url("")), exec=broken)
    with pytest.raises(ToolError) as refused:
        await who(Api("c", config))
    assert refused.value.code is Code.UNAUTHENTICATED
    assert "/bin/false" in refused.value.message


@pytest.mark.parametrize(
    "content", ["", "[]", "nonsense: [", json.dumps({"clusters": []}), "a: b\ncontexts: 7\n"]
)
async def test_a_kubeconfig_that_is_none_is_refused_with_what_to_do(
    tmp_path: Path, content: str
) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(ToolError) as refused:
        await who(Api("c", str(file)))
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert "--kubeconfig" in refused.value.hint


async def test_no_cluster_at_all_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ToolError) as refused:
        await who(Api("c"))
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert "pilothouse demo" in refused.value.hint
    with pytest.raises(ToolError) as refused:
        await who(Api("c", str(tmp_path / "none")))
    assert "There is no kubeconfig" in refused.value.message


def test_the_environments_proxy_is_used_where_it_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example,127.0.0.1")
    assert connection.proxy_for("https://outside.example:6443") == "http://proxy:3128"
    assert connection.proxy_for("https://api.inside.example") is None
    assert connection.proxy_for("https://127.0.0.1:6443") is None
    assert connection.proxy_for("http://outside.example") is None
