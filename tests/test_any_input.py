"""Whatever is sent to a tool is answered: with a code that is known, a next step, and in time."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import reached
from tests.house import OLIVIA
from tests.lodging import Lodging, deployment, lodging
from tools.calls import Problem
from tools.errors import Code, ToolError
from tools.tool import Effect, Tool, catalog

pytestmark = pytest.mark.asyncio(loop_scope="module")
ANSWER_S = 20
MOST_SAID = 2000

TEXT = st.text(max_size=40)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ODD_TEXT = st.sampled_from([
    "", " ", "../x", "../../etc/passwd", "%2e%2e", "a/b", "a?b=c", "a#b", ".", "..", "-a", "a-",
    "a" * 64, "a" * 254, "x" * 5000, "eyJ" * 100_000, "UPPER", "ünïcode", "a\nb", "a\0b", "\ud83d",
    "\u202e", "\U0001f4a5" * 100, "kube-system", "default", "pilothouse-x", "1e9",
])  # fmt: skip
ODD = ODD_TEXT | st.sampled_from([
    -1, 0, 10**9, 10**30, 10**4000, 0.5, float("nan"), float("inf"), True, None,
    [], {}, [[[]]], {"a": {"b": {}}}, {1: 2}, {"x" * 5000: "y"},
])  # fmt: skip
# What an argument of this name could well be, so that more than its type is looked at.
FIT: dict[str, list[Any]] = {
    "name": ["web", "hello", "none"],
    "kind": ["Deployment", "Pod", "ConfigMap", "cm", "Secret", "Namespace", "batch/v1/Job"],
    "image": ["busybox"],
    "command": [["true"]],
    "plan": ["free", "pro", "gold"],
    "isolation": ["namespace", "node-pool", "cluster"],
    "id": ["abc", "i-0123456789abcdef0"],
    "replicas": [1, 3],
    "min_replicas": [1],
    "limit": [1, 50],
    "wait_s": [0],
    "follow": [False],
    "sha256": ["0" * 64],
    "subject": ["sam"],
    "reason": ["because"],
    "labels": ["a=b", "a in (b)"],
    "object": ["web", "Deployment/web"],
    "service": ["ec2", "rds"],
    "state": ["waiting", "succeeded"],
    "objects": ["keep", "delete"],
    "since": ["10m"],
    "next": ["x", "0|t|web|Deployment"],
    "cpu_request": ["100m"],
    "env": [{"A": "b"}],
    "secret_env": [{"A": {"secret": "s", "key": "k"}}],
    "tenants": [{"none": "user"}],
    "manifest": [
        deployment("other"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}},
        "kind: Pod\napiVersion: v1\nmetadata: {name: p}\nspec: {containers: [{name: a, image: b}]}",
    ],
}


def arguments(tool: Tool, tenant: str) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly such as the tool takes, with a few that are not."""
    fields = tool.arguments.model_fields
    fit = FIT | {"tenant": [tenant, "none", "kube-system"]}

    def but(odd: set[str]) -> st.SearchStrategy[dict[str, Any]]:
        good = {f: st.sampled_from(fit.get(f, [True, "x", 1])) for f in fields}
        sent = {f for f in fields if fields[f].is_required()} | odd
        return st.fixed_dictionaries(
            {f: good[f] | ODD | ANYTHING if f in odd else good[f] for f in sorted(sent)}
        )

    some = st.sets(st.sampled_from(sorted(fields)), max_size=2) if fields else st.just(set())
    known = some.flatmap(but)
    more = st.dictionaries(TEXT | ODD_TEXT, ANYTHING, max_size=2)
    return known | st.builds(lambda a, b: a | b, known, more) | more


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(
    practice: Any, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lodging]:
    folder = tmp_path_factory.mktemp("any")
    practice.kubeconfig(path=folder / "kubeconfig")
    async with (
        reached(str(folder / "kubeconfig")) as kube,
        lodging(kube, moto_url, folder) as home,
    ):
        yield home


async def problem(home: Lodging, tool: Tool, sent: dict[str, Any]) -> Problem | None:
    """What is said against it. Nothing is carried out but what Pilothouse keeps for itself."""
    gate = home.app.gate
    if tool.effect is Effect.STREAM:
        try:
            pieces = [piece async for piece in gate.stream(OLIVIA, tool.name, sent)]
        except ToolError as error:
            return Problem.of(error)
        assert json.dumps(pieces).encode()
        return None
    outcome = await gate.call(OLIVIA, tool.name, sent, preview=tool.effect is Effect.WRITE)
    assert outcome.model_dump_json().encode()
    return outcome.error


@pytest.mark.parametrize("name", sorted(catalog()))
@settings(
    max_examples=25, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(data=st.data())
async def test_whatever_is_sent_is_answered_with_a_code_and_a_next_step(
    home: Lodging, name: str, data: st.DataObject
) -> None:
    tool = catalog()[name]
    sent = data.draw(arguments(tool, home.tenant))
    async with asyncio.timeout(ANSWER_S):
        said = await problem(home, tool, sent)
    if said:
        assert said.code is not Code.INTERNAL, said
        assert said.hint, said
        assert len(said.message) + len(said.hint) <= MOST_SAID
        assert said.model_dump_json().encode()


async def test_what_was_sent_does_not_keep_calls_off_the_record(home: Lodging) -> None:
    """A line that could not be written would hold back all that come after it."""
    odd = ["\ud83d", "a\0b", "x" * 5000, ["x"], {"a": {}}]
    for tenant in odd:
        await home.call(OLIVIA, "workload_list", tenant=tenant)
        await home.call(OLIVIA, f"workload_list{tenant}", tenant="t")
    audit = home.app.local_gate.audit
    await audit.flush()
    assert not audit._held
