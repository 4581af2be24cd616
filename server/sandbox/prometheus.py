"""A practice Prometheus: the HTTP API over made-up usage, without an engine for PromQL.

It knows the shapes of expressions that Pilothouse sends, and plain selectors; anything else it
refuses, and says what it knows.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .exposition import Exposition
from .expressions import Evaluation, Refused
from .usage import Live, Lives

MOST_STEPS = 11_000
SOON = 300.0
Params = Mapping[str, list[str]]
NUMBER = re.compile(r"^\d+(\.\d+)?$")


class PracticePrometheus:
    """Serves on a port of this machine's loopback while it is entered.

    `live` says what the practice cluster has made of a workload (`replicas`, `cpu_request`, …), so
    that what is changed there shows here.
    """

    def __init__(
        self,
        lives: Lives,
        *,
        live: Live | None = None,
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.exposition = Exposition(lives, live)
        self.clock = clock
        self._port = port

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> PracticePrometheus:
        practice = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_GET(self) -> None:
                practice.serve(self, urlsplit(self.path).query)

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                practice.serve(self, self.rfile.read(length).decode())

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes away in the middle is its own affair."""
                if not isinstance(sys.exc_info()[1], ConnectionError):
                    super().handle_error(request, client_address)

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, request: BaseHTTPRequestHandler, params: str) -> None:
        """Answer a request, given its parameters."""
        status, answer = self.answer(urlsplit(request.path).path, parse_qs(params))
        body = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def answer(self, path: str, params: Params) -> tuple[int, dict[str, Any]]:
        """Status and body for a request."""
        try:
            return 200, {"status": "success", "data": self._data(path, params)}
        except Refused as refused:
            kind = {400: "bad_data", 404: "not_found"}.get(refused.status, "execution")
            return refused.status, {"status": "error", "errorType": kind, "error": str(refused)}

    def _data(self, path: str, params: Params) -> Any:
        now = self.clock()
        match path.removeprefix("/api/v1/").split("/"):
            case ["query"]:
                return self._query(_one(params, "query"), _time(params, "time", now))
            case ["query_range"]:
                return self._range(params)
            case ["series"]:
                return list(self._series(params, now))
            case ["labels"]:
                names = {name for labels in self._all(params, now) for name in labels}
                return sorted(names | {"__name__"})
            case ["label", "__name__", "values"]:
                return self.exposition.metrics
            case ["label", name, "values"]:
                return sorted({v for labels in self._all(params, now) if (v := labels.get(name))})
            case ["status", "buildinfo"]:
                return {"version": "3.0.0-practice", "revision": "", "branch": "", "goVersion": ""}
        raise Refused(f"there is no {path} here", 404)

    def _query(self, expr: str, at: float) -> dict[str, Any]:
        evaluation = Evaluation(self.exposition, at, at, 1.0, self.clock())
        if expr.strip() == "time()":
            return {"resultType": "scalar", "result": [at, f"{at:.3f}"]}
        if NUMBER.match(expr.strip()):
            return {"resultType": "scalar", "result": [at, expr.strip()]}
        result = [
            {"metric": labels, "value": [at, _told(values[0])]}
            for labels, values in evaluation.of(expr)
            if values[0] == values[0]
        ]
        return {"resultType": "vector", "result": result}

    def _range(self, params: Params) -> dict[str, Any]:
        start, end, step = (_time(params, name) for name in ("start", "end", "step"))
        if step <= 0 or end < start:
            raise Refused("the step must be above zero, and the end after the start", 400)
        if (end - start) / step > MOST_STEPS:
            raise Refused("exceeded maximum resolution of 11,000 points per timeseries", 400)
        evaluation = Evaluation(self.exposition, start, end, step, self.clock())
        result = []
        for labels, values in evaluation.of(_one(params, "query")):
            pairs = [
                [at, _told(value)]
                for at, value in zip(evaluation.at.tolist(), values.tolist(), strict=True)
                if value == value
            ]
            if pairs:
                result.append({"metric": labels, "values": pairs})
        return {"resultType": "matrix", "result": result}

    def _series(self, params: Params, now: float) -> Iterator[dict[str, str]]:
        start, end = _time(params, "start", now - SOON), _time(params, "end", now)
        evaluation = Evaluation(self.exposition, start, end, max(1.0, (end - start) / 500), now)
        for match in params.get("match[]", ()):
            for labels, _ in evaluation.of(match):
                yield labels

    def _all(self, params: Params, now: float) -> Iterator[dict[str, str]]:
        if "match[]" not in params:
            params = {**params, "match[]": self.exposition.metrics}
        return self._series(params, now)


def _one(params: Params, name: str) -> str:
    try:
        return params[name][0]
    except KeyError:
        raise Refused(f"invalid parameter {name!r}: it is missing", 400) from None


def _time(params: Params, name: str, otherwise: float | None = None) -> float:
    if name not in params and otherwise is not None:
        return otherwise
    try:
        return float(_one(params, name))
    except ValueError:
        raise Refused(f"invalid parameter {name!r}: seconds are understood here", 400) from None


def _told(value: float) -> str:
    return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
