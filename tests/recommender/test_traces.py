"""Recorded usage, read from files as people have them."""

import duckdb
import numpy as np
import pytest

from recommender.model import RecommenderError
from recommender.traces import on_grid, read_traces


def test_samples_in_any_order_with_gaps_come_onto_an_even_grid():
    day = 86400.0
    found = on_grid(
        ["b", "a", "a", "a", "b"], np.array([day, 600, 0, 300, day + 300]), {"cpu": np.arange(5.0)}
    )
    assert found.series == ("a", "b")
    assert found.step == 300
    assert found.days == 2
    assert found.values["cpu"][0, :4].tolist()[:3] == [2, 3, 1]
    assert np.isnan(found.values["cpu"][0, 3])
    assert found.values["cpu"][1, 288:290].tolist() == [0, 4]


def test_a_file_of_another_kind_is_refused_with_what_is_needed(tmp_path):
    wrong = tmp_path / "wrong.parquet"
    wrong.write_text("no")
    with pytest.raises(RecommenderError, match="cannot be read"):
        read_traces(wrong)


def parquet(path, query):
    duckdb.sql(f"copy ({query}) to '{path}' (format parquet)")
    return path


def test_a_file_is_read_with_the_columns_that_it_has(tmp_path):
    rows = """select 'a' as series, timestamp '2024-01-01 06:00:00' + i * interval 1 hour as ts,
              i::float as cpu_cores, null::bigint as memory_bytes from range(30) t(i)"""
    found = read_traces(parquet(tmp_path / "a.parquet", rows))
    assert (found.step, found.days, set(found.values)) == (3600, 2, {"cpu", "memory"})
    assert found.start == 1_704_067_200
    assert found.values["cpu"][0, 6:36].tolist() == list(range(30))
    assert np.isnan(found.values["cpu"][0, :6]).all()
    assert np.isnan(found.values["memory"]).all()


def test_columns_that_are_missing_are_named(tmp_path):
    with pytest.raises(RecommenderError, match="has the columns x") as error:
        read_traces(parquet(tmp_path / "b.parquet", "select 1 as x"))
    assert "cpu_cores" in error.value.hint


def test_one_sample_a_series_has_no_step():
    with pytest.raises(RecommenderError, match="two samples"):
        on_grid(["a", "b"], np.array([0.0, 1.0]), {"cpu": np.ones(2)})


def test_a_step_that_does_not_divide_a_day_is_refused():
    with pytest.raises(RecommenderError, match="whole number of 7000 s"):
        on_grid(["a"] * 3, np.array([0.0, 7000, 14000]), {"cpu": np.ones(3)})
