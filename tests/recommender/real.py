"""A real Prometheus on loopback, over blocks that a test writes: what was scraped, in the past."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

INSTALLED = bool(shutil.which("prometheus") and shutil.which("promtool"))
# There it is brought along, so that a skip cannot hide anything.
REQUIRED = bool(os.environ.get("CI"))
STARTED_S = 30.0
# A series of a metric: its labels, and times with the values then.
Scraped = tuple[str, dict[str, str], Sequence[float], Sequence[float]]


def write(path: Path, scraped: Iterable[Scraped]) -> None:
    """Blocks of all this under `path`."""
    path.mkdir(parents=True, exist_ok=True)
    text = path.with_suffix(".openmetrics")
    with text.open("w") as file:
        for name, labels, times, values in scraped:
            told = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
            head = f"{name}{{{told}}}"
            file.writelines(
                f"{head} {value!r} {at:.3f}\n"
                for at, value in zip(map(float, times), map(float, values), strict=True)
            )
        file.write("# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(path)]
    made = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=300
    )
    assert made.returncode == 0, made.stderr
    text.unlink()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@contextmanager
def server(data: Path, *more: str) -> Iterator[tuple[str, int]]:
    """Its URL and process number while it is entered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    config = data.with_suffix(".yml")
    config.write_text("{}\n")
    url = f"http://127.0.0.1:{port}"
    log = data.with_suffix(".log")
    with (
        log.open("w") as out,
        subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={data}",
                "--storage.tsdb.retention.time=10y",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
                *more,
            ],
            stdout=out,
            stderr=out,
        ) as run,
    ):
        try:
            _ready(url, log)
            yield url, run.pid
        finally:
            run.terminate()
            try:
                run.wait(20)
            except subprocess.TimeoutExpired:
                run.kill()


def _ready(url: str, log: Path) -> None:
    end = time.monotonic() + STARTED_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
