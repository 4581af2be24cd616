"""Workloads as the recommender gets them, from a real Prometheus's two days."""

import re
from collections.abc import Iterator

import numpy as np
import pytest

from recommender.history import DAY, Facts, History, Key, Rows
from recommender.model import Workload
from recommender.prometheus import Prometheus
from recommender.reading import read
from recommender.workloads import pasts, workloads
from tests.recommender import shop
from tests.recommender.conftest import Scraped

HOUR = 3600


@pytest.fixture(scope="module")
def found(scraped: Scraped) -> Iterator[dict[str, Workload]]:
    history = History()
    read(Prometheus(scraped.url), history, now=scraped.now)
    yield {
        f"{one.subject.kind} {one.subject.name}": one for one in workloads(history, cluster="eu")
    }
    history.close()


def test_every_workload_that_is_there_comes_once_and_none_that_is_gone(
    found: dict[str, Workload],
) -> None:
    assert set(found) == {
        "Deployment web",
        "StatefulSet db",
        "StatefulSet cache",
        "CronJob nightly",
        "DaemonSet agent",
        "Pod bare",
        "Namespace shop",
    }
    assert {one.subject.cluster for one in found.values()} == {"eu"}


def test_a_container_comes_with_what_it_asks_for_and_what_happened_to_it(
    found: dict[str, Workload],
) -> None:
    (app,) = found["Deployment web"].containers
    assert (app.name, app.cpu_request, app.cpu_limit) == ("app", 0.5, 1.0)
    assert (app.memory_request, app.memory_limit) == (2e8, 4e8)
    assert (app.restarts, len(app.oom_kills)) == (2, 2)
    assert app.oom_kills[1] - app.oom_kills[0] == pytest.approx(4 * HOUR, abs=300)
    assert app.throttled is not None
    assert np.nanmax(app.throttled.values) == pytest.approx(0.25)


def test_all_series_of_a_workload_are_on_one_grid(found: dict[str, Workload]) -> None:
    web = found["Deployment web"]
    app = web.containers[0]
    grids = {
        (one.start, one.step, len(one.values))
        for one in (app.cpu, app.memory, web.replicas, web.demand)
        if one is not None
    }
    assert len(grids) == 1
    assert not np.isnan(app.memory.values[0])  # type: ignore[union-attr]


def test_how_many_are_wanted_and_who_decides_is_known(found: dict[str, Workload]) -> None:
    web = found["Deployment web"]
    assert (web.wanted, web.starts_in) == (2, 45.0)
    assert web.autoscaler is not None
    assert (web.autoscaler.name, web.autoscaler.min_replicas, web.autoscaler.max_replicas) == (
        "web-scaler",
        2,
        6,
    )
    assert (web.autoscaler.resources, web.autoscaler.target) == ({"cpu", "memory"}, 0.7)
    assert web.notes == ()


def test_a_renamed_container_keeps_its_past_and_it_is_said(found: dict[str, Workload]) -> None:
    db = found["StatefulSet db"]
    (pg,) = db.containers
    assert pg.name == "pg"
    assert pg.memory is not None
    assert (~np.isnan(pg.memory.values)).sum() >= 2 * 288 - 2
    assert db.notes == ("Container pg was called postgres before.",)


def test_disks_come_with_their_workload_or_with_the_namespace(found: dict[str, Workload]) -> None:
    ((claim, (used, size)),) = found["StatefulSet db"].disks.items()
    assert (claim, size) == ("data-db-0", 4e9)
    assert np.nanmax(used.values) == pytest.approx(2e9, rel=0.01)
    assert list(found["Namespace shop"].disks) == ["orphan"]


def test_quotas_come_with_the_namespace(found: dict[str, Workload]) -> None:
    quotas = found["Namespace shop"].quotas
    assert {name: hard for name, (_, hard) in quotas.items()} == {
        "most/requests.cpu": 10,
        "most/pods": 20,
    }
    assert set(quotas["most/pods"][0].values[-3:]) == {7.0}


def test_a_young_workload_is_said_to_be_young(found: dict[str, Workload]) -> None:
    (note,) = found["DaemonSet agent"].notes
    assert re.fullmatch(r"It has been there for [45]\.\d h only\.", note)


def test_gaps_are_said(found: dict[str, Workload]) -> None:
    assert found["StatefulSet cache"].notes == ()
    cpu = found["StatefulSet cache"].containers[0].cpu
    assert cpu is not None
    assert np.isnan(cpu.values).mean() == pytest.approx(3 / 48, abs=0.01)


def test_a_cronjob_between_two_runs_is_there_and_has_no_gaps_to_be_told_of(
    found: dict[str, Workload],
) -> None:
    nightly = found["CronJob nightly"]
    assert nightly.notes == ()
    assert [one.name for one in nightly.containers] == ["main"]


def test_names_with_anything_in_them_come_as_they_are(found: dict[str, Workload]) -> None:
    assert found["Pod bare"].subject.namespace == shop.ODD


def test_what_all_pasts_have_in_common_is_learned_from_days_that_are_well_known() -> None:
    history, start = History(), 20_000 * DAY
    names = ["web", "gone"]
    keys = [Key("shop", "Deployment", name, "app", "cpu") for name in names]
    week = np.ones((2, 7 * 288))
    week[:, :200] = np.nan
    history.keep([Rows(start, keys, week)], [])
    seen = {"web": start + 7 * DAY, "gone": start}
    history.put_facts([Facts("shop", "Deployment", name, seen[name], "{}") for name in names])
    [(metric, rows)] = pasts(history)
    history.close()
    assert (metric, rows.shape) == ("cpu", (1, 7 * 288))
    assert np.isnan(rows[0, :288]).all()
    assert (rows[0, 288:] == 1).all()
