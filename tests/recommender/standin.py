"""A Prometheus that can be told to have bad days."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from server.sandbox.prometheus import PracticePrometheus
from server.sandbox.usage import Life

LIVES = (
    Life("shop", "Deployment", "web", replicas=2, cpu=0.2),
    Life("shop", "StatefulSet", "db", cpu=0.1, disk=(1e9, 5e8, 1e7)),
    Life("bank", "Deployment", "ledger", cpu=0.3),
)
Params = Mapping[str, list[str]]


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: str
    body: str
    headers: Mapping[str, str]

    @property
    def params(self) -> Params:
        return parse_qs(self.body or self.query)

    @property
    def expr(self) -> str:
        return self.params.get("query", [""])[0]


@dataclass
class Bad:
    """An answer as it should not be. With `cut` it says that it is longer than it is."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    pause: float = 0.0


def told(status: int, kind: str, error: str, **headers: str) -> Bad:
    """An error as Prometheus tells it."""
    body = {"status": "error", "errorType": kind, "error": error}
    return Bad(status, json.dumps(body), {name.replace("_", "-"): v for name, v in headers.items()})


class StandIn(PracticePrometheus):
    """`fault` is asked about each request, and answers what goes wrong with it, if anything."""

    def __init__(self, **more: object) -> None:
        super().__init__(LIVES, **more)  # type: ignore[arg-type]
        self.asked: list[Asked] = []
        self.fault: Callable[[Asked], Bad | None] = lambda asked: None

    def serve(self, request: BaseHTTPRequestHandler, params: str) -> None:
        parts = urlsplit(request.path)
        body = params if request.command == "POST" else ""
        asked = Asked(request.command, parts.path, parts.query, body, dict(request.headers))
        self.asked.append(asked)
        bad = self.fault(asked)
        if bad is None:
            return super().serve(request, params)
        time.sleep(bad.pause)
        content = bad.body.encode()
        request.send_response(bad.status)
        for name, value in bad.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content) + 1000 * bad.cut))
        request.end_headers()
        request.wfile.write(content)
        request.close_connection = bad.cut
        return None
