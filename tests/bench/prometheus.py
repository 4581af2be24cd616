"""A real Prometheus with a week of five hundred workloads: our analysis, against KRR's asking."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import numpy as np
import requests

from server.app import make_advice
from server.journal import Journal
from server.records import Records
from server.settings import Settings
from tests.bench.measuring import Figure, Pair, ratio
from tests.bench.processes import World, first_line, process
from tests.recommender import real
from tools.directory import TenantDirectory

WORKLOADS, NAMESPACES, DAYS, SCRAPED_S = 500, 20, 7, 30
DAY, BLOCK_S = 86_400, 7200
SIDE_BY_SIDE, TURNS = 6, 2
CPU, MEMORY = "container_cpu_usage_seconds_total", "container_memory_working_set_bytes"


async def prometheus(here: World) -> list[Figure]:
    """The first analysis of everything, and the next day's; and what Prometheus needs for it."""
    if not real.INSTALLED:
        print("Prometheus is not installed: its figures are left out.")
        return []
    return await asyncio.to_thread(figures, here.home / "prometheus")


def figures(home: Path) -> list[Figure]:
    # What is imported at first use is not what is measured.
    import recommender.analysis
    import recommender.reading
    import recommender.strategies.rightsize

    assert recommender.reading
    assert recommender.analysis
    assert recommender.strategies.rightsize
    home.mkdir()
    data, now = home / "data", time.time() - 120
    furnish(data, now)
    whole: list[Pair] = []
    next_day: list[Pair] = []
    highest = []
    for n in range(TURNS):
        # Each turn finds a server that has just started: no earlier query helps, or weighs on it.
        with real.server(data) as (url, number):
            rest = _resident(number)
            with _Peak(number) as peak:
                first, then = _ours(url, home / f"state-{n}", now)
            highest.append(peak.mb - rest)
            theirs = _krr(url, now)
        whole.append((first, theirs))
        next_day.append((then, theirs))
    about = f"{WORKLOADS} workloads, {DAYS} days, every {SCRAPED_S} s"
    memory = "Prometheus's memory at its highest meanwhile, above its rest"
    return [
        ratio(f"the whole analysis from nothing ({about}), against KRR's way to ask", 0.25, whole),
        ratio("the next day's analysis, against the same", 0.1, next_day),
        Figure(memory, max(highest), 300, unit=" MB"),
        _many(home),
    ]  # fmt: skip


def _many(home: Path) -> Figure:
    """Our own memory where there are many workloads; how many days are read makes no difference."""
    from tests.bench import many_workloads as many

    log = home / "many.log"
    with process("-m", many.__name__, "serve", log=log) as server:
        url = first_line(server, log)
        with process("-m", many.__name__, "read", url, "1", log=log) as reader:
            mb = float(first_line(reader, log))
    what = f"our memory at its highest, reading a day of {many.WORKLOADS:,} workloads"
    return Figure(what, mb, 1024, unit=" MB")


def _ours(url: str, home: Path, now: float) -> tuple[float, float]:
    """Seconds for the whole analysis (reading, strategies, recording) of a week that nothing is
    known of, and for that of the last day where the others are known."""
    return (
        asyncio.run(_analysed(url, home / "whole", [now])),
        asyncio.run(_analysed(url, home / "daily", [now - DAY, now])),
    )


async def _analysed(url: str, home: Path, moments: list[float]) -> float:
    """Seconds of the last of these analyses, each at its moment, by one who knows nothing yet."""
    home.mkdir(parents=True)
    settings = Settings(state=home, prometheus={"url": url, "every_h": 0})
    now, took = moments[0], 0.0

    def clock() -> datetime:
        return datetime.fromtimestamp(now, UTC)

    async with AsyncExitStack() as stack:
        journal = await Journal.open(settings.database_url)
        stack.push_async_callback(journal.close)
        nobody = TenantDirectory({}, time.monotonic)
        made = await make_advice(settings, stack, journal, Records(journal, clock), nobody, clock)
        assert made is not None
        for now in moments:  # noqa: B007 -- the clock tells it
            began = time.perf_counter()
            run = await made[0].run("bench")
            took = time.perf_counter() - began
            assert (run.status, run.workloads) == ("complete", WORKLOADS), run
            assert run.opened + run.unchanged + run.replaced >= WORKLOADS, run
    return took


def _krr(url: str, now: float) -> float:
    """The four queries that KRR's simple strategy sends for each workload; seconds for all."""
    span = f"[{DAYS}d:75s]"
    with requests.Session() as session, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        session.trust_env = False

        def ask(n: int) -> None:
            where = f'{{namespace="{_namespace(n)}", pod=~"{_pod(n)}", container="app"}}'
            by = "by (container, pod, job)"
            for expr in (
                f"quantile_over_time(0.95, max(rate({CPU}{where}[75s])) {by}{span})",
                f"count_over_time(max({CPU}{where}) {by}{span})",
                f"max_over_time(max({MEMORY}{where}) {by}{span})",
                f"count_over_time(max({MEMORY}{where}) {by}{span})",
            ):
                asked = {"query": expr, "time": str(now)}
                answer = session.post(f"{url}/api/v1/query", data=asked, timeout=60)
                assert len(answer.json()["data"]["result"]) == 1, answer.text

        began = time.perf_counter()
        list(pool.map(ask, range(WORKLOADS)))
        return time.perf_counter() - began


def furnish(data: Path, now: float) -> None:
    """A week of blocks. A file for each, because promtool reads all of it once for every block."""
    starts = range(int((now - DAYS * DAY) // BLOCK_S), int(now // BLOCK_S) + 1)
    with ProcessPoolExecutor(2) as pool:
        made = [pool.submit(_block, data, start * BLOCK_S, now) for start in starts]
        for block in made:
            block.result(120)


def _block(data: Path, start: float, now: float) -> None:
    part = data.parent / f"part-{start}"
    real.write(part, _scraped(np.arange(start, min(start + BLOCK_S, now), SCRAPED_S)))
    data.mkdir(exist_ok=True)
    for block in part.iterdir():
        block.rename(data / block.name)
    part.rmdir()


def _scraped(times: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Iterator[real.Scraped]:
    """CPU and memory that go by the hour of the day, each workload in its own measure."""
    # A counter that has grown since 1970 as if all days had been like these.
    day = 2 * np.pi * times / DAY
    for metric in (CPU, MEMORY):
        for n in range(WORKLOADS):
            labels = {"namespace": _namespace(n), "pod": _pod(n), "container": "app",
                      "node": f"node-{n % 40}", "job": "kubelet", "image": f"shop/app:{n}"}  # fmt: skip
            noise = 0.5 + np.sin(times * (n + 1)) / 2
            if metric == CPU:
                mean = 0.02 + n % 50 / 100
                grown = (times - 1.6e9) * mean + mean / 2 * DAY / (2 * np.pi) * np.sin(day + n)
                values = np.round(grown + noise * mean, 2)
            else:
                values = np.round(
                    (50e6 + n % 40 * 2e7) * (1 + 0.2 * np.sin(day + n) + 0.05 * noise)
                )
            yield metric, labels, times, values


def _namespace(n: int) -> str:
    return f"tenant-{n % NAMESPACES}"


def _pod(n: int) -> str:
    return f"service{n}-7d9c5b8f6d-x2x4z"


def _resident(number: int) -> float:
    """MB of memory that a process holds."""
    for line in Path(f"/proc/{number}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


class _Peak:
    """The most memory that a process holds while this is entered."""

    def __init__(self, number: int) -> None:
        self.number, self.mb = number, 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.mb = max(self.mb, _resident(self.number))

    def __enter__(self) -> "_Peak":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
