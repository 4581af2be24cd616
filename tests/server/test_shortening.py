import json

from hypothesis import given
from hypothesis import strategies as st

from server.shortening import shorten

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=50),
    lambda inner: (
        st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=40,
)


def test_a_short_answer_is_left_as_it_is() -> None:
    answer = {"rows": [1, 2, 3]}
    assert shorten(answer, 1000) is answer


def test_a_long_list_loses_its_end_and_says_so() -> None:
    short = shorten({"rows": [{"n": n} for n in range(10_000)], "next": ""}, 1000)
    assert short["rows"][0] == {"n": 0}
    assert 50 < len(short["rows"]) < 10_000
    assert "Narrow" in short["cut"]


def test_a_long_log_keeps_its_end() -> None:
    short = shorten({"log": "x" * 10_000 + "the last words"}, 1000)
    assert short["log"].endswith("the last words")


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5), st.integers(200, 2000))
def test_what_is_cut_fits_and_stays_json(answer: dict[str, object], most: int) -> None:
    size = len(json.dumps(answer))
    short = shorten(json.loads(json.dumps(answer)), most)
    assert len(json.dumps(short, ensure_ascii=False, separators=(",", ":")).encode()) <= max(
        most + 200, size
    )
