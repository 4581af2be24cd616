"""Which container is which."""

import numpy as np

from recommender.history import Key
from recommender.model import Series
from recommender.renames import present


def past(**spans: tuple[int, int]) -> dict[Key, Series]:
    """Memory of containers between two hours of two days."""
    found = {}
    for name, (first, last) in spans.items():
        values = np.full(48 * 12, np.nan)
        values[first * 12 : last * 12] = 1.0
        found[Key("shop", "Deployment", "web", name, "memory")] = Series(0, 300, values)
    return found


def known(series: Series) -> int:
    return int((~np.isnan(series.values)).sum()) // 12


def test_one_that_came_as_the_other_went_is_the_other() -> None:
    notes: list[str] = []
    found = present(["new"], past(old=(0, 25), new=(24, 48)), notes)
    assert list(found) == ["new"]
    assert known(found["new"]["memory"]) == 48
    assert notes == ["Container new was called old before."]


def test_one_that_came_long_after_is_another() -> None:
    notes: list[str] = []
    found = present(["new"], past(old=(0, 10), new=(24, 48)), notes)
    assert known(found["new"]["memory"]) == 24
    assert notes == []


def test_two_that_came_at_once_are_not_guessed_at() -> None:
    notes: list[str] = []
    found = present(["one", "two"], past(old=(0, 24), one=(24, 48), two=(24, 48)), notes)
    assert [known(found[name]["memory"]) for name in ("one", "two")] == [24, 24]
    assert notes == []


def test_a_sidecar_that_came_beside_what_stays_takes_no_past() -> None:
    notes: list[str] = []
    found = present(["app", "sidecar"], past(app=(0, 48), sidecar=(24, 48)), notes)
    assert [known(found[name]["memory"]) for name in ("app", "sidecar")] == [48, 24]
    assert notes == []


def test_where_kubernetes_names_none_those_that_ran_last_are_there() -> None:
    assert list(present([], past(init=(0, 1), app=(0, 48)), [])) == ["app"]


def test_one_that_is_there_but_was_never_measured_comes_without_a_past() -> None:
    assert present(["app"], {}, []) == {"app": {}}
