"""What counts as a change of a suggestion, and what is only the same said otherwise."""

import numpy as np
import pytest

from recommender.likeness import moved, number_of
from recommender.tables import plain

SAME = [
    ({"cpu": "250m"}, {"cpu": "0.25"}),
    ({"memory": "1Gi"}, {"memory": 2**30}),
    ({"p95": np.float64(0.5)}, {"p95": 0.5}),
    ({"a": [{"name": "x", "cpu": 1}, {"name": "y", "cpu": 2}]},
     {"a": [{"name": "y", "cpu": 2}, {"name": "x", "cpu": 1}]}),
    ({"known": np.array([1.0, 2.0])}, {"known": [1, 2]}),
    ({"on": True}, {"on": True}),
    ({"left": None}, {}),
]  # fmt: skip
OTHER = [
    ({"cpu": "250m"}, {"cpu": "500m"}, ["cpu"]),
    ({"on": True}, {"on": False}, ["on"]),
    ({"memory": "100M"}, {"memory": "100Mi"}, []),  # a twentieth
    ({"schedule": [1, 1, 1, 9]}, {"schedule": [9, 1, 1, 1]}, ["schedule"]),
    ({"schedule": [1, 2]}, {"schedule": [1, 2, 3]}, ["schedule"]),
    ({"image": "web:1"}, {"image": "web:2"}, ["image"]),
]


@pytest.mark.parametrize(("before", "after"), SAME)
def test_the_same_in_other_words_is_no_change(before, after):
    assert moved(before, after, 0.0) == []


@pytest.mark.parametrize(("before", "after", "what"), OTHER)
def test_what_differs_by_more_than_the_band_is_named(before, after, what):
    assert [one.what for one in moved(before, after, 0.1)] == what


def test_a_number_is_told_from_a_text():
    assert number_of("1500m") == 1.5
    assert number_of(3) == 3.0
    assert number_of("web") is None
    assert number_of(None) is None


def test_what_goes_into_the_database_is_json_whatever_it_was_made_of():
    made = {
        1: np.float32(0.5), "nan": np.nan, "inf": [np.float64("inf")], "n": np.int64(3),
        "rows": np.array([[1, 2]]), "set": {"b", "a"}, "yes": True, "no": None, "bool": np.bool_(1),
    }  # fmt: skip
    assert plain(made) == {
        "1": 0.5, "nan": None, "inf": [None], "n": 3, "rows": [[1, 2]], "set": ["a", "b"],
        "yes": True, "no": None, "bool": True,
    }  # fmt: skip
    assert type(plain(np.float64(1))) is float
