"""A way to the practice AWS that can be cut: requests dropped, lost, held or refused on purpose."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs

import aiohttp
from aiohttp import web

What = Literal["pass", "drop", "lose", "hang", "ExpiredToken", "AccessDenied", "Throttling"]
STATUS = {"ExpiredToken": 403, "AccessDenied": 403, "Throttling": 400}
REFUSAL = """<ErrorResponse><Error><Type>Sender</Type><Code>{0}</Code><Message>{0} was told</Message>
</Error><RequestId>1</RequestId></ErrorResponse>"""


@dataclass
class Way:
    """What befalls a request, by its operation (`CreateRole`, `PUT`): `drop` the connection before
    it is carried out, `lose` its answer, `hang`, or a refusal of AWS's. `else_` is for all others;
    `keys` are access keys that have expired."""

    url: str = ""
    befalls: dict[str, What] = field(default_factory=dict)
    else_: What = "pass"
    once: bool = False
    keys: set[str] = field(default_factory=set)
    passed: list[str] = field(default_factory=list)
    befell: list[str] = field(default_factory=list)

    def mend(self) -> None:
        self.befalls, self.else_, self.once = {}, "pass", False
        self.passed.clear()
        self.befell.clear()

    def fault(self, operation: str, authorization: str) -> What:
        if any(f"Credential={key}/" in authorization for key in self.keys):
            return "ExpiredToken"
        what = self.befalls.get(operation, self.else_)
        if what != "pass":
            self.befell.append(operation)
            if self.once:
                self.befalls.pop(operation, None)
        return what


@asynccontextmanager
async def way_to(target: str) -> AsyncIterator[Way]:
    """Listens in the running loop; `target` is the URL of the practice AWS."""
    way = Way()

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        form = parse_qs(body.decode("latin-1")) if request.method == "POST" else {}
        operation = form.get("Action", [request.method])[0]
        what = way.fault(operation, request.headers.get("Authorization", ""))
        if what == "hang":
            await asyncio.sleep(60)
        if what in STATUS:
            return web.Response(text=REFUSAL.format(what), status=STATUS[what])
        if what in ("pass", "lose"):
            way.passed.append(operation)
            url = target + request.path_qs
            async with session.request(
                request.method,
                url,
                data=body,
                headers=request.headers,
                skip_auto_headers=["Accept"],
            ) as reply:
                content = await reply.read()
            if what == "pass":
                kept = {k: v for k, v in reply.headers.items() if k.lower() not in HOPS}
                return web.Response(body=content, status=reply.status, headers=kept)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        await site.start()
        way.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield way
        await runner.cleanup()


HOPS = {"content-length", "transfer-encoding", "connection", "date", "server"}
