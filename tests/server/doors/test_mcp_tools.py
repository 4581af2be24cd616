"""All tools as MCP declares them: small, valid, and as the file says that is listed from."""

import json
from typing import Any

import jsonschema
import pytest
from mcp.types import Tool

from server.doors.mcp_tools import FILE, WRITE_OPTIONS, declaration, listed_unseen, made
from tools.calls import Caller, Outcome, Problem, State
from tools.schemas import without_nulls
from tools.tool import Effect, catalog

MOST_BYTES, MOST_ON_AVERAGE, MOST_OUTPUT = 20_000, 550, 2_500
OPERATOR = Caller.of("olga", operator=True, agent=True)


@pytest.fixture(scope="module")
def declared() -> list[Tool]:
    return [declaration(info) for info in listed_unseen(OPERATOR)]


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def test_names_descriptions_and_inputs_are_small(declared):
    sizes = {
        t.name: len(f"{t.name}{t.description}{compact(t.input_schema)}".encode()) for t in declared
    }
    assert sum(sizes.values()) <= MOST_BYTES, sizes
    assert sum(sizes.values()) / len(sizes) <= MOST_ON_AVERAGE, sizes


def test_outputs_are_reasonably_small(declared):
    sizes = {t.name: len(compact(t.output_schema)) for t in declared}
    assert max(sizes.values()) <= MOST_OUTPUT, sizes


def test_every_schema_is_one_and_says_object(declared):
    for tool in declared:
        for schema in (tool.input_schema, tool.output_schema):
            jsonschema.Draft202012Validator.check_schema(schema)
            assert schema["type"] == "object", tool.name


def test_every_tool_is_titled_and_described(declared):
    for tool in declared:
        assert tool.title, tool.name
        assert tool.description, tool.name
        assert tool.annotations, tool.name


def test_an_error_fits_every_output_schema(declared):
    problem = Problem(code="not_found", message="No.", hint="Look.").model_dump(mode="json")
    for tool in declared:
        error = {"error": without_nulls(problem)}
        if catalog()[tool.name].effect is Effect.WRITE:
            error |= {"state": "failed"}
        jsonschema.validate(error, tool.output_schema)


def test_every_state_of_a_call_fits_a_writes_output_schema(declared):
    write = next(t for t in declared if catalog()[t.name].effect is Effect.WRITE)
    for state in State:
        outcome = Outcome(state=state, tool=write.name, call_id="c-1", undo="exact", answer={})
        jsonschema.validate(without_nulls(outcome.model_dump(mode="json")), write.output_schema)


def test_no_write_has_an_argument_that_is_an_option_of_all_writes():
    for tool in catalog().values():
        if tool.effect is Effect.WRITE:
            assert not WRITE_OPTIONS.keys() & tool.arguments.model_fields.keys(), tool.name


def test_what_is_for_people_is_not_offered(declared):
    offered = {t.name for t in declared}
    assert "call_undo" in offered
    for tool in catalog().values():
        if tool.people_only or tool.effect is Effect.DECIDE:
            assert tool.name not in offered


def test_read_only_and_toolsets_shorten_the_list():
    reads = listed_unseen(OPERATOR.model_copy(update={"read_only": True}))
    assert {i.effect for i in reads} == {"read", "stream"}
    jobs = listed_unseen(OPERATOR.model_copy(update={"toolsets": frozenset({"jobs"})}))
    assert {i.group for i in jobs} == {"jobs"}


def test_what_is_listed_is_what_the_tools_say():
    assert FILE.read_text() == made(), "what clients see has changed: make docs, and look at it"
