"""From pods to workloads."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from recommender.answers import Matrix
from recommender.folding import folded, reduced
from recommender.owners import Owners
from recommender.queries import RANGES

NAN = np.nan
ROWS = some.lists(
    some.tuples(some.sampled_from("abc"), some.lists(some.sampled_from([NAN, 0.0, 1.0, 5.0]), min_size=3, max_size=3)),
    min_size=1,
    max_size=12,
)  # fmt: skip


@given(rows=ROWS)
def test_rows_of_one_key_are_one_and_what_is_unknown_in_all_stays_unknown(
    rows: list[tuple[str, list[float]]],
) -> None:
    keys, values = [key for key, _ in rows], np.array([row for _, row in rows])
    for fold, plain in (("max", np.nanmax), ("sum", np.nansum)):
        names, found = reduced(keys, values, fold)  # type: ignore[arg-type]
        assert sorted(names) == sorted(set(keys))
        for name, row in zip(names, found, strict=True):
            mine = values[[key == name for key in keys]]
            for column, value in zip(mine.T, row, strict=True):
                known = not np.isnan(column).all()
                assert (value == plain(column)) if known else np.isnan(value)


def test_cpu_gives_the_busiest_pod_the_whole_and_how_many_there_were() -> None:
    owners = Owners()
    labels = []
    for pod, container in (("a", "app"), ("a", "proxy"), ("b", "app")):
        owners.pods["shop", pod] = ("StatefulSet", "db")
        labels.append({"namespace": "shop", "pod": pod, "container": container})
    values = np.array([[1.0, 1.0], [0.5, NAN], [3.0, NAN]])
    found = {
        (key.container, key.metric): row.tolist()
        for rows in folded(RANGES[0], Matrix(0, 300, labels, values), owners)
        for key, row in zip(rows.keys, rows.values, strict=True)
    }
    assert found["app", "cpu"] == [3.0, 1.0]
    assert found["", "demand"] == [4.5, 1.0]
    assert found["", "pods"] == [2.0, 1.0]


def test_what_is_scraped_twice_or_restarted_counts_once() -> None:
    pod = {"namespace": "shop", "pod": "a", "container": "app"}
    labels = [pod | {"id": "first"}, pod | {"id": "second"}]
    values = np.array([[1.0, 1.0, NAN], [NAN, 3.0, 2.0]])
    rows = folded(RANGES[0], Matrix(0, 300, labels, values), Owners())
    found = {
        key.metric: row.tolist()
        for one in rows
        for key, row in zip(one.keys, one.values, strict=True)
    }
    assert found["cpu"] == found["demand"] == [1.0, 3.0, 2.0]
    assert found["pods"] == [1.0, 1.0, 1.0]


def test_an_empty_answer_is_nothing() -> None:
    assert folded(RANGES[0], Matrix(0, 300, [], np.empty((0, 5))), Owners()) == []
