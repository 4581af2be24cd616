"""How a page is come by: who asks, what they send, the view, and the page around it.

A form is sent to the page that it stands on. Its `tool` is called through the gate with its `a.…`
as arguments, and with its `key`, so that what is sent twice happens once. What was refused is shown
at that form, with what was typed.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import structlog
from jinja2 import Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from server.doors.http import STATUS
from server.doors.web import words
from server.doors.web.visits import Form, Visit, Web, decides
from tools.calls import Problem
from tools.errors import Code, ToolError
from tools.tool import catalog

log = structlog.get_logger(__name__)

MOST_FORM = 64 * 1024  # bytes
SAID = "pilothouse_said"
SAID_S = 60
STATIC = {
    "style.css": "text/css",
    "page.js": "text/javascript",
    "ask.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}

View = Callable[[Visit], Awaitable[dict[str, Any]]]
# Where to go on after a form, and what is to be said there; None where its page shows what came.
Act = Callable[[Visit], Awaitable[tuple[str | None, str]]]


def web_routes(web: Web) -> list[Route]:
    from server.doors.web import asking
    from server.doors.web.acting import act
    from server.doors.web.entering import entrances
    from server.doors.web.exports import EXPORTS
    from server.doors.web.following import STREAMS
    from server.doors.web.views import VIEWS

    pages = Pages(web)
    routes = [Route(path, pages.of(template, view, act)) for path, template, view in VIEWS]
    ask = pages.of("ask.html", asking.view, asking.say)
    routes += [Route("/ask", ask), Route("/ask/{id}", ask)]
    for route in routes:
        route.methods = {"GET", "HEAD", "POST"}
    routes += [Route(path, pages.plainly(make)) for path, make in (*EXPORTS, *STREAMS)]
    return [
        *routes,
        *entrances(pages),
        Route("/static/{name}", pages.static),
    ]


@dataclass
class Pages:
    web: Web
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        folder = files("server.doors.web") / "static"
        self.files = {name: (folder / name).read_bytes() for name in STATIC}
        mark = sha256(b"".join(self.files.values())).hexdigest()[:10]
        self.environment = Environment(
            loader=PackageLoader("server.doors.web"),
            autoescape=True,
            finalize=words.shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters |= words.FILTERS
        self.environment.globals |= words.GLOBALS | {"mark": mark, "version": self.web.version}
        # Beside the start, so that who comes first waits no longer than who comes next.
        Thread(target=self._warm_up, name="page", daemon=True).start()

    def _warm_up(self) -> None:
        for name in self.environment.list_templates():
            self.environment.get_template(name)
        for tool in catalog().values():
            tool.info()

    def of(self, template: str, view: View, act: Act) -> Callable[[Request], Awaitable[Response]]:
        """A page that is looked at with GET, and whose forms are sent to itself."""

        async def answer(request: Request) -> Response:
            visit = await self._visit(request)
            if visit is None:
                return self._to_sign_in(request)
            try:
                if not visit.role:
                    return await self._page(visit, "nothing.html", {})
                if request.method == "POST":
                    visit.form = await self.form(request)
                    if gone_on := await self._act(visit, act):
                        return gone_on
                shown = await view(visit)
            except ToolError as error:
                return await self._problem(visit, Problem.of(error))
            status = STATUS[visit.refused.code] if visit.refused else 200
            return await self._page(visit, template, shown, status)

        return self.guarded(answer)

    def plainly(
        self, make: Callable[[Visit], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """What is no page: a file, or the lines of a log."""

        async def answer(request: Request) -> Response:
            visit = await self._visit(request)
            if visit is None:
                return self._to_sign_in(request)
            try:
                return await make(visit)
            except ToolError as error:
                return await self._problem(visit, Problem.of(error))

        return self.guarded(answer)

    def guarded(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            try:
                found = await answer(request)
            except ToolError as error:
                found = await self._problem(None, Problem.of(error), request)
            except Exception:
                log.exception("page failed", path=request.url.path)
                said = Problem(
                    code=Code.INTERNAL, message="Something broke down.", hint="The log says why."
                )
                found = await self._problem(None, said, request)
            self.web.sessions.visit(found, request)
            for name, value in HEADERS.items():
                found.headers.setdefault(name, value)
            return found

        return guarded

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.files:
            return Response(status_code=404)
        # Its address changes with it.
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(self.files[name], media_type=STATIC[name], headers=headers)

    async def _visit(self, request: Request) -> Visit | None:
        caller = await self.web.sessions.caller(request)
        if caller is None:
            return None
        return Visit(self.web, request, caller)

    def _to_sign_in(self, request: Request) -> Response:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
            # From a link in a chat no cookie comes along; from a page of our own it does.
            page = self.environment.get_template("again.html").render(here=inside(here), mark="")
            return HTMLResponse(page)
        way = "" if request.method != "GET" or here == "/" else "?" + urlencode({"next": here})
        return RedirectResponse("/signin" + way, 303)

    # ---- forms

    async def form(self, request: Request) -> Form:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_FORM:
                raise ToolError(Code.INVALID_ARGUMENT, "The form is too large.", "Send less.")
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=500)
        except ValueError:
            raise ToolError(
                Code.INVALID_ARGUMENT, "That is no form of a page.", "Load the page again."
            ) from None
        form = Form(pairs)
        await self.web.sessions.check(request, form.one("csrf"))
        return form

    async def _act(self, visit: Visit, act: Act) -> Response | None:
        """Do what a form asks for. None where its page is to be shown again, with what came."""
        to, said = await act(visit)
        if to is None:
            return None
        answer = RedirectResponse(inside(to), 303)
        if said:
            answer.set_cookie(
                SAID, quote(said[:600]), max_age=SAID_S, httponly=True, samesite="strict"
            )
        return answer

    # ---- answers

    async def _page(
        self, visit: Visit, template: str, shown: dict[str, Any], status: int = 200
    ) -> Response:
        said = unquote(visit.request.cookies.get(SAID, ""))
        pending = (await visit.waiting()).answer
        context = {
            "visit": visit,
            "caller": visit.caller,
            "path": visit.request.url.path,
            "csrf": await self.web.sessions.secret(visit.request),
            "waiting": sum(map(decides, pending["calls"])),
            "frozen": pending.get("frozen"),
            "said": said,
            "ask": self.web.conversations is not None,
        }
        page = self.environment.get_template(template).render(context | shown)
        answer = HTMLResponse(page, status)
        if said:
            answer.delete_cookie(SAID)
        return answer

    async def _problem(
        self, visit: Visit | None, problem: Problem, request: Request | None = None
    ) -> Response:
        status = STATUS[problem.code]
        if visit:
            return await self._page(visit, "problem.html", {"problem": problem}, status)
        assert request is not None
        return await self.bare(request, "broken.html", {"problem": problem}, status)

    async def bare(
        self, request: Request, template: str, shown: dict[str, Any], status: int
    ) -> Response:
        context = shown | {"csrf": await self.web.sessions.secret(request)}
        return HTMLResponse(self.environment.get_template(template).render(context), status)


def inside(path: str) -> str:
    """A path of this site, or the first page."""
    return path if re.fullmatch(r"/(?![/\\])[\x21-\x7e]*", path) else "/"
