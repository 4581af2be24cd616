"""What two states of an object have in common and what not."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.backends.kubernetes.fields import (
    applied_mask,
    before_patch,
    difference,
    owned,
    project,
    same,
    spelled,
)
from tools.backends.kubernetes.masks import pick

names = st.text("abcdefg", min_size=1, max_size=3)
scalars = st.none() | st.booleans() | st.integers(0, 9) | st.text("xyz", max_size=3)
containers = st.lists(
    st.fixed_dictionaries({"name": names}, optional={"image": names, "tty": st.booleans()}),
    max_size=3,
    unique_by=lambda c: c["name"],
)
bodies = st.recursive(
    scalars,
    lambda inner: st.dictionaries(names, inner, max_size=3) | st.lists(scalars, max_size=3),
    max_leaves=12,
)
objects = st.fixed_dictionaries(
    {}, optional={"spec": st.dictionaries(names, bodies, max_size=4), "containers": containers}
)


@given(objects)
def test_an_object_projected_to_its_own_fields_is_itself(body: dict[str, Any]) -> None:
    assert same(project(body, body), body)


@given(objects, objects)
def test_a_projection_holds_nothing_that_was_not_there(
    live: dict[str, Any], body: dict[str, Any]
) -> None:
    once = project(live, body)
    assert same(project(live, once), once)
    assert all(d.after is None or d.before is not None for d in difference(live, once))


@given(objects)
def test_nothing_differs_from_itself(body: dict[str, Any]) -> None:
    assert difference(body, copy.deepcopy(body)) == []


@given(objects, objects)
def test_a_difference_is_the_same_seen_from_the_other_side(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    there = {(d.path, str(d.before), str(d.after)) for d in difference(one, other)}
    back = {(d.path, str(d.after), str(d.before)) for d in difference(other, one)}
    assert there == back


@given(containers, st.randoms())
def test_the_order_of_containers_is_no_difference(items: list[Any], random: Any) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)
    assert same({"containers": items}, {"containers": shuffled})


@given(objects)
def test_spelling_is_done_once(body: dict[str, Any]) -> None:
    assert spelled(spelled(body)) == spelled(body)


def test_differences_are_told_by_container_and_field() -> None:
    def pod(memory: str, **env: str) -> dict[str, Any]:
        return {
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "resources": {"limits": {"memory": memory, "cpu": "1000m"}},
                        "env": [{"name": k, "value": v} for k, v in env.items()],
                    }
                ]
            }
        }

    before, after = pod("1Gi", A="1", B="2"), pod("2Gi", B="2", C="3")
    after["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "1"
    moves = {d.path: (d.before, d.after) for d in difference(before, after)}
    assert moves == {
        "spec.containers[web].resources.limits.memory": ("1Gi", "2Gi"),
        "spec.containers[web].env[A].name": ("A", None),
        "spec.containers[web].env[A].value": ("1", None),
        "spec.containers[web].env[C].name": (None, "C"),
        "spec.containers[web].env[C].value": (None, "3"),
    }


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": 1}}, True),
        ({"hard": {"requests.memory": "1Gi"}}, {"hard": {"requests.memory": "1024Mi"}}, True),
        ({"labels": {"a": "1000m"}}, {"labels": {"a": "1"}}, False),
        ({"replicas": 1}, {"replicas": True}, False),
        ({"labels": {}}, {}, True),
        ({"args": ["a", "b"]}, {"args": ["b", "a"]}, False),
        ({"status": {"a": 1}, "metadata": {"uid": "1"}}, {"metadata": {"uid": "2"}}, True),
    ],
)
def test_what_says_the_same_is_the_same(one: Any, other: Any, alike: bool) -> None:
    assert same(one, other) is alike


def test_applying_writes_what_it_names_and_what_it_gives_up() -> None:
    entry = {
        "manager": "pilothouse",
        "operation": "Apply",
        "fieldsV1": {"f:data": {"f:a": {}, "f:b": {}}},
    }
    live = {
        "metadata": {"managedFields": [entry]},
        "data": {"a": "1", "b": "2", "c": "3", "theirs": "4"},
    }
    assert owned(live) == {"data": {"a": "1", "b": "2"}}
    mask = applied_mask(live, {"data": {"a": "9", "c": "9"}})
    assert pick(live, mask) == {"data": {"a": "1", "b": "2", "c": "3"}}


def test_what_a_patch_found_is_the_patch_that_puts_it_back() -> None:
    live = {
        "metadata": {"labels": {"a": "1"}},
        "containers": [{"name": "web", "image": "i:1", "env": [{"name": "A", "value": "1"}]}],
        "args": ["x"],
    }
    patch = {
        "metadata": {"labels": {"a": "2", "b": "3"}, "annotations": {"c": "4"}},
        "containers": [
            {"name": "web", "image": "i:2", "env": [{"name": "B", "value": "2"}]},
            {"name": "new", "image": "n:1"},
        ],
        "args": ["y", "z"],
    }
    assert before_patch(live, patch, strategic=True) == {
        "metadata": {"labels": {"a": "1", "b": None}, "annotations": {"c": None}},
        "containers": [
            {"name": "web", "image": "i:1", "env": [{"name": "B", "$patch": "delete"}]},
            {"name": "new", "$patch": "delete"},
        ],
        "args": ["x"],
    }
    assert before_patch(live, patch, strategic=False)["containers"] == live["containers"]
    gone = {"containers": [{"name": "web", "$patch": "delete"}]}
    assert before_patch(live, gone, strategic=True) == {"containers": live["containers"]}
