"""Ten thousand workloads, read in a process of its own: how much memory that takes.

`python -m tests.bench.many_workloads serve` is a server that has them, as far as our queries go;
`… read URL` reads them, and prints the most memory that it held, in MB.
"""

import itertools
import random
import re
import resource
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

WORKLOADS, NAMESPACES, PODS = 10_000, 200, 2
DAY = 86_400
NAMES = "container_cpu_usage_seconds_total container_memory_working_set_bytes kube_pod_owner kube_replicaset_owner kube_pod_container_info kube_deployment_spec_replicas"
NAMESPACE = re.compile(r"tenant-\d+")


def serve() -> None:
    """Until it is ended."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            self.answer(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def answer(self, params: str) -> None:
            asked = {name: values[0] for name, values in parse_qs(params).items()}
            data = _data(urlsplit(self.path).path, asked).encode()
            body = b'{"status":"success","data":' + data + b"}"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def _data(path: str, asked: dict[str, str]) -> str:
    expr = asked.get("query", asked.get("match[]", ""))
    if path.endswith("/__name__/values"):
        return _list(f'"{name}"' for name in NAMES.split())
    if path.endswith("/values"):
        return _list(f'"tenant-{n}"' for n in range(NAMESPACES))
    if expr == "time()":
        return f'{{"resultType":"scalar","result":[{time.time()},"{time.time()}"]}}'
    if path.endswith("/series"):
        return _list(_labels(expr, "", *_owned(expr)))
    if path.endswith("/query"):
        return f'{{"resultType":"vector","result":{_list(_now(expr))}}}'
    start, end, step = (float(asked[name]) for name in ("start", "end", "step"))
    of = "{:.0f}" if "memory" in expr else "{:.14f}"
    size = 1e9 if "memory" in expr else 1.0
    # Fifty days to choose from: making one for every pod would be what is measured.
    steps = [f"{start + n * step:.0f}" for n in range(int((end - start) / step) + 1)]
    made = [
        _list(f'[{at},"{of.format(size * random.random())}"]' for at in steps) for _ in range(50)
    ]
    pods = _labels(expr, '"container":"app"')
    found = _list(
        f'{{"metric":{one},"values":{values}}}'
        for one, values in zip(pods, itertools.cycle(made), strict=False)
    )
    return f'{{"resultType":"matrix","result":{found}}}'


def _now(expr: str) -> "list[str]":
    if expr.startswith("count by (namespace)"):
        each = WORKLOADS // NAMESPACES * PODS
        return [
            f'{{"metric":{{"namespace":"tenant-{n}"}},"value":[0,"{each}"]}}'
            for n in range(NAMESPACES)
        ]
    if "spec_replicas" in expr:
        return [
            f'{{"metric":{{"namespace":"{where}","deployment":"service-{n}"}},"value":[0,"{PODS}"]}}'
            for where, n in _workloads(expr)
        ]
    return [f'{{"metric":{one},"value":[0,"1"]}}' for one in _labels(expr, '"container":"app"')]


def _owned(expr: str) -> "tuple[str, str]":
    of = "Deployment" if "replicaset" in expr else "ReplicaSet"
    return f'"owner_kind":"{of}"', "service-{n}" if of == "Deployment" else "service-{n}-7d9c5b8f6d"


def _labels(expr: str, more: str, kind: str = "", owner: str = "") -> "list[str]":
    found = []
    for where, n in _workloads(expr):
        told = [f'"namespace":"{where}"', f'"replicaset":"service-{n}-7d9c5b8f6d"', more, kind]
        if owner:
            told.append(f'"owner_name":"{owner.format(n=n)}"')
        for pod in range(PODS):
            told_of_pod = [*told, f'"pod":"service-{n}-7d9c5b8f6d-x2x4{pod}"']
            found.append(f"{{{','.join(word for word in told_of_pod if word)}}}")
    return found


def _workloads(expr: str) -> "list[tuple[str, int]]":
    each = WORKLOADS // NAMESPACES
    return [(where, n) for where in dict.fromkeys(NAMESPACE.findall(expr)) for n in range(each)]


def _list(of: object) -> str:
    return f"[{','.join(of)}]"  # type: ignore[call-overload, no-any-return]


def read_all(url: str, days: float) -> None:
    from recommender.history import History
    from recommender.prometheus import Prometheus
    from recommender.reading import read
    from recommender.workloads import workloads

    with tempfile.TemporaryDirectory() as home:
        history = History(Path(home) / "history.duckdb")
        run = read(Prometheus(url), history, now=time.time(), window=days * DAY)
        assert run.status == "whole", run
        count = sum(1 for one in workloads(history) if one.containers)
        assert count == WORKLOADS, count
        size = (Path(home) / "history.duckdb").stat().st_size / 2**20
        print(
            f"{run.points:,} points in {run.seconds:.0f} s, history of {size:.0f} MB",
            file=sys.stderr,
        )
        history.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        read_all(sys.argv[2], float(sys.argv[3]))
