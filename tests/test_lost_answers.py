"""A cluster that refuses, drops connections or loses answers while a change is carried out."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from server.sandbox.faults import Faults
from tests.conftest import reached
from tests.house import AGENT, OLIVIA, OSCAR
from tests.lodging import Lodging, deployment, lodging, refused
from tools.backends.kubernetes import api
from tools.calls import Outcome, State
from tools.errors import Code

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALWAYS = 10**6
# What is really written, as opposed to what is tried out.
WRITTEN = r"^(?!.*dryRun=All).*"
MODIFIED = "Operation cannot be fulfilled: the object has been modified; please apply your changes"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(
    practice: Any, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lodging]:
    folder = tmp_path_factory.mktemp("lost")
    practice.kubeconfig(path=folder / "kubeconfig")
    async with (
        reached(str(folder / "kubeconfig")) as kube,
        lodging(kube, moto_url, folder) as home,
    ):
        yield home


@pytest.fixture
def faults(practice: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(api, "FIRST_WAIT_S", 0.01)
    practice.faults.clear()
    practice.faults.happened.clear()
    yield practice.faults
    practice.faults.clear()


async def jobs(home: Lodging) -> dict[str, Any]:
    found = await home.kube.api.get(f"/apis/batch/v1/namespaces/{home.tenant}/jobs")
    return {job["metadata"]["name"]: job for job in found["items"]}


async def web(home: Lodging, name: str = "web") -> dict[str, Any]:
    return await home.kube.api.get(f"/apis/apps/v1/namespaces/{home.tenant}/deployments/{name}")


async def scaled(home: Lodging, replicas: int, who: Any = None) -> Outcome:
    about = {"tenant": home.tenant, "name": "web"}
    return await home.call(who or home.user, "workload_scale", **about, replicas=replicas)


async def scale_once_through(home: Lodging, faults: Faults) -> None:
    """It passes in spite of what befell it, and was made once."""
    before = await web(home)
    replicas = 3 - before["spec"]["replicas"]
    outcome = await scaled(home, replicas)
    assert faults.happened, "it was to go wrong"
    assert outcome.state is State.SUCCEEDED, outcome.error
    after = await web(home)
    assert after["spec"]["replicas"] == replicas
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


# ---- what passes by itself

PASSING: dict[str, dict[str, Any]] = {
    "429": {"status": 429},
    "429 with a time": {"status": 429, "retry_after": 1},
    "500": {"status": 500},
    "503": {"status": 503},
    "504": {"status": 504},
    "409": {"status": 409, "message": MODIFIED},
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_a_refusal_that_passes_is_waited_out(
    home: Lodging, faults: Faults, fault: dict[str, Any]
) -> None:
    faults.answer(method="PATCH", path=f"{WRITTEN}/deployments/web/scale", **fault)
    await scale_once_through(home, faults)


@pytest.mark.parametrize("how", ["drop", "lose_answer"])
async def test_a_connection_that_breaks_before_or_after_a_change_makes_it_once(
    home: Lodging, faults: Faults, how: str
) -> None:
    getattr(faults, how)(method="PATCH", path=f"{WRITTEN}/deployments/web/scale")
    await scale_once_through(home, faults)


@pytest.mark.parametrize("how", ["drop", "lose_answer", "hang"])
async def test_a_read_is_tried_again(home: Lodging, faults: Faults, how: str, monkeypatch) -> None:
    monkeypatch.setitem(api.Api.request.__kwdefaults__, "timeout_s", 0.3)
    getattr(faults, how)(method="GET", path="/deployments", times=1)
    outcome = await home.call(home.user, "workload_list", tenant=home.tenant)
    assert faults.happened
    if how == "hang":  # it has cost its time already
        refused(outcome, Code.DEADLINE_EXCEEDED, "No answer within 0.3 s")
    else:
        assert outcome.state is State.SUCCEEDED


async def test_a_change_that_hangs_is_looked_at_and_made_once(
    home: Lodging, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(api.Api.request.__kwdefaults__, "timeout_s", 0.3)
    faults.hang(method="PATCH", path=f"{WRITTEN}/deployments/web/scale")
    await scale_once_through(home, faults)


@pytest.mark.parametrize("how", ["drop", "lose_answer"])
async def test_a_job_whose_answer_is_lost_runs_once(
    home: Lodging, faults: Faults, how: str
) -> None:
    getattr(faults, how)(method="POST", path=f"{WRITTEN}/jobs(\\?|$)")
    before = await jobs(home)
    asked = {"tenant": home.tenant, "image": "busybox:1.37", "command": ["true"], "wait": True}
    outcome = await home.call(home.user, "job_create", **asked)
    assert faults.happened
    assert outcome.state is State.SUCCEEDED, outcome.error
    made = (await jobs(home)).keys() - before.keys()
    assert made == {outcome.answer["name"]}
    assert outcome.answer["status"] == "succeeded"


LOSABLE: list[tuple[str, dict[str, Any], str]] = [
    ("workload_restart", {"name": "web"}, "PATCH"),
    ("workload_resize", {"name": "web", "cpu_request": "20m"}, "PATCH"),
    ("resource_apply", {"manifest": deployment("lost", 1)}, "PATCH"),
    ("workload_stop", {"name": "lost"}, "PATCH"),
    ("workload_delete", {"name": "lost"}, "DELETE"),
]


@pytest.mark.parametrize(("tool", "more", "method"), LOSABLE, ids=[t for t, _, _ in LOSABLE])
async def test_each_change_whose_answers_are_lost_is_settled_by_reading(
    home: Lodging, faults: Faults, tool: str, more: dict[str, Any], method: str
) -> None:
    faults.lose_answer(method=method, path=f"{WRITTEN}/deployments/", times=3)
    outcome = await home.done(tool, tenant=home.tenant, **more)
    faults.clear()
    assert outcome.state is State.SUCCEEDED
    sent = [path for _, verb, path in faults.happened if verb == method]
    assert sent
    if method != "DELETE":  # that names a uid, so the HTTP client may send it again by itself
        assert len(sent) == len(set(sent)), "each was sent once"


async def test_a_tenant_is_made_though_every_answer_is_lost(home: Lodging, faults: Faults) -> None:
    name = f"{home.tenant}-x"
    faults.lose_answer(method="PATCH", path=f"{WRITTEN}{name}", times=ALWAYS)
    outcome = await home.done("tenant_create", name=name)
    assert len(faults.happened) > 10
    paths = [path for _, _, path in faults.happened]
    assert len(paths) == len(set(paths)), "each was sent once"
    faults.clear()
    shown = await home.call(OLIVIA, "tenant_get", tenant=name)
    assert not shown.answer.get("drift"), shown.answer
    faults.lose_answer(method="DELETE", path=f"{WRITTEN}{name}", times=ALWAYS)
    await home.done("tenant_delete", tenant=name)
    faults.clear()
    assert outcome.state is State.SUCCEEDED


# ---- what does not

LASTING: list[tuple[dict[str, Any], Code]] = [
    ({"status": 500}, Code.UNAVAILABLE),
    ({"status": 503}, Code.UNAVAILABLE),
    ({"status": 429, "retry_after": 3600}, Code.RESOURCE_EXHAUSTED),
    ({"status": 403, "message": 'deployments.apps "web" is forbidden: User "x" cannot patch resource "deployments/scale"'}, Code.PERMISSION_DENIED),
    ({"status": 401}, Code.UNAUTHENTICATED),
    ({"status": 422}, Code.INVALID_ARGUMENT),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "code"), LASTING, ids=[str(f["status"]) for f, _ in LASTING])
async def test_a_refusal_that_lasts_ends_the_call_with_its_code_and_nothing_done(
    home: Lodging, faults: Faults, fault: dict[str, Any], code: Code
) -> None:
    before = await web(home)
    faults.answer(method="PATCH", path=f"{WRITTEN}/deployments/web/scale", times=ALWAYS, **fault)
    outcome = await scaled(home, 3 - before["spec"]["replicas"])
    assert outcome.state is State.FAILED
    refused(outcome, code)
    faults.clear()
    assert (await web(home))["spec"] == before["spec"]


@pytest.mark.parametrize(("fault", "code"), LASTING, ids=[str(f["status"]) for f, _ in LASTING])
async def test_a_refused_read_says_why(
    home: Lodging, faults: Faults, fault: dict[str, Any], code: Code
) -> None:
    faults.answer(method="GET", path="/deployments", times=ALWAYS, **fault)
    refused(await home.call(home.user, "workload_list", tenant=home.tenant), code)


@pytest.mark.parametrize("kind", ["namespaces/[a-z0-9-]+\\?", "serviceaccounts", "resourcequotas"])
async def test_a_tenant_that_cannot_be_made_wholly_is_not_made_at_all(
    home: Lodging, faults: Faults, kind: str
) -> None:
    name = f"{home.tenant}-{kind[0]}"
    faults.answer(403, method="PATCH", path=f"{WRITTEN}/{kind}", times=ALWAYS)
    outcome = await home.call(OLIVIA, "tenant_create", name=name)
    outcome = await home.call(OSCAR, "call_approve", id=outcome.call_id)
    assert faults.happened
    assert outcome.state is State.FAILED
    refused(outcome, Code.PERMISSION_DENIED)
    faults.clear()
    refused(await home.call(OLIVIA, "tenant_get", tenant=name), Code.NOT_FOUND)
    roles = await home.app.backends.aws.call("iam", "list_roles")
    assert not [r for r in roles["Roles"] if name in r["RoleName"]]


async def test_what_can_neither_be_finished_nor_taken_back_says_who_must_do_what(
    home: Lodging, faults: Faults
) -> None:
    name = f"{home.tenant}-s"
    faults.answer(403, method="PATCH", path=f"{WRITTEN}/resourcequotas", times=ALWAYS)
    faults.answer(403, method="DELETE", path=name, times=ALWAYS)
    waits = await home.call(OLIVIA, "tenant_create", name=name)
    stuck = await home.call(OSCAR, "call_approve", id=waits.call_id)
    assert stuck.state is State.STUCK
    refused(stuck, Code.PERMISSION_DENIED, "Taking back what was done failed too")
    assert "call_retry" in stuck.error.hint
    faults.clear()
    again = await home.call(OLIVIA, "call_retry", id=waits.call_id)
    assert again.state is State.FAILED
    refused(await home.call(OLIVIA, "tenant_get", tenant=name), Code.NOT_FOUND)


# ---- not knowing


@pytest.mark.parametrize("carried_out", [True, False])
async def test_what_cannot_be_found_out_is_unknown_until_the_cluster_is_back(
    home: Lodging, faults: Faults, monkeypatch: pytest.MonkeyPatch, carried_out: bool
) -> None:
    before = await jobs(home)
    lose = faults.lose_answer if carried_out else faults.drop

    async def gone_from_here_on(change: Any) -> None:
        lose(method="POST", path=f"{WRITTEN}/jobs(\\?|$)")
        faults.drop(method="GET", times=ALWAYS)

    carrier = home.app.local_gate.carrier
    monkeypatch.setattr(carrier.engine, "before", gone_from_here_on)
    asked = {"tenant": home.tenant, "image": "busybox:1.37", "command": ["true"]}
    outcome = await home.call(home.user, "job_create", **asked)
    assert outcome.state is State.UNKNOWN, outcome
    assert outcome.error
    assert "looked at again" in outcome.next
    home.app.local_gate.tenants.forget(home.tenant)
    await carrier.sweep()  # it is still away
    shown = await home.call(OLIVIA, "call_wait", id=outcome.call_id)
    assert shown.answer["call"]["outcome"]["state"] == "unknown"
    faults.clear()
    await carrier.sweep()
    shown = await home.call(OLIVIA, "call_wait", id=outcome.call_id)
    told = shown.answer["call"]["outcome"]
    made = (await jobs(home)).keys() - before.keys()
    # A Job that has run cannot be made not to have run, so it is not taken back.
    assert (told["state"], len(made)) == (("succeeded", 1) if carried_out else ("failed", 0)), told


async def test_a_name_that_is_taken_between_plan_and_approval_is_stale(home: Lodging) -> None:
    asked = {"tenant": home.tenant, "name": "race", "image": "busybox:1.37"}
    waits = await home.call(AGENT, "job_create", **asked)
    assert waits.state is State.AWAITING_CONFIRMATION
    await home.done("job_create", **asked)
    late = await home.call(OLIVIA, "call_confirm", id=waits.call_id)
    assert late.state is State.STALE
    refused(late, Code.FAILED_PRECONDITION, "race")


async def test_a_field_of_anothers_is_refused_with_whose_it_is(home: Lodging) -> None:
    path = f"/apis/apps/v1/namespaces/{home.tenant}/deployments/theirs"
    theirs = deployment("theirs", 1)
    how = {"query": {"fieldManager": "argocd-controller"}}
    await home.kube.api.request(
        "PATCH", path, body=theirs, content_type="application/apply-patch+yaml", **how
    )
    asked = {"tenant": home.tenant, "manifest": deployment("theirs", 2)}
    outcome = await home.preview("resource_apply", **asked)
    refused(outcome, Code.FAILED_PRECONDITION, "argocd-controller")
    assert "force=true" in outcome.error.hint
    forced = await home.preview("resource_apply", **asked, force=True)
    assert forced.state is State.PLANNING, forced
