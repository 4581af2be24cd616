"""Reading a real Prometheus into the history, on good days and on bad ones."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from recommender.answers import Limits
from recommender.history import History, Key
from recommender.model import RecommenderError, Series
from recommender.prometheus import Prometheus
from recommender.queries import Queries
from recommender.reading import Run, read
from recommender.workloads import workloads
from tests.recommender import real, shop
from tests.recommender.conftest import Scraped
from tests.recommender.standin import Asked, Bad, StandIn, told

DAY, HOUR = 86_400, 3600
READY = ("replicas-daemonset", "replicas-statefulset")
WEB = ("shop", "Deployment", "web")


def past(
    history: History, namespace: str, kind: str, name: str, container: str, metric: str
) -> Series:
    keys = history.keys(namespace)
    number = keys[Key(namespace, kind, name, container, metric)]
    return history.series([number], time.time() - 3 * DAY, time.time())[number]


def known(series: Series) -> np.ndarray:
    return series.values[~np.isnan(series.values)]


def everything(history: History) -> dict[Key, list[float]]:
    """All that is in a history, to compare two of them."""
    keys = {key: n for name in ("shop", "bank", shop.ODD) for key, n in history.keys(name).items()}
    found = history.series(keys.values(), time.time() - 3 * DAY, time.time() + DAY)
    return {
        key: np.nan_to_num(found[n].values, nan=-1).tolist()
        for key, n in keys.items()
        if n in found
    }


@pytest.fixture(scope="module")
def whole(scraped: Scraped) -> Iterator[tuple[History, Run]]:
    history = History()
    yield history, read(Prometheus(scraped.url), history, now=scraped.now)
    history.close()


def test_everything_is_read(whole: tuple[History, Run]) -> None:
    _, run = whole
    assert (run.status, run.warnings, run.trouble) == ("whole", [], None)
    assert run.state_metrics
    assert set(run.missing) == {"oom-cadvisor", "network", *READY}


def test_a_rollout_does_not_split_a_workload(whole: tuple[History, Run]) -> None:
    cpu = past(whole[0], *WEB, "app", "cpu")
    assert len(known(cpu)) >= 2 * 288 - 2
    assert np.allclose(known(cpu), 0.3, rtol=0.1)  # its busiest pod
    assert np.allclose(known(past(whole[0], *WEB, "", "demand")), 0.4, rtol=0.1)
    assert set(known(past(whole[0], *WEB, "", "pods"))) <= {2.0, 4.0}
    assert set(known(past(whole[0], *WEB, "", "replicas"))) == {2.0}


def test_a_value_stands_for_the_step_that_follows_its_time(whole: tuple[History, Run]) -> None:
    restarts = past(whole[0], *WEB, "app", "restarts")
    at = restarts.start + 300 * np.flatnonzero(known_or_zero(restarts))
    now = whole[1].end // 300 * 300
    steps = [round((now - one) / 300) for one in at]
    # Restarted six and two hours before `now`, which ends a step of five minutes.
    assert all(abs(step - 12 * hours) <= 1 for step, hours in zip(steps, (6, 2), strict=True))
    assert restarts.values[np.flatnonzero(known_or_zero(restarts))].tolist() == [1.0, 1.0]


def known_or_zero(series: Series) -> np.ndarray:
    return np.nan_to_num(series.values)


def test_a_counter_that_begins_anew_does_not_show(whole: tuple[History, Run]) -> None:
    cpu = known(past(whole[0], "shop", "StatefulSet", "cache", "app", "cpu"))
    assert cpu.max() < 0.55
    assert cpu.min() > 0.2


def test_what_was_not_scraped_is_unknown(whole: tuple[History, Run]) -> None:
    cpu = past(whole[0], "shop", "StatefulSet", "cache", "app", "cpu")
    first, last = np.flatnonzero(~np.isnan(cpu.values))[[0, -1]]
    assert 34 <= np.isnan(cpu.values[first:last]).sum() <= 36


def test_a_value_that_is_no_number_spoils_nothing(whole: tuple[History, Run]) -> None:
    memory = known(past(whole[0], "shop", "StatefulSet", "cache", "app", "memory"))
    assert set(memory) == {float(np.float32(3e8))}


def test_jobs_of_a_cronjob_are_one_workload(whole: tuple[History, Run]) -> None:
    cpu = past(whole[0], "shop", "CronJob", "nightly", "main", "cpu")
    assert 8 * 5 <= len(known(cpu)) <= 8 * 8
    assert np.quantile(known(cpu), 0.5) == pytest.approx(0.8, rel=0.05)


def test_a_name_with_anything_in_it_is_read_alike(whole: tuple[History, Run]) -> None:
    cpu = past(whole[0], shop.ODD, "Pod", "bare", "app", "cpu")
    assert np.allclose(known(cpu), 0.01, rtol=0.3)


def test_the_next_run_reads_only_what_is_new(
    scraped: Scraped, history: History, whole: tuple[History, Run]
) -> None:
    prometheus = Prometheus(scraped.url)
    first = read(prometheus, history, now=scraped.now - DAY)
    second = read(prometheus, history, now=scraped.now)
    third = read(prometheus, history, now=scraped.now)
    assert second.points < 0.5 * whole[1].points
    assert first.points > 0
    assert third.points == 0
    assert everything(history) == everything(whole[0])


def test_a_killed_run_goes_on_where_it_was_and_counts_nothing_twice(
    scraped: Scraped, history: History, whole: tuple[History, Run], tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def until(part: float) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            if done > total * part:
                raise Killed

        return progress

    prometheus = Prometheus(scraped.url)
    for part in (0.1, 0.9, 0.5):
        with pytest.raises(Killed):
            read(prometheus, history, now=scraped.now, progress=until(part))
    history.close()
    again = History(tmp_path / "history.duckdb")
    assert read(prometheus, again, now=scraped.now).points < whole[1].points
    assert everything(again) == everything(whole[0])
    again.close()


READS = """
import sys
from recommender.history import History
from recommender.prometheus import Prometheus
from recommender.reading import read
history = History(sys.argv[2])
read(Prometheus(sys.argv[1]), history, now=float(sys.argv[3]), progress=lambda *of: print(*of, flush=True))
"""


def test_a_process_that_is_killed_leaves_a_history_to_go_on_from(
    scraped: Scraped, whole: tuple[History, Run], tmp_path: Path
) -> None:
    file = tmp_path / "killed.duckdb"
    command = [sys.executable, "-c", READS, scraped.url, str(file), str(scraped.now)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=shop.ROOT) as run:
        assert run.stdout is not None
        for line in run.stdout:
            done, total = map(int, line.split())
            if done > total * 0.9:
                break
        run.kill()
    history = History(file)
    assert len(history.marks()) > 0
    assert read(Prometheus(scraped.url), history, now=scraped.now).points < whole[1].points
    assert everything(history) == everything(whole[0])
    history.close()


def test_a_server_that_will_not_load_so_much_is_asked_for_less(
    scraped: Scraped, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    now = time.time()
    cluster = shop.Cluster(now)
    for n in range(6):
        cluster.container(f"web-{n}", cluster.between(24), 0.1, 1e8, namespace=f"ns-{n % 2}")
    real.write(data, cluster)
    with real.server(data, "--query.max-samples=300") as (url, _):
        history = History()
        prometheus = Prometheus(url)
        with pytest.raises(RecommenderError, match="too many samples"):
            prometheus.query_range(shop.CPU, now - DAY, now, 300)
        run = read(prometheus, history, now=now)
        assert (run.status, run.trouble) == ("whole", None), run
        cpu = past(history, "ns-0", "StatefulSet", "web", "app", "cpu")
        assert len(known(cpu)) >= 286


def test_without_state_metrics_it_says_so_and_guesses(scraped: Scraped, history: History) -> None:
    gone = "kube_pod_owner kube_replicaset_owner kube_job_owner kube_pod_container_info"
    queries = Queries(names={name: f"not_{name}" for name in gone.split()})
    run = read(Prometheus(scraped.url), history, now=scraped.now, queries=queries)
    assert (run.status, run.state_metrics) == ("whole", False)
    assert any("no kube-state-metrics" in one for one in run.warnings)
    cpu = past(history, "shop", "CronJob", "nightly", "main", "cpu")
    assert len(known(cpu)) > 0
    web = next(one for one in workloads(history, ["shop"]) if one.subject.name == "db")
    assert any("guessed" in note for note in web.notes)


def test_metrics_may_go_by_other_names(scraped: Scraped, history: History) -> None:
    queries = Queries(names={"container_cpu_usage_seconds_total": "cpu_of_ours"})
    run = read(Prometheus(scraped.url), history, now=scraped.now, queries=queries)
    assert run.status == "failed"
    assert run.trouble is not None
    assert "cpu_of_ours" in run.trouble.message


def test_an_expression_that_changed_is_read_anew(scraped: Scraped, history: History) -> None:
    prometheus = Prometheus(scraped.url)
    read(prometheus, history, now=scraped.now)
    mine = "max by (namespace, pod, container) (2 * rate($container_cpu_usage_seconds_total{$where}[${step}s]))"
    read(prometheus, history, now=scraped.now, queries=Queries(more={"cpu": mine}))
    assert np.allclose(known(past(history, *WEB, "app", "cpu")), 0.6, rtol=0.1)


def test_only_the_namespaces_that_are_wanted_are_read(scraped: Scraped, history: History) -> None:
    read(Prometheus(scraped.url), history, now=scraped.now, namespaces=[shop.ODD])
    assert history.keys(shop.ODD)
    assert not history.keys("shop")


def test_progress_is_told(scraped: Scraped, history: History) -> None:
    told_of: list[tuple[int, int]] = []
    read(Prometheus(scraped.url), history, now=scraped.now, progress=lambda *of: told_of.append(of))
    assert told_of[0][0] == 0
    assert told_of[-1][0] == told_of[-1][1] == len(told_of) - 1


# Bad days


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as started:
        yield started


def reading(server: StandIn, history: History, now: float | None = None, **limits: float) -> Run:
    prometheus = Prometheus(server.url, limits=Limits(**limits), wait=lambda seconds: None)
    return read(prometheus, history, now=now or time.time(), window=DAY)


def ranges(asked: Asked, metric: str) -> bool:
    return asked.path.endswith("query_range") and metric in asked.expr


def test_what_is_too_much_of_one_metric_is_no_reason_to_ask_for_others_bit_by_bit(
    server: StandIn, history: History
) -> None:
    reading(server, History())
    usual = sum(ranges(asked, "cpu_usage") for asked in server.asked)
    server.asked.clear()
    much = told(422, "execution", "query processing would load too many samples into memory")
    server.fault = lambda asked: much if ranges(asked, "memory_working_set") else None
    run = reading(server, history)
    assert run.status == "partial"
    assert sum(ranges(asked, "cpu_usage") for asked in server.asked) == usual


def test_with_prometheus_away_what_is_known_stays(history: History) -> None:
    with StandIn() as server:
        assert reading(server, history).status == "whole"
        before = everything(history)
    run = reading(server, history)
    assert run.status == "failed"
    assert run.trouble is not None
    assert "cannot be reached" in run.trouble.message
    assert everything(history) == before
    assert len(list(workloads(history))) == 3


@pytest.mark.parametrize(
    ("status", "says"), [(401, "does not know us"), (429, "too often"), (503, "now")]
)
def test_a_server_that_refuses_is_told_of(
    server: StandIn, history: History, status: int, says: str
) -> None:
    server.fault = lambda asked: told(status, "", "no")
    run = reading(server, history)
    assert run.status == "failed"
    assert run.trouble is not None
    assert says in run.trouble.message


def test_what_fails_is_said_and_read_the_next_time(server: StandIn, history: History) -> None:
    server.fault = lambda asked: told(503, "", "oh no") if ranges(asked, "memory") else None
    run = reading(server, history)
    assert run.status == "partial"
    assert any("memory could not be read" in one and "oh no" in one for one in run.warnings)
    web = next(one for one in workloads(history) if one.subject.name == "web")
    assert any("memory of the last 24" in note and "oh no" in note for note in web.notes)
    assert web.containers[0].memory is None
    assert web.containers[0].cpu is not None
    server.fault = lambda asked: None
    assert reading(server, history).status == "whole"
    web = next(one for one in workloads(history) if one.subject.name == "web")
    assert not [note for note in web.notes if "memory" in note]
    assert web.containers[0].memory is not None
    assert len(known(web.containers[0].memory)) > 280


def test_half_an_answer_is_said_to_be_half_and_read_again(
    server: StandIn, history: History
) -> None:
    def fault(asked: Asked) -> Bad | None:
        if not ranges(asked, "cpu_usage"):
            return None
        import json

        status, body = server.answer(asked.path, asked.params)
        half = body["data"]["result"][:1]
        body["data"]["result"] = half
        return Bad(status, json.dumps({**body, "warnings": ["store eu-2 did not answer"]}))

    server.fault = fault
    run = reading(server, history)
    assert run.status == "partial"
    assert any("store eu-2" in one for one in run.warnings)
    assert any("store eu-2" in note for one in workloads(history) for note in one.notes)
    server.fault = lambda asked: None
    reading(server, history)
    assert not any(one.notes for one in workloads(history) if one.subject.name != "ns")
    with StandIn(clock=server.clock) as good:
        fresh = History()
        reading(good, fresh)
        assert len(everything(fresh)) == len(everything(history))


def test_a_clock_that_is_off_is_said_to_be(server: StandIn, history: History) -> None:
    run = reading(server, history, now=time.time() + 2 * HOUR)
    assert any("7200 s ahead" in one for one in run.warnings)
    # Nothing of the server's future was taken for read.
    assert run.end <= time.time()
    assert all(mark.until <= time.time() for mark in history.marks().values())


def test_a_server_that_answers_nothing_in_time_is_left_alone(
    server: StandIn, history: History
) -> None:
    server.fault = lambda asked: Bad(pause=1.0) if asked.path.endswith("query_range") else None
    run = reading(server, history, request_s=0.1)
    assert run.status == "failed"
    assert run.trouble is not None
    assert "within 0.1 s" in run.trouble.message
    assert len([one for one in server.asked if one.path.endswith("query_range")]) < 30


def test_a_run_that_takes_too_long_leaves_the_rest_to_the_next(
    server: StandIn, history: History
) -> None:
    prometheus = Prometheus(server.url)
    run = read(prometheus, history, now=time.time(), window=2 * DAY, longest_s=0)
    assert run.status == "partial"
    assert run.trouble is not None
    assert "no time for" in run.trouble.message
    assert read(prometheus, history, now=time.time(), window=2 * DAY).status == "whole"


def test_what_is_not_a_prometheus_is_said_not_to_be(server: StandIn, history: History) -> None:
    server.fault = lambda asked: Bad(200, "<html>welcome</html>")
    trouble = reading(server, history).trouble
    assert isinstance(trouble, RecommenderError)
    assert "not a Prometheus" in trouble.message


def test_owners_that_cannot_be_read_put_nothing_under_a_wrong_name(
    server: StandIn, history: History
) -> None:
    server.fault = lambda asked: told(503, "", "no") if asked.path.endswith("series") else None
    run = reading(server, history)
    assert run.status == "partial"
    assert not any(history.keys(name) for name in ("shop", "bank"))
