"""The paths beside the tools'. Most are one tool: their query, or their body, is its arguments."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from server.doors.http import problem
from server.doors.pictures import MEDIA, Format, picture
from server.doors.rest import chat, infrastructure, signing_in
from server.doors.rest.calling import answer, body_of, options_of, page
from server.doors.rest.inside import JSON, Inside, caller_of
from server.doors.rest.overview import Overview, overview
from tools.calls import Caller, Gate, Outcome
from tools.errors import Code, ToolError
from tools.schemas import compact
from tools.tool import catalog

Schema = Mapping[str, Any]
DARK: Schema = {"type": "object", "properties": {"dark": {"type": "boolean"}}}
Serve = Callable[[Inside, Request], Awaitable[Response]]


@dataclass(frozen=True)
class Page:
    """A path, and what is to be known of it: its query, the body it takes and what it answers, as
    JSON schemas. What `changes` something answers an outcome, and takes options of all calls."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    name: str
    summary: str
    serve: Serve
    answers: Schema | None = None
    query: Schema = field(default_factory=dict)
    body: Schema | None = None
    anybody: bool = False  # before one has signed in
    media: str = JSON

    @property
    def changes(self) -> bool:
        return self.method != "GET" and self.answers is None


async def _shown(inside: Inside, request: Request, *, tool: str) -> Response:
    """A tool that reads, with the path and the query for arguments."""
    caller = await caller_of(inside, request, tool)
    given = {k: v for k, v in request.query_params.items() if v} | request.path_params
    outcome = await inside.gate.call(caller, tool, given)
    return problem(outcome.error) if outcome.error else page(request, outcome.answer)


async def _pictured(inside: Inside, request: Request, *, format: Format) -> Response:
    """What a recommendation is about, drawn; in the colours of the night with `dark`."""
    caller = await caller_of(inside, request, "recommendation_picture")
    dark = request.query_params.get("dark", "").lower()
    if dark not in ("", "1", "true", "0", "false"):
        said = "`dark` is true or false."
        raise ToolError(Code.INVALID_ARGUMENT, said, "Leave it out for light.")
    night = dark in ("1", "true")
    drawn = await picture(inside.gate, caller, request.path_params["id"], format, night)
    headers = {"Cache-Control": "private, max-age=60", "Vary": "Authorization, Cookie"}
    return Response(drawn, 200, headers, MEDIA[format])


async def _done(inside: Inside, request: Request, *, tool: str) -> Response:
    """A tool that changes something, with the path and the body for arguments."""
    caller = await caller_of(inside, request, tool)
    given = {**await body_of(request), **request.path_params}
    return answer(await inside.gate.call(caller, tool, given, **options_of(request)))


async def _made(
    inside: Inside,
    request: Request,
    *,
    make: Callable[[Gate, Caller, Mapping[str, str]], Awaitable[Any]],
) -> Response:
    """What is put together from several tools."""
    caller = await caller_of(inside, request)
    made = await make(inside.gate, caller, request.query_params)
    return page(request, made.model_dump(mode="json", exclude_none=True))


async def _instructed(inside: Inside, request: Request, *, verb: str) -> Response:
    """Starts, stops or deletes a piece of infrastructure."""
    where = request.path_params
    tool, which = infrastructure.instruction(verb, where["type"], where["id"])
    caller = await caller_of(inside, request, tool)
    body = await body_of(request)
    outcome: Outcome = await inside.gate.call(
        caller, tool, {**body, **which}, **options_of(request)
    )
    return answer(outcome)


def _of_tool(path: str, tool: str, summary: str) -> Page:
    info = catalog()[tool].info()
    return Page(
        "GET",
        path,
        tool,
        summary,
        partial(_shown, tool=tool),
        info.output_schema,
        info.input_schema,
    )


def _by_tool(
    path: str,
    tool: str,
    summary: str,
    method: Literal["POST", "PUT", "DELETE"] = "POST",
) -> Page:
    serve = partial(_done, tool=tool)
    schema = catalog()[tool].info().input_schema
    named = [name for name in schema["properties"] if f"{{{name}}}" in path]
    rest = {name: of for name, of in schema["properties"].items() if name not in named}
    body = {"type": "object", "properties": rest} if rest else None
    return Page(method, path, tool, summary, serve, body=body)


def _signing(what: str, summary: str, serve: Serve, takes: Any, answers: Any) -> Page:
    body, told = signing_in.schema(takes), signing_in.schema(answers)
    path = f"/api/v1/auth/{what}"
    return Page("POST", path, what, summary, serve, told, body=body, anybody=True)


def _of_infrastructure(verb: str, method: Literal["POST", "DELETE"], summary: str) -> Page:
    path = "/api/v1/infrastructure/{type}/{id}" + (f"/{verb}" if method == "POST" else "")
    serve = partial(_instructed, verb=verb)
    return Page(
        method, path, f"infrastructure_{verb}", summary, serve, body=infrastructure.BODIES[verb]
    )


PAGES = (
    Page(
        "GET", "/api/v1/overview", "overview",
        "How the platform is, what was done lately, what is predicted, what is used now",
        partial(_made, make=overview), compact(Overview.model_json_schema()),
    ),
    _of_tool("/api/v1/status", "platform_status", "Health and connectivity"),
    _of_tool("/api/v1/metrics", "metrics_service", "CPU, memory and network of a service"),
    _of_tool("/api/v1/metrics/history", "metrics_history", "What was used in the past"),
    _of_tool("/api/v1/recommendations", "recommendation_list", "What should be changed, and why"),
    *(
        Page(
            "GET", f"/api/v1/recommendations/{{id}}/picture.{format}",
            f"recommendation_picture_{format}", f"What one is about, drawn ({format})",
            partial(_pictured, format=format), query=DARK, media=media,
        )
        for format, media in MEDIA.items()
    ),
    _by_tool(
        "/api/v1/recommendations/{id}/apply", "recommendation_apply", "Do what one recommends"
    ),
    _by_tool(
        "/api/v1/recommendations/{id}/reject", "recommendation_reject", "Turn one down"
    ),
    Page(
        "GET", "/api/v1/infrastructure", "infrastructure",
        "All that runs, in clusters and in AWS",
        partial(_made, make=infrastructure.listed),
        compact(infrastructure.Infrastructure.model_json_schema()),
        compact(infrastructure.Asked.model_json_schema()),
    ),
    _of_infrastructure("start", "POST", "Start it"),
    _of_infrastructure("stop", "POST", "Stop it"),
    _of_infrastructure("delete", "DELETE", "Delete it"),
    Page("POST", "/api/v1/chat", "chat", "Ask the agent", chat.ask, chat.REPLY, body=chat.MESSAGE),
    Page("GET", "/api/v1/chat/{id}", "chat_get", "A conversation of yours", chat.show, chat.TURNS),
    Page(
        "POST", "/api/v1/chat/{id}/cancel", "chat_cancel", "End the answer that is being given",
        chat.cancel, chat.CANCELLED,
    ),
    _of_tool("/api/v1/alerts", "alert_list", "What Alertmanager told of, and what was found"),
    _of_tool("/api/v1/logs", "audit_list", "The audit trail, the newest first"),
    _signing(
        "register", "Register, with an invitation", signing_in.register,
        signing_in.Register, signing_in.Registered,
    ),
    _signing("login", "Sign in", signing_in.login, signing_in.Login, signing_in.Tokens),
    _signing("refresh", "Go on", signing_in.refresh, signing_in.Refresh, signing_in.Tokens),
    _signing("logout", "Sign out", signing_in.logout, signing_in.Logout, signing_in.Done),
    _signing(
        "password", "Change one's password", signing_in.change_password,
        signing_in.Change, signing_in.Done,
    ),
    _of_tool("/api/v1/users/me", "account_get", "Who I am"),
    _by_tool("/api/v1/users/me", "account_update", "Change what I am called", "PUT"),
    _of_tool("/api/v1/users", "user_list", "Everybody who signs in"),
    Page(
        "POST", "/api/v1/users", "user_create", "Invite somebody; the answer has the code",
        signing_in.invite, body=catalog()["user_create"].info().input_schema,
    ),
    _of_tool("/api/v1/users/{id}", "user_get", "One user"),
    _by_tool("/api/v1/users/{id}", "user_update", "Change a user", "PUT"),
    _by_tool("/api/v1/users/{id}", "user_delete", "Delete a user", "DELETE"),
    _of_tool("/api/v1/workspaces", "workspace_list", "Workspaces"),
    _by_tool("/api/v1/workspaces", "workspace_create", "Create a workspace"),
    _of_tool("/api/v1/workspaces/{id}", "workspace_get", "One workspace"),
    _by_tool("/api/v1/workspaces/{id}", "workspace_update", "Change a workspace", "PUT"),
    _by_tool("/api/v1/workspaces/{id}", "workspace_delete", "Delete a workspace", "DELETE"),
    _of_tool("/api/v1/calls/{id}", "call_get", "One call: where what waits or runs is followed"),
)  # fmt: skip
