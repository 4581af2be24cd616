from enum import StrEnum
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, Field

from tools.calls import Outcome
from tools.schemas import compact, without_nulls
from tools.tool import Arguments


class Colour(StrEnum):
    """What our developers read."""

    RED = "red"
    BLUE = "blue"


class Part(BaseModel):
    """A part, as our developers know it."""

    name: str
    weight: float | None


class Order(Arguments):
    title: str = Field(description="what is ordered")
    default: int = 3
    count: int | None = Field(default=None, ge=1)
    labels: dict[str, str] = {}
    colour: Colour = Field(default=Colour.RED, description="of the case")
    part: Part | None = None


def test_titles_defaults_and_docstrings_of_models_are_left_out():
    assert compact(Order.model_json_schema()) == {
        "type": "object",
        "required": ["title"],
        "properties": {
            "title": {"type": "string", "description": "what is ordered"},
            "default": {"type": "integer"},
            "count": {"type": "integer", "minimum": 1},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "colour": {"type": "string", "enum": ["red", "blue"], "description": "of the case"},
            "part": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "weight": {"type": "number"}},
                "required": ["name"],
            },
        },
    }


def test_a_model_used_twice_is_declared_once():
    class Pair(BaseModel):
        left: Part
        right: Part

    schema = compact(Pair.model_json_schema())
    assert list(schema["$defs"]) == ["Part"]
    assert schema["properties"]["left"] == schema["properties"]["right"] == {"$ref": "#/$defs/Part"}


def test_a_model_that_holds_itself_stays_finite():
    class Node(BaseModel):
        name: str
        below: "list[Node]" = []

    class Tree(BaseModel):
        root: Node

    schema = compact(Tree.model_json_schema())
    jsonschema.validate({"root": {"name": "a", "below": [{"name": "b", "below": []}]}}, schema)


def test_a_narrower_bound_on_a_string_is_kept():
    class Named(Arguments):
        name: str = Field(max_length=63)

    assert compact(Named.model_json_schema())["properties"]["name"]["maxLength"] == 63


def test_what_is_null_is_left_out_and_then_fits_the_schema():
    dumped: dict[str, Any] = Part(name="bolt", weight=None).model_dump()
    assert without_nulls(dumped) == {"name": "bolt"}
    jsonschema.validate(without_nulls(dumped), compact(Part.model_json_schema()))
    assert without_nulls({"a": [{"b": None, "c": [None]}]}) == {"a": [{"c": [None]}]}


def test_what_may_be_null_in_a_list_still_may():
    class Line(BaseModel):
        values: list[float | None]

    line = Line(values=[1.5, None]).model_dump()
    jsonschema.validate(without_nulls(line), compact(Line.model_json_schema()))


def test_an_outcome_fits_its_compact_schema():
    schema = compact(Outcome.model_json_schema(mode="serialization"))
    outcome = Outcome(state="succeeded", tool="x_y", answer={"a": 1})
    jsonschema.validate(without_nulls(outcome.model_dump(mode="json")), schema)


def test_null_keeps_its_place_among_the_items_of_a_list():
    class Course(BaseModel):
        values: list[float | None]

    schema = compact(Course.model_json_schema(mode="serialization"))
    jsonschema.validate({"values": [1.5, None]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"values": ["x"]}, schema)
