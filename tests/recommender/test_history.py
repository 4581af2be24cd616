"""The past in its file."""

from pathlib import Path

import numpy as np
import pytest

from recommender.history import DAY, KEPT_DAYS, KEPT_HISTOGRAM_DAYS, Facts, History, Key, Mark, Rows
from recommender.model import RecommenderError

CPU = Key("shop", "Deployment", "web", "app", "cpu")
MEMORY = Key("shop", "Deployment", "web", "app", "memory")
START = 20_000 * DAY


def rows(key: Key, start: float, *values: float) -> Rows:
    return Rows(start, [key], np.array([values]))


def mark(until: float, note: str = "") -> Mark:
    return Mark("cpu", "shop", "expr", until, note)


def values(history: History, key: Key, start: float, end: float) -> list[float]:
    number = history.keys(key.namespace)[key]
    found = history.series([number], start, end)
    return np.nan_to_num(found[number].values, nan=-1).tolist() if found else []


def test_what_is_kept_comes_back_with_holes_where_nothing_is_known(history: History) -> None:
    history.keep([rows(CPU, START + 600, 1, 2, np.nan, 4)], [mark(START)])
    assert values(history, CPU, START, START + 2100) == [-1, -1, 1, 2, -1, 4, -1]


def test_what_is_read_twice_is_there_once(history: History) -> None:
    for _ in range(2):
        history.keep([rows(CPU, START, 1, 2, 3)], [mark(START + 900)])
    history.keep([rows(CPU, START + 600, np.nan, 4)], [mark(START + 1200)])
    assert values(history, CPU, START, START + 1200) == [1, 2, 3, 4]
    assert [day.seen for day in history.days(CPU)] == [4]


def test_rows_over_midnight_go_to_both_days(history: History) -> None:
    history.keep([rows(CPU, START + DAY - 600, 1, 2, 3)], [])
    assert [(day.day, day.seen) for day in history.days(CPU)] == [(20_000, 2), (20_001, 1)]
    assert values(history, CPU, START + DAY - 600, START + DAY + 300) == [1, 2, 3]


def test_a_mark_moves_only_together_with_what_was_read(history: History) -> None:
    history.keep([rows(CPU, START, 1)], [mark(START + 300)])
    broken = Rows(START + 300, [CPU, MEMORY], np.ones((1, 1)))
    with pytest.raises(ValueError, match="zip"):
        history.keep([rows(MEMORY, START + 300, 2), broken], [mark(START + 600)])
    assert history.marks()["cpu", "shop"].until == START + 300
    assert values(history, CPU, START, START + 600) == [1, -1]
    # A number that was given to what then was not kept is given anew.
    assert MEMORY not in history.keys("shop")
    history.keep([rows(MEMORY, START, 7)], [])
    assert values(history, MEMORY, START, START + 300) == [7]


def test_it_is_all_there_after_a_restart(tmp_path: Path) -> None:
    first = History(tmp_path / "h.duckdb")
    first.keep([rows(CPU, START, 1, 2)], [mark(START + 600, "half of it")])
    first.put_facts([Facts("shop", "Deployment", "web", START, "{}")])
    first.close()
    second = History(tmp_path / "h.duckdb")
    assert values(second, CPU, START, START + 600) == [1, 2]
    assert second.marks() == {("cpu", "shop"): mark(START + 600, "half of it")}
    assert second.facts("shop") == [Facts("shop", "Deployment", "web", START, "{}")]
    second.close()


def test_a_file_of_another_version_is_made_anew(tmp_path: Path) -> None:
    first = History(tmp_path / "h.duckdb")
    first.keep([rows(CPU, START, 1)], [mark(START)])
    first._db.execute("UPDATE meta SET version = 'older'")
    first.close()
    second = History(tmp_path / "h.duckdb")
    assert (second.marks(), second.keys("shop")) == ({}, {})
    second.close()


def test_a_file_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "h.duckdb").write_text("this is no database, and never was one " * 200)
    with pytest.raises(RecommenderError) as caught:
        History(tmp_path / "h.duckdb")
    assert "remove it" in caught.value.hint


def test_a_file_that_cannot_be_written_is_said_so_and_nothing_is_half_kept(
    history: History,
) -> None:
    history._db.execute("ALTER TABLE marks RENAME TO elsewhere")
    with pytest.raises(RecommenderError, match="cannot be written"):
        history.keep([rows(CPU, START, 1)], [mark(START)])
    history._db.execute("ALTER TABLE elsewhere RENAME TO marks")
    assert history.keys("shop") == {}
    history.keep([rows(CPU, START, 2)], [mark(START)])
    assert values(history, CPU, START, START + 300) == [2]


def test_old_days_become_histograms_and_the_oldest_go(history: History) -> None:
    for day in range(3):
        history.keep([rows(CPU, START + day * DAY, *np.linspace(0, 1, 288))], [])
    history.prune(START + (KEPT_DAYS + 2) * DAY)
    days = history.days(CPU)
    assert [(day.day, day.seen) for day in days] == [(20_000, 288), (20_001, 288), (20_002, 288)]
    assert values(history, CPU, START, START + 2 * DAY) == []
    assert all(0.9 <= day.quantile(0.9) <= 0.95 for day in days)
    history.prune(START + (KEPT_DAYS + 2) * DAY)
    assert len(history.days(CPU)) == 3
    history.prune(START + (KEPT_HISTOGRAM_DAYS + 1) * DAY)
    assert len(history.days(CPU)) == 2


def test_series_of_which_nothing_is_left_are_forgotten_and_their_numbers_not_mixed_up(
    history: History,
) -> None:
    history.keep([rows(CPU, START, 1)], [])
    later = START + (KEPT_HISTOGRAM_DAYS + 1) * DAY
    history.keep([rows(MEMORY, later, 2)], [])
    history.prune(later)
    assert list(history.keys("shop")) == [MEMORY]
    history.keep([rows(CPU, later, 3)], [])
    assert values(history, MEMORY, later, later + 300) == [2]
    assert values(history, CPU, later, later + 300) == [3]


def test_what_a_workload_is_like_replaces_what_it_was_like(history: History) -> None:
    history.put_facts([Facts("shop", "Deployment", name, START, "{}") for name in ("web", "api")])
    history.put_facts([Facts("shop", "Deployment", "web", START + 1, '{"wanted":2}')])
    assert [(one.name, one.seen) for one in history.facts()] == [("api", START), ("web", START + 1)]


def test_threads_may_read_while_one_writes(history: History) -> None:
    from concurrent.futures import ThreadPoolExecutor

    history.keep([rows(CPU, START, 1)], [])

    def write(n: int) -> None:
        history.keep([rows(CPU, START + 300 * n, float(n))], [mark(START + 300 * n)])

    with ThreadPoolExecutor(3) as pool:
        written = pool.map(write, range(1, 20))
        read = [pool.submit(values, history, CPU, START, START + DAY) for _ in range(20)]
        list(written)
        assert all(one.result()[0] == 1 for one in read)
    assert values(history, CPU, START, START + 6000) == [1.0, *map(float, range(1, 20))]
