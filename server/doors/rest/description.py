"""OpenAPI: every path with what it takes and all that it may answer, and an example of each."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from server.doors.http import STATUS
from server.doors.rest.calling import MOST_WAIT_S, NDJSON
from server.doors.rest.examples import example
from server.doors.rest.inside import JSON
from tools.calls import Outcome, State
from tools.errors import Code
from tools.schemas import compact
from tools.tool import Effect, Tool, catalog

if TYPE_CHECKING:
    from server.doors.rest.pages import Page

Json = dict[str, Any]
ABOUT = """Everything that Pilothouse can do. What changes something answers 200 with its outcome,
or 202 while it waits for somebody or still runs, and `Location` says where to follow it. What went
wrong is a problem (RFC 9457) with a `code` and a `hint`: what to do next."""
PROBLEM: Json = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "hint"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": [code.value for code in Code]},
        "hint": {"type": "string"},
        "outcome": {"type": "object"},
    },
}
# Refused before a path is looked for: too large a body, a Host that is not ours.
EARLIER = {413: Code.INVALID_ARGUMENT, 421: Code.PERMISSION_DENIED}
TEXT = {"type": "string"}
REQUEST_ID = {"X-Request-Id": {"schema": TEXT, "description": "also in the server's log"}}
CHECKS: Json = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": TEXT, "checks": {"type": "object"}},
}


def description(version: str) -> Json:
    """The document as JSON."""
    from server.doors.rest.pages import PAGES

    shared = _Shared()
    paths: dict[str, Json] = {}
    for path, tag, summary, answers in OTHERS:
        told = {"200": _content(answers, summary), **_problems(path)}
        operation = {"operationId": tag, "summary": summary, "tags": ["server"], "responses": told}
        paths[path] = {"get": operation | ({"security": []} if path.count("/") == 1 else {})}
    paths["/api/v1/events"] = {"get": EVENTS | {"responses": _events() | _problems()}}
    paths["/ready"]["get"]["responses"]["503"] = _content(CHECKS, "something does not answer")
    for page in PAGES:
        paths.setdefault(page.path, {})[page.method.lower()] = _page(page, shared)
    for tool in catalog().values():
        paths[f"/api/v1/tools/{tool.name}"] = {"post": _tool(tool, shared)}
    statuses = {status: code for code, status in STATUS.items()} | EARLIER
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pilothouse",
            "version": version,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": shared.schemas,
            "responses": {str(status): _problem(status, code) for status, code in statuses.items()},
        },
    }


class _Shared:
    """Schemas that are used more than once, and those that tools' schemas refer to."""

    def __init__(self) -> None:
        self.schemas: dict[str, Json] = {"Problem": PROBLEM}
        self.outcome = self.place("Outcome", compact(Outcome.model_json_schema()))
        self.schemas["Outcome"] = self.outcome
        self.outcome = {"$ref": "#/components/schemas/Outcome"}

    def place(self, name: str, schema: Mapping[str, Any]) -> Json:
        """The schema with its definitions among the document's."""
        names = {
            f"#/$defs/{d}": f"#/components/schemas/{name}_{d}" for d in schema.get("$defs", ())
        }
        for d, of in schema.get("$defs", {}).items():
            self.schemas[f"{name}_{d}"] = _renamed(of, names)
        return dict(_renamed({k: v for k, v in schema.items() if k != "$defs"}, names))


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {k: names.get(v, v) if k == "$ref" else _renamed(v, names) for k, v in node.items()}
    return [_renamed(v, names) for v in node] if isinstance(node, list) else node


def _tool(tool: Tool, shared: _Shared) -> Json:
    info = tool.info()
    operation = {
        "operationId": tool.name,
        "summary": tool.title,
        "description": tool.description,
        "tags": [tool.group],
        "requestBody": _body(shared.place(tool.name, info.input_schema)),
        "parameters": [] if tool.effect is Effect.STREAM else OPTIONS,
    }
    if tool.effect is Effect.STREAM:
        pieces = {"200": _content({}, "a line of JSON for each piece", NDJSON)}
        return operation | {"responses": pieces | _problems()}
    outcome = shared.outcome
    if tool.answer is not Outcome:
        answers = shared.place(f"{tool.name}_answer", info.output_schema)
        outcome = {
            "type": "object",
            "required": ["state", "tool", "answer"],
            "properties": {"state": {"const": State.SUCCEEDED}, "tool": TEXT, "answer": answers},
        }
    return operation | {"responses": _outcomes(outcome, tool.name) | _problems()}


def _page(page: "Page", shared: _Shared) -> Json:
    operation: Json = {
        "operationId": page.name + ("_page" if page.name in catalog() else ""),
        "summary": page.summary,
        "tags": [page.path.split("/")[3]],
        "parameters": _in_path(page.path) + _in_query(page),
    }
    if page.body:
        operation["requestBody"] = _body(shared.place(page.name + "_body", page.body))
        operation["requestBody"]["required"] = bool(page.body.get("required"))
    if page.anybody:
        told = _content(shared.place(page.name, page.answers or {}), page.summary)
        done = {"201" if page.name == "register" else "200": told}
        return operation | {"security": [], "responses": done | _problems()}
    if page.changes:
        operation["parameters"] += OPTIONS
        tool = page.name if page.name in catalog() else ""
        return operation | {"responses": _outcomes(shared.outcome, tool) | _problems()}
    if page.media != JSON:
        drawn = _content(TEXT, page.summary, page.media)
        return operation | {"responses": {"200": drawn} | _problems()}
    schema = shared.place(page.name + "_page", page.answers or {})
    if page.method != "GET":
        return operation | {"responses": {"200": _content(schema, page.summary)} | _problems()}
    operation["parameters"].append(_header("If-None-Match", 'the ETag: `W/"…"`'))
    headers = {"ETag": {"schema": TEXT}}
    answers = {
        "200": _content(schema, page.summary) | {"headers": REQUEST_ID | headers},
        "304": {"description": "it is as it was"},
    }
    return operation | {"responses": answers | _problems()}


def _outcomes(schema: Json, tool: str) -> Json:
    """What a call may answer. Its examples are those of a call that is done, and of one that
    waits."""
    done = _content(schema, "its outcome")
    if schema.get("$ref"):
        done["content"]["application/json"]["example"] = _outcome(State.SUCCEEDED, tool)
        done["headers"] = REQUEST_ID | {"Location": {"schema": TEXT, "description": "the call"}}
        waits = _content(schema, "it waits for somebody, or still runs: follow `Location`")
        waits["content"]["application/json"]["example"] = _outcome(State.AWAITING_APPROVAL, tool)
        waits["headers"] = done["headers"]
        return {"200": done, "202": waits}
    return {"200": done}


def _outcome(state: State, tool: str) -> Json:
    outcome = Outcome(state=state, tool=tool or "workload_stop", call_id="7687b5ab2a")
    return outcome.model_dump(mode="json", exclude_defaults=True)


def _content(schema: Json, said: str, media: str = "application/json") -> Json:
    shown = {"schema": schema} | ({"example": example(schema)} if schema.get("type") else {})
    return {"description": said, "content": {media: shown}, "headers": REQUEST_ID}


def _body(schema: Mapping[str, Any]) -> Json:
    shown = {"schema": dict(schema), "example": example(schema)}
    return {"required": bool(schema.get("required")), "content": {"application/json": shown}}


def _problems(path: str = "/api/v1/") -> Json:
    """A path outside of the API answers to everybody."""
    statuses = sorted({*STATUS.values(), *EARLIER}) if path.startswith("/api/") else [500]
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _events() -> Json:
    told = 'id: 5f0c9a2e-7\nevent: call\ndata: {"id":"a7687b5ab2","state":"running"}\n\n'
    stream = {"text/event-stream": {"schema": TEXT, "example": told}}
    return {"200": {"description": "it goes on until one of both ends it", "content": stream}}


def _problem(status: int, code: Code) -> Json:
    shown = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": "What went wrong.",
        "code": code.value,
        "hint": "What to do next.",
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    headers = dict(REQUEST_ID)
    if status in (429, 503):
        headers["Retry-After"] = {"schema": {"type": "integer"}, "description": "seconds"}
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": TEXT, "description": "`Bearer`"}
    return {
        "description": HTTPStatus(status).phrase,
        "content": {"application/problem+json": {"schema": schema, "example": shown}},
        "headers": headers,
    }


def _in_path(path: str) -> list[Json]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    schema = {"type": "string", "minLength": 1}
    return [
        {"name": n, "in": "path", "required": True, "schema": schema, "example": example(schema, n)}
        for n in names
    ]


def _in_query(page: "Page") -> list[Json]:
    of = page.query.get("properties", {})
    return [
        {"name": name, "in": "query", "schema": schema, "required": False}
        | ({"description": schema["description"]} if "description" in schema else {})
        for name, schema in of.items()
        if f"{{{name}}}" not in page.path
    ]


def _header(name: str, said: str) -> Json:
    return {"name": name, "in": "header", "schema": TEXT, "description": said}


OPTIONS: list[Json] = [
    {
        "name": "preview",
        "in": "query",
        "schema": {"type": "boolean"},
        "description": "only plan it, and show what it would do",
    },
    {
        "name": "wait",
        "in": "query",
        "schema": {"type": "number", "minimum": 0, "maximum": MOST_WAIT_S},
        "description": "seconds to wait for its end before answering 202",
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[ -~]+$"},
        "description": "sent again with the same key, it happens once",
    },
]
EVENTS: Json = {
    "operationId": "events",
    "summary": "What happens, as it does: server-sent events",
    "description": "Events are `call`, `progress`, `recommendation`, `metrics`, `log`, and `reset` "
    "(read all anew) and `dropped`. The same comes through a WebSocket at `/ws`.",
    "tags": ["live"],
    "parameters": [
        _header("Last-Event-ID", "reads on from behind this one"),
        {
            "name": "types",
            "in": "query",
            "schema": TEXT,
            "description": "some kinds only, with commas between",
            "example": "call,recommendation",
        },
        {
            "name": "job",
            "in": "query",
            "schema": TEXT,
            "description": "follow the log of this Job of a tenant",
            "example": "acme:hello",
        },
    ],
}
LIST = {"type": "object", "required": ["tools"], "properties": {"tools": {"type": "array"}}}
OTHERS: tuple[tuple[str, str, str, Json], ...] = (
    ("/health", "health", "Does the process answer?", CHECKS),
    ("/ready", "ready", "Does all answer that it needs?", CHECKS),
    ("/api/v1/caller", "caller", "Who the token says that you are", {"type": "object"}),
    ("/api/v1/tools", "tools", "The tools that you may be shown", LIST),
)
