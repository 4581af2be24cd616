"""Whoever sends a client of ours elsewhere is not followed with its credentials."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from chatops.claude import Claude, Model
from server.executor.aws import AwsWrites
from server.remote import RemoteGate
from server.serving import listen, served
from tools.backends.kubernetes import Api
from tools.calls import Caller
from tools.errors import ToolError

EVERY = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


@dataclass
class Elsewhere:
    """`url` sends everybody on to another server, which keeps what `came`."""

    url: str = ""
    status: int = 307
    asked: int = 0
    came: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture(params=[301, 302, 307, 308])
async def elsewhere(request: pytest.FixtureRequest) -> AsyncIterator[Elsewhere]:
    made = Elsewhere(status=request.param)

    async def there(asked: Request) -> Response:
        made.came.append(dict(asked.headers))
        return JSONResponse({})

    async def here(asked: Request) -> Response:
        made.asked += 1
        return RedirectResponse(f"{other}{asked.url.path}", made.status)

    async with AsyncExitStack() as stack:
        urls = []
        for answer in (there, here):
            listener = listen("127.0.0.1", 0)
            app = Starlette(routes=[Route("/{path:path}", answer, methods=EVERY)])
            await stack.enter_async_context(served(app, listener, 0))
            urls.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
        other, made.url = urls
        yield made
    assert made.asked, "it was asked at all"
    assert not made.came


async def test_kubernetes(elsewhere: Elsewhere, tmp_path: Path) -> None:
    one = {"name": "c", "cluster": {"server": elsewhere.url}}
    user = {"name": "u", "user": {"token": "secret"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    config = {"clusters": [one], "users": [user], "contexts": [context], "current-context": "x"}
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    api = Api("c", str(tmp_path / "config"))
    for method in ("GET", "POST"):
        with pytest.raises(ToolError, match="another address"):
            await api.request(method, "/api/v1/namespaces", body={} if method == "POST" else None)
    await api.close()


async def test_a_server_of_our_own(elsewhere: Elsewhere) -> None:
    gate = RemoteGate(elsewhere.url, "ph_secret")
    outcome = await gate.call(Caller.of(""), "tenant_list", {})
    assert outcome.error
    await gate.close()


async def test_aws(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "practice")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    providers = {"": "https://oidc.example"}
    account = AwsWrites(
        region="eu-west-1", bucket="tenants", oidc_providers=providers, endpoint=elsewhere.url
    )
    what = {"Bucket": "tenants", "Key": "x", "Body": b"x"}
    # What is made of the answer is not looked at here: only where the credentials went.
    with suppress(ToolError):
        await account.call("sts", "get_caller_identity")
    with suppress(ToolError):
        await account.call("s3", "put_object", **what)


async def test_the_model(elsewhere: Elsewhere) -> None:
    claude = Claude(Model("claude", key="secret", base_url=elsewhere.url, tries=1))
    with pytest.raises(ToolError):
        async for _ in claude.answer(system="", tools=[], messages=[]):
            pass
