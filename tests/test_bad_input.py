"""What callers get wrong, on a whole Pilothouse: refused with a code and the next step."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import Kube
from tests.house import OLIVIA, OSCAR
from tests.lodging import Lodging, deployment, lodging, refused
from tools.calls import State
from tools.errors import Code

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(
    shared_kube: Kube, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lodging]:
    async with lodging(shared_kube, moto_url, tmp_path_factory.mktemp("input")) as home:
        yield home


# ---- names

NO_NAMES = [
    "", " ", "a" * 64, "../x", "..", ".", "a/b", "%2e%2e", "Web", "wéb", "веб", "web_1", "-web",
    "web-", "web.", "we b", "web\n", "web;ls", "$(ls)", "a" * 100_000,
]  # fmt: skip
# Each tool's argument that is the name of something, and the rest that it needs.
NAMED: list[tuple[str, str, dict[str, Any]]] = [
    ("tenant_create", "name", {}),
    ("tenant_adopt", "name", {}),
    ("tenant_get", "tenant", {}),
    ("tenant_update", "tenant", {"plan": "pro"}),
    ("tenant_delete", "tenant", {}),
    ("job_create", "name", {"tenant": "{tenant}", "image": "busybox"}),
    ("job_create", "tenant", {"image": "busybox"}),
    ("job_get", "name", {"tenant": "{tenant}"}),
    ("job_cancel", "name", {"tenant": "{tenant}"}),
    ("workload_resize", "container", {"tenant": "{tenant}", "name": "web", "cpu_request": "1m"}),
    ("instance_stop", "id", {}),
]


@pytest.mark.parametrize(("tool", "field", "rest"), NAMED, ids=[f"{t}-{f}" for t, f, _ in NAMED])
async def test_what_is_no_name_is_refused_before_anything_is_asked_about_it(
    home: Lodging, tool: str, field: str, rest: dict[str, Any]
) -> None:
    rest = {k: v.format(tenant=home.tenant) for k, v in rest.items()}
    for name in NO_NAMES:
        outcome = await home.call(OLIVIA, tool, **rest | {field: name})
        if name == "web\n":  # space around a name is taken off
            assert outcome.error is None or "is not a name" not in outcome.error.message
        elif outcome.error and outcome.error.code is Code.NOT_FOUND:
            assert tool == "instance_stop"  # RDS has capitals in its names, and lets one end in `-`
        else:
            refused(outcome, Code.INVALID_ARGUMENT)


@pytest.mark.parametrize("name", ["a" * 254, "../web", "Web", "", "a..b"])
async def test_a_workloads_name_may_have_dots_and_nothing_else(home: Lodging, name: str) -> None:
    for tool, more in (
        ("workload_get", {}),
        ("workload_scale", {"replicas": 1}),
        ("workload_delete", {}),
        ("autoscaler_update", {"min_replicas": 1}),
    ):
        refused(
            await home.call(home.user, tool, tenant=home.tenant, name=name, **more),
            Code.INVALID_ARGUMENT,
        )


@pytest.mark.parametrize(
    "name", ["default", "kube-system", "kube-x", "openshift-x", "pilothouse-x"]
)
async def test_the_platforms_own_names_are_reserved(home: Lodging, name: str) -> None:
    for tool in ("tenant_create", "tenant_adopt"):
        refused(await home.call(OLIVIA, tool, name=name), Code.INVALID_ARGUMENT, "reserved")


@pytest.mark.parametrize(
    "id", ["", "ab", "no-such", "../x", "%", "_", "a' or 1=1 --", "a" * 33, "é" * 9]
)
async def test_what_is_no_calls_id_finds_none(home: Lodging, id: str) -> None:
    for tool in ("call_get", "call_wait", "call_undo", "call_retry"):
        outcome = await home.call(OLIVIA, tool, id=id)
        code = Code.NOT_FOUND if 3 <= len(id) <= 32 else Code.INVALID_ARGUMENT
        refused(outcome, code)


@pytest.mark.parametrize("key", ["k" * 129, "ключ", "k\0", "k\n", "\ud83d"])
async def test_what_is_no_key_is_refused_and_nothing_is_done(home: Lodging, key: str) -> None:
    arguments = {"tenant": home.tenant, "name": "web", "replicas": 1}
    refused(
        await home.app.gate.call(OLIVIA, "workload_scale", arguments, key=key),
        Code.INVALID_ARGUMENT,
        "key",
    )


async def test_an_empty_key_is_none(home: Lodging) -> None:
    arguments = {"tenant": home.tenant, "name": "web", "replicas": 2}
    for _ in range(2):
        outcome = await home.app.gate.call(OLIVIA, "workload_scale", arguments, key="")
        assert outcome.state is State.SUCCEEDED


# ---- what is there, and what is not


async def test_a_tenant_that_is_there_is_not_made_again(home: Lodging) -> None:
    outcome = await home.call(OLIVIA, "tenant_create", name=home.tenant, plan="enterprise")
    refused(outcome, Code.ALREADY_EXISTS, home.tenant)
    refused(await home.call(OLIVIA, "tenant_adopt", name=home.tenant), Code.ALREADY_EXISTS)
    shown = await home.call(OLIVIA, "tenant_get", tenant=home.tenant)
    assert shown.answer
    assert shown.answer["plan"] == "free"


ABSENT = [
    ("tenant_get", {}),
    ("tenant_update", {"plan": "pro"}),
    ("tenant_repair", {}),
    ("tenant_delete", {}),
    ("job_list", {}),
    ("job_create", {"image": "busybox"}),
    ("job_get", {"name": "hello"}),
    ("workload_get", {"name": "web"}),
    ("workload_scale", {"name": "web", "replicas": 3}),
    ("resource_apply", {"manifest": deployment()}),
    ("workload_list", {}),
    ("events_list", {}),
    ("resource_list", {"kind": "pods"}),
    ("tenant_adopt", {}),
]


@pytest.mark.parametrize(("tool", "more"), ABSENT, ids=[t for t, _ in ABSENT])
async def test_a_tenant_that_is_not_there_is_said_to_be_missing(
    home: Lodging, tool: str, more: dict[str, Any]
) -> None:
    absent = f"t-{uuid.uuid4().hex[:8]}"
    what = "namespace" if tool == "tenant_adopt" else "tenant"
    about = {"name": absent} if tool == "tenant_adopt" else more | {"tenant": absent}
    outcome = await home.call(OLIVIA, tool, **about)
    refused(outcome, Code.NOT_FOUND, f"There is no {what} {absent}")


async def test_an_operator_may_look_into_a_namespace_that_is_no_tenant(home: Lodging) -> None:
    shown = await home.call(OLIVIA, "workload_list", tenant="kube-system")
    assert shown.state is State.SUCCEEDED, shown


async def test_a_namespace_that_is_no_tenant_can_be_adopted_and_not_made(home: Lodging) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await home.kube.api.request("POST", "/api/v1/namespaces", body=body)
    try:
        outcome = await home.call(OLIVIA, "tenant_create", name=name)
        refused(outcome, Code.ALREADY_EXISTS, "no tenant")
        assert outcome.error
        assert "tenant_adopt" in outcome.error.hint
        refused(await home.call(OLIVIA, "tenant_get", tenant=name), Code.NOT_FOUND)
    finally:
        await home.kube.api.request("DELETE", f"/api/v1/namespaces/{name}")


async def test_what_is_asked_of_a_tenant_that_is_being_deleted_waits_for_its_end(
    home: Lodging,
) -> None:
    """A finalizer holds its namespace, as a controller that is slow would."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    await home.done("tenant_create", name=name)
    path = f"/api/v1/namespaces/{name}"
    holds: dict[str, Any] = {"name": "holds", "finalizers": ["pilothouse.dev/test"]}
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": holds}
    await home.kube.api.request("POST", f"{path}/configmaps", body=held)
    await home.kube.api.request("DELETE", path)
    try:
        for tool, more in (
            ("tenant_create", {"name": name}),
            ("tenant_adopt", {"name": name}),
            ("tenant_update", {"tenant": name, "plan": "pro"}),
            ("tenant_repair", {"tenant": name}),
            ("job_create", {"tenant": name, "image": "busybox"}),
            ("resource_apply", {"tenant": name, "manifest": deployment()}),
        ):
            outcome = await home.call(OLIVIA, tool, **more)
            refused(outcome, Code.FAILED_PRECONDITION, name)
            assert outcome.error
            assert "ait until" in outcome.error.hint, tool
        shown = await home.app.gate.call(OLIVIA, "tenant_delete", {"tenant": name}, preview=True)
        assert "Its namespace is being deleted already." in shown.notes
    finally:
        free = {"metadata": {"finalizers": None}}
        await home.kube.api.request(
            "PATCH",
            f"{path}/configmaps/holds",
            body=free,
            content_type="application/merge-patch+json",
        )


# ---- numbers

NO_NUMBERS = [-1, 10**9, 10**30, 1.5, float("nan"), float("inf"), True, "many", "", [3], {"a": 3}]
NUMBERS: list[tuple[str, str, dict[str, Any]]] = [
    ("workload_scale", "replicas", {"name": "web"}),
    ("workload_start", "replicas", {"name": "web"}),
    ("autoscaler_update", "max_replicas", {"name": "web"}),
    ("job_create", "timeout_s", {"image": "busybox"}),
    ("job_create", "retries", {"image": "busybox"}),
    ("job_create", "user", {"image": "busybox"}),
    ("job_list", "limit", {}),
    ("workload_list", "limit", {}),
    ("events_list", "limit", {}),
    ("call_wait", "wait_s", {"id": "abc"}),
]
FIT = [("job_create", "user", 10**9), ("call_wait", "wait_s", 1.5)]


@pytest.mark.parametrize(
    ("tool", "field", "rest"), NUMBERS, ids=[f"{t}-{f}" for t, f, _ in NUMBERS]
)
async def test_a_number_is_one_and_within_its_bounds(
    home: Lodging, tool: str, field: str, rest: dict[str, Any]
) -> None:
    about = {} if tool == "call_wait" else {"tenant": home.tenant}
    for number in NO_NUMBERS:
        if (tool, field, number) in FIT:
            continue
        outcome = await home.call(OLIVIA, tool, **about, **rest | {field: number})
        refused(outcome, Code.INVALID_ARGUMENT)


# ---- what is too much

LONG = "x" * (1 << 20)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


async def test_a_megabyte_is_refused_wherever_it_stands(home: Lodging) -> None:
    for tool, more in (
        ("tenant_create", {"name": LONG}),
        ("tenant_create", {"name": "x", "display_name": LONG}),
        ("job_create", {"tenant": home.tenant, "image": "busybox", "command": [LONG]}),
        ("job_create", {"tenant": home.tenant, "image": "busybox", "env": {LONG: "a"}}),
        ("job_create", {"tenant": home.tenant, "image": "busybox", "args": ["x"] * 200_000}),
        ("resource_apply", {"tenant": home.tenant, "manifest": LONG}),
        ("resource_apply", {"tenant": home.tenant, "manifest": {"data": {"a": LONG}}}),
        ("workload_list", {"tenant": home.tenant, "text": LONG}),
        ("call_list", {"next": LONG}),
        ("resource_list", {"kind": LONG}),
        (LONG, {}),
        ("tenant_list", {LONG: 1}),
    ):
        outcome = await home.call(OLIVIA, tool, **more)
        refused(outcome, Code.NOT_FOUND if tool == LONG else Code.INVALID_ARGUMENT)


@pytest.mark.parametrize("depth", [90, 1000, 100_000])
async def test_what_is_nested_too_deeply_is_refused(home: Lodging, depth: int) -> None:
    for tool, more in (
        ("tenant_get", {"tenant": nested(depth)}),
        ("job_create", {"tenant": home.tenant, "image": "busybox", "env": {"A": nested(depth)}}),
        ("resource_apply", {"tenant": home.tenant, "manifest": {"spec": nested(depth)}}),
    ):
        refused(await home.call(OLIVIA, tool, **more), Code.INVALID_ARGUMENT)
    yaml = (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata: {'[' * depth}{']' * depth}"
    )
    refused(
        await home.call(OLIVIA, "resource_apply", tenant=home.tenant, manifest=yaml),
        Code.INVALID_ARGUMENT,
    )


async def test_who_decides_about_what_does_not_wait_is_told_what_became_of_it(
    home: Lodging,
) -> None:
    done = await home.done("workload_restart", tenant=home.tenant, name="web")
    for tool, more in (
        ("call_approve", {}),
        ("call_confirm", {}),
        ("call_reject", {"reason": "no"}),
    ):
        outcome = await home.call(OSCAR, tool, id=done.call_id, **more)
        refused(outcome, Code.FAILED_PRECONDITION, "succeeded")
