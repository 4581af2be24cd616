"""The description, held against a running demo: whatever is sent, it answers as is written there."""

import asyncio
import itertools
import math
import threading
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from server.demo import Demo, running
from server.doors.rest.description import description

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MOST_S, AT_LEAST = 10, 2000
MORE = 1.1  # some operations take nothing that could be wrong
# Half of what is asked for is there.
REAL = {"tenant": "acme", "name": "web", "service": "web", "kind": "Deployment"}
PATHS = {"type": "deployment", "id": "acme:web"}
# It does not end.
ENDLESS = "/api/v1/events"
OPTIONS = {
    "PILOTHOUSE_LIMITS__STREAM_S": "1",
    "PILOTHOUSE_LIMITS__GRACE_S": "1",
}


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """In a thread of its own, since the client waits for answers."""
    began: threading.Event = threading.Event()
    found: list[Any] = []

    async def run() -> None:
        over = asyncio.Event()
        try:
            async with running(0) as demo:
                found.extend((demo, asyncio.get_running_loop(), over))
                began.set()
                await over.wait()
        finally:
            began.set()

    with pytest.MonkeyPatch.context() as patched:
        for name, value in OPTIONS.items():
            patched.setenv(name, value)
        thread = threading.Thread(target=asyncio.run, args=(run(),))
        thread.start()
        began.wait(120)
        assert found, "the demo did not start"
        yield found[0]
        found[1].call_soon_threadsafe(found[2].set)
        thread.join(60)


def test_whatever_is_sent_is_answered_as_documented(demo: Demo) -> None:
    schema = schemathesis.openapi.from_url(f"{demo.url}/openapi.json")
    session = requests.Session()
    session.headers["authorization"] = f"Bearer {demo.tokens['olivia']}"
    sent = itertools.count()
    statuses: dict[int, int] = {}
    wrong: list[str] = []

    def check(case: Any) -> None:
        if next(sent) % 2:
            for part, real in (
                (case.body, REAL),
                (case.query, REAL),
                (case.path_parameters, PATHS),
            ):
                if isinstance(part, dict):
                    part.update({k: v for k, v in real.items() if k in part})
        if isinstance(case.query, dict) and not isinstance(case.query.get("wait"), str):
            options = [parameter.name for parameter in case.operation.query]
            case.query |= {"wait": 0} if "wait" in options else {}
        answer = case.call(session=session, timeout=MOST_S)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        case.validate_response(answer, checks=CHECKS)

    operations = [found.ok() for found in schema.get_all_operations()]
    operations = [one for one in operations if one.path != ENDLESS]
    each = math.ceil(AT_LEAST * MORE / (len(operations) * len(GenerationMode)))
    for operation in operations:
        for mode in GenerationMode:
            fuzz = settings(
                max_examples=each, deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            cases = operation.as_strategy(generation_mode=mode)
            try:
                seed(0)(fuzz(given(case=cases)(check)))()
            except Unsatisfiable:
                pass  # what takes nothing cannot be sent anything that is wrong
            except (Exception, BaseExceptionGroup) as error:
                wrong.append(f"{operation.label}: {error}"[:1500])
    assert not wrong, "\n\n".join(wrong)
    assert next(sent) >= AT_LEAST, statuses
    assert {200, 202, 400, 404} <= statuses.keys(), statuses


def test_it_is_valid_and_each_example_fits_its_schema() -> None:
    whole = description("1")
    assert len(whole["paths"]) > 60
    told = 0
    for path, operations in whole["paths"].items():
        for method, operation in operations.items():
            contents = [operation.get("requestBody", {}).get("content", {})]
            contents += [answer.get("content", {}) for answer in operation["responses"].values()]
            for content in itertools.chain.from_iterable(c.values() for c in contents):
                if "example" in content:
                    about = {"components": whole["components"]} | content["schema"]
                    try:
                        jsonschema.validate(content["example"], about)
                    except jsonschema.ValidationError as error:
                        raise AssertionError(f"{method} {path}: {error.message}") from None
                    told += 1
    assert told > 150
