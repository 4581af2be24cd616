"""Coming in and going out: with a token, a password, an invitation, or an identity provider."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from server.doors.http import STATUS
from server.doors.web.pages import Pages, inside
from server.doors.web.sessions import LASTS_S
from server.doors.web.visits import Form
from tools.calls import Problem
from tools.errors import Code, ToolError

CARRIED, CARRIED_S = "pilothouse_signing_in", 600
MOST_EMAIL, MOST_PASSWORD, MOST_NAME = 254, 1024, 200


def entrances(pages: Pages) -> list[Route]:
    def at(
        path: str, answer: Callable[[Pages, Request], Awaitable[Response]], *methods: str
    ) -> Route:
        return Route(path, pages.guarded(partial(answer, pages)), methods=methods)

    return [
        at("/signin", sign_in, "GET", "POST"),
        at("/register", register, "GET", "POST"),
        at("/login/oidc", to_provider, "GET"),
        at("/callback", from_provider, "GET"),
        at("/signout", sign_out, "POST"),
    ]


async def sign_in(pages: Pages, request: Request) -> Response:
    web, goes_to, refused = pages.web, inside(request.query_params.get("next", "/")), None
    if request.method == "POST":
        form = await pages.form(request)
        goes_to = inside(form.one("next"))
        try:
            return await _in(pages, request, await _token(pages, form), goes_to)
        except ToolError as error:
            refused = Problem.of(error)
    shown = {
        "next": goes_to,
        "refused": refused,
        "passwords": web.sign_in is not None and web.sign_in.any(),
        "registers": web.sign_in is not None,
        "provider": web.code_flow is not None,
    }
    return await pages.bare(request, "signin.html", shown, _status(refused))


async def register(pages: Pages, request: Request) -> Response:
    """Whoever registers is in at once: they have just shown that they know their password."""
    here, form, refused = pages.web.sign_in, Form([]), None
    if here is None:
        raise ToolError(Code.NOT_FOUND, "Nobody registers here.", "Sign in the way you know.")
    if request.method == "POST":
        form = await pages.form(request)
        email, password = form.one("email")[:MOST_EMAIL], form.one("password")[:MOST_PASSWORD]
        try:
            name, invitation = form.one("name")[:MOST_NAME], form.one("invitation").strip()
            await here.register(email, password, name, invitation[:MOST_PASSWORD])
            return await _in(pages, request, await _token(pages, form), "/")
        except ToolError as error:
            refused = Problem.of(error)
    shown = {"refused": refused, "form": form, "open": here.open}
    return await pages.bare(request, "register.html", shown, _status(refused))


async def to_provider(pages: Pages, request: Request) -> Response:
    flow = pages.web.code_flow
    if flow is None:
        raise _no_provider()
    goes_to = inside(request.query_params.get("next", "/"))
    to, carried = await flow.begin(str(request.base_url), goes_to)
    gone = RedirectResponse(to, 303)
    # Lax: it is to come along when the provider sends the browser back.
    gone.set_cookie(
        CARRIED, carried, max_age=CARRIED_S, path="/callback", httponly=True,
        samesite="lax", secure=request.url.scheme == "https",
    )  # fmt: skip
    return gone


async def from_provider(pages: Pages, request: Request) -> Response:
    asked, carried = request.query_params, request.cookies.get(CARRIED, "")
    flow = pages.web.code_flow
    if flow is None:
        raise _no_provider()
    token, goes_to = await flow.finish(
        str(request.base_url), asked.get("state", ""), asked.get("code", ""), carried
    )
    # Still on the way from another site, where our cookie would not come along.
    page = pages.environment.get_template("again.html").render(here=inside(goes_to), mark="")
    shown = HTMLResponse(page)
    await pages.web.sessions.begin(shown, request, token)
    shown.delete_cookie(CARRIED, path="/callback")
    return shown


async def sign_out(pages: Pages, request: Request) -> Response:
    await pages.form(request)
    gone = RedirectResponse("/signin", 303)
    await pages.web.sessions.end(gone, request)
    return gone


async def _in(pages: Pages, request: Request, token: str, goes_to: str) -> Response:
    answer = RedirectResponse(goes_to, 303)
    await pages.web.sessions.begin(answer, request, token)
    return answer


async def _token(pages: Pages, form: Form) -> str:
    """The token that somebody has, or gets for a password. Raises `ToolError`."""
    web = pages.web
    if web.sign_in and (email := form.one("email")):
        password = form.one("password")[:MOST_PASSWORD]
        lasts = timedelta(seconds=LASTS_S)
        return (await web.sign_in.login(email[:MOST_EMAIL], password, lasts))[1].access
    token = form.one("token").strip()
    if await web.who(token):
        return token
    raise ToolError(
        Code.UNAUTHENTICATED,
        "This token lets nobody in: it is unknown, expired or revoked.",
        "An operator makes one with `pilothouse token create --subject YOU`.",
    )


def _status(refused: Problem | None) -> int:
    return STATUS[refused.code] if refused else 200


def _no_provider() -> ToolError:
    return ToolError(Code.NOT_FOUND, "There is no identity provider here.", "Sign in another way.")
