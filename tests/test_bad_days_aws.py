"""AWS away, slow, refusing or losing answers, while tenants are made and deleted over it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import reached
from tests.cutting import Way, way_to
from tests.house import OLIVIA, OSCAR, opened, settings
from tests.lodging import Lodging, lodging, refused
from tools import tenant_views
from tools.backends.aws import calling
from tools.calls import Outcome, State
from tools.errors import Code

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def way(moto_url: str) -> AsyncIterator[Way]:
    async with way_to(moto_url) as way:
        yield way


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(
    practice: Any, way: Way, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lodging]:
    folder = tmp_path_factory.mktemp("aws")
    practice.kubeconfig(path=folder / "kubeconfig")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(calling, "TRIES", 1)
        async with (
            reached(str(folder / "kubeconfig")) as kube,
            lodging(kube, way.url, folder, limits={"grace_s": 0}) as home,
        ):
            yield home


@pytest.fixture
def home(shared: Lodging, way: Way) -> Any:
    way.mend()
    yield shared
    way.mend()


def before(home: Lodging, monkeypatch: pytest.MonkeyPatch, way: Way, kind: str, **cut: Any) -> None:
    """Cut the way when the first change to an object of a kind is about to be sent."""
    left = [cut]

    async def cutting(change: Any) -> None:
        if left and change.ref.kind == kind:
            for name, value in left.pop().items():
                setattr(way, name, value)

    monkeypatch.setattr(home.app.local_gate.carrier.engine, "before", cutting)


async def approved(home: Lodging, tool: str, **arguments: Any) -> Outcome:
    waits = await home.call(OLIVIA, tool, **arguments)
    assert waits.state is State.AWAITING_APPROVAL, waits
    return await home.call(OSCAR, "call_approve", id=waits.call_id)


async def swept(home: Lodging, outcome: Outcome) -> Outcome:
    """What has become of a call once it was looked at again."""
    await home.app.local_gate.carrier.sweep()
    shown = await home.call(OLIVIA, "call_wait", id=outcome.call_id)
    return Outcome.model_validate(shown.answer["call"]["outcome"])


async def left_of(home: Lodging, name: str) -> list[str]:
    """What there is of a tenant, in the cluster, IAM and S3."""
    spaces = await home.kube.api.get("/api/v1/namespaces")
    found = [n["metadata"]["name"] for n in spaces["items"]]
    aws = home.app.backends.aws
    found += [r["RoleName"] for r in (await aws.call("iam", "list_roles"))["Roles"]]
    objects = await aws.call("s3", "list_objects_v2", Bucket="tenants")
    found += [o["Key"] for o in objects.get("Contents", [])]
    return [thing for thing in found if name in thing]


# ---- making a tenant

CUT = {"else_": "drop"}
ENDED: list[tuple[str, dict[str, Any]]] = [
    ("iam/Role", {"else_": "drop"}),
    ("s3/Prefix", {"else_": "drop"}),
    ("iam/Role", {"befalls": {"PutRolePolicy": "drop"}}),
    ("iam/Role", {"else_": "ExpiredToken"}),
    ("iam/Role", {"befalls": {"CreateRole": "AccessDenied"}}),
    ("iam/Role", {"befalls": {"PutRolePolicy": "AccessDenied"}}),
    ("s3/Prefix", {"befalls": {"PUT": "AccessDenied"}}),
]


@pytest.mark.parametrize(("kind", "cut"), ENDED)
async def test_a_tenant_whose_role_or_prefix_cannot_be_made_is_taken_back_wholly(
    home: Lodging, way: Way, monkeypatch: pytest.MonkeyPatch, kind: str, cut: dict[str, Any]
) -> None:
    name = f"{home.tenant}-x{ENDED.index((kind, cut))}"
    before(home, monkeypatch, way, kind, **cut)
    outcome = await approved(home, "tenant_create", name=name)
    assert way.befell
    assert outcome.state in (State.FAILED, State.UNKNOWN), outcome
    assert outcome.error
    assert outcome.error.hint
    way.mend()
    if outcome.state is State.UNKNOWN:  # AWS could not be asked what was done
        outcome = await swept(home, outcome)
    assert outcome.state is State.FAILED
    assert await left_of(home, name) == []


@pytest.mark.parametrize("tries", [1, 2])
@pytest.mark.parametrize("operation", ["CreateRole", "PutRolePolicy", "PUT"])
async def test_a_tenant_is_made_once_though_an_answer_of_awss_is_lost(
    home: Lodging, way: Way, monkeypatch: pytest.MonkeyPatch, operation: str, tries: int
) -> None:
    """Also where boto3 sends it again by itself."""
    monkeypatch.setattr(calling, "TRIES", tries)
    home.app.backends.aws.requests._clients.clear()
    name = f"{home.tenant}-{operation.lower()}{tries}"
    way.befalls, way.once = {operation: "lose"}, True
    outcome = await approved(home, "tenant_create", name=name)
    assert way.befell == [operation]
    assert outcome.state is State.SUCCEEDED, outcome.error
    assert len(await left_of(home, name)) == 3
    await approved(home, "tenant_delete", tenant=name, objects="delete")
    assert await left_of(home, name) == []
    home.app.backends.aws.requests._clients.clear()


# The answer to a HEAD does not say why it is a 403.
CODES = {
    "drop": {Code.UNAVAILABLE},
    "hang": {Code.DEADLINE_EXCEEDED},
    "ExpiredToken": {Code.UNAUTHENTICATED, Code.PERMISSION_DENIED},
}


@pytest.mark.parametrize("what", ["drop", "hang", "ExpiredToken"])
async def test_without_aws_a_tenant_is_not_planned(
    home: Lodging, way: Way, monkeypatch: pytest.MonkeyPatch, what: Any
) -> None:
    gate = home.app.local_gate
    if what == "hang":
        monkeypatch.setattr(gate, "limits", replace(gate.limits, plan_s=1))
    way.else_ = what
    outcome = await home.call(OLIVIA, "tenant_create", name=f"{home.tenant}-n")
    assert outcome.error
    refused(outcome, outcome.error.code, "planning" if what == "hang" else "AWS")
    assert outcome.error.code in CODES[what]
    way.mend()
    assert await left_of(home, f"{home.tenant}-n") == []


# ---- deleting one


@pytest.mark.parametrize(
    "cut",
    [{"else_": "drop"}, {"else_": "ExpiredToken"}, {"befalls": {"DeleteRole": "AccessDenied"}}],
)
async def test_a_deletion_past_its_point_of_no_return_is_finished_once_aws_is_back(
    home: Lodging, way: Way, monkeypatch: pytest.MonkeyPatch, cut: dict[str, Any]
) -> None:
    name = f"{home.tenant}-gone"  # no beginning of what a uid may be
    assert (await approved(home, "tenant_create", name=name)).state is State.SUCCEEDED
    before(home, monkeypatch, way, "iam/Role", **cut)
    outcome = await approved(home, "tenant_delete", tenant=name, objects="delete")
    assert way.befell
    assert outcome.state in (State.STUCK, State.UNKNOWN), outcome
    assert outcome.error
    assert outcome.error.hint
    way.mend()
    assert name not in await left_of(home, name), "its namespace is gone"
    if outcome.state is State.STUCK:
        assert "call_retry" in outcome.error.hint
        outcome = await home.call(OLIVIA, "call_retry", id=outcome.call_id)
    else:
        outcome = await swept(home, outcome)
    assert outcome.state is State.SUCCEEDED, outcome
    assert await left_of(home, name) == []


# ---- the rest goes on


@pytest.mark.parametrize("what", ["drop", "hang", "ExpiredToken"])
async def test_what_needs_no_aws_works_without_it(
    tmp_path: Path, shared: Lodging, way: Way, monkeypatch: pytest.MonkeyPatch, what: Any
) -> None:
    """In a process that has never seen it."""
    way.mend()
    way.else_ = what
    monkeypatch.setattr(tenant_views, "DRIFT_S", 0.5)
    limits = {"grace_s": 0, "read_s": 5, "plan_s": 5}
    async with opened(settings(tmp_path, shared.kube.kubeconfig, way.url, limits=limits)) as house:
        async with asyncio.timeout(20):
            for tool, more in (
                ("tenant_list", {}),
                ("job_list", {"tenant": shared.tenant}),
                ("workload_restart", {"tenant": shared.tenant, "name": "web"}),
            ):
                outcome = await house.call(OLIVIA, tool, **more)
                assert outcome.state is State.SUCCEEDED, outcome
            shown = await house.call(OLIVIA, "tenant_get", tenant=shared.tenant, drift=True)
            assert shown.answer, shown
            assert "cannot be said" in shown.answer["drifted"][0]
            instances = await house.call(OLIVIA, "instance_list")
            assert instances.error
            assert instances.error.code in CODES[what]
    way.mend()


async def test_without_credentials_it_is_said_whose_are_missing(
    tmp_path: Path, shared: Lodging, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    way.mend()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    async with opened(settings(tmp_path, shared.kube.kubeconfig, way.url)) as house:
        for tool, more in (("instance_list", {}), ("tenant_create", {"name": "t-nobody"})):
            outcome = await house.call(OLIVIA, tool, **more)
            refused(outcome, Code.UNAUTHENTICATED, "AWS", "credentials")


async def test_credentials_that_were_renewed_are_taken_up_without_a_restart(
    tmp_path: Path, shared: Lodging, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys(id: str) -> None:
        (tmp_path / "credentials").write_text(
            f"[default]\naws_access_key_id = {id}\naws_secret_access_key = x\n"
        )

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    keys("OLDKEY")
    way.mend()
    async with opened(settings(tmp_path, shared.kube.kubeconfig, way.url)) as house:
        assert (await house.call(OLIVIA, "instance_list")).state is State.SUCCEEDED
        way.keys = {"OLDKEY"}
        outcome = await house.call(OLIVIA, "instance_list")
        refused(outcome, Code.UNAUTHENTICATED, "ExpiredToken")
        assert "Renew" in outcome.error.hint
        keys("NEWKEY")
        assert (await house.call(OLIVIA, "instance_list")).state is State.SUCCEEDED
    way.keys = set()
