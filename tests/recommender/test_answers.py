"""What is around an answer, and pieces put together."""

import numpy as np
import pytest

from recommender.answers import Matrix, envelope, joined, matrix, vector
from recommender.model import RecommenderError


def test_pieces_are_joined_by_their_labels() -> None:
    one = Matrix(0, 10, [{"a": "1"}, {"a": "2"}], np.array([[1.0], [2.0]]), ("x",))
    two = Matrix(10, 10, [{"a": "3"}, {"a": "1"}], np.array([[3.0], [4.0]]), ("x", "y"))
    found = joined([one, two])
    assert found.labels == [{"a": "1"}, {"a": "2"}, {"a": "3"}]
    assert np.nan_to_num(found.values, nan=-1).tolist() == [[1, 4], [2, -1], [-1, 3]]
    assert found.warnings == ("x", "y")


def test_a_point_outside_of_what_was_asked_for_is_left_out() -> None:
    body = b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[90,"1"],[100,"2"],[120,"3"]]}]}}'
    assert matrix(envelope(body), 100, 10, 2).values[0, 0] == 2.0


def test_a_scalar_is_a_vector_of_one() -> None:
    body = b'{"status":"success","data":{"resultType":"scalar","result":[1,"42.5"]}}'
    assert vector(envelope(body)).values.tolist() == [42.5]


def test_a_range_where_a_value_was_wanted_is_refused_with_a_hint() -> None:
    body = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
    with pytest.raises(RecommenderError) as caught:
        vector(envelope(body))
    assert "range" in caught.value.hint


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'{"status":7}', b'{"data":{}}', b"\xff\xfe"]
)
def test_an_answer_that_is_none_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(RecommenderError):
        envelope(body)
