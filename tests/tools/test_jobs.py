"""Jobs: planned as data, and run on a cluster."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.tools.conftest import Hands, context, eventually, job_log, run_job
from tools import jobs
from tools.errors import Code, ToolError
from tools.jobs import JobCancel, JobCreate, JobListArguments, JobName, generated, job_result
from tools.plan import Create, Delete, Patch

# ---- plans as data


async def test_a_job_is_one_object_with_the_least_rights_it_can_run_with() -> None:
    asked = JobCreate.model_validate({
        "tenant": "acme", "image": "busybox:1.37", "command": ["echo"], "args": ["hi"],
        "env": {"A": "1"}, "secret_env": {"B": {"secret": "db", "key": "password"}},
        "cpu_request": "100m", "memory_limit": "1Gi", "timeout_s": 60, "retries": 2, "ttl_s": 90,
    })  # fmt: skip
    spec = jobs.manifest(asked, context(None, "acme"), "default")["spec"]
    assert (spec["activeDeadlineSeconds"], spec["backoffLimit"]) == (60, 2)
    assert spec["ttlSecondsAfterFinished"] == 90
    assert spec["template"]["spec"] == {
        "serviceAccountName": "default",
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsUser": 65532, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{
            "name": "job",
            "image": "busybox:1.37",
            "command": ["echo"],
            "args": ["hi"],
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
            ],
            "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
            },
        }],
    }  # fmt: skip


async def test_what_is_not_said_is_left_to_the_tenants_limits() -> None:
    asked = JobCreate(tenant="acme", image="busybox")
    container = jobs.manifest(asked, context(None, "acme"), "default")["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert container.keys() == {"name", "image", "securityContext"}


@pytest.mark.parametrize(
    ("image", "stem"),
    [
        ("busybox:1.37", "busybox"),
        ("ghcr.io/Acme/My_Tool:v1", "my-tool"),
        ("r.example:5000/x@sha256:" + "0" * 64, "x"),
        ("a" * 200, "a" * 54),
    ],
)
def test_a_name_is_made_after_the_image_and_differs_each_time(image: str, stem: str) -> None:
    first, second = generated(image), generated(image)
    assert first.rpartition("-")[0] == stem
    assert first != second
    assert len(first) <= 63


BAD: list[dict[str, Any]] = [
    {"name": "a" * 64},
    {"name": "../x"},
    {"image": "x y"},
    {"env": {"1A": "x"}},
    {"env": {"A": "x"}, "secret_env": {"A": {"secret": "s", "key": "k"}}},
    {"secret_env": {"A": {"secret": "../s", "key": "k"}}},
    {"command": "echo hi"},
    {"command": ["x" * 30_000] * 10},
    {"timeout_s": 0},
    {"retries": -1},
    {"retries": 10**9},
    {"cpu_limit": "much"},
    {"shell": True},
]


@pytest.mark.parametrize("bad", BAD, ids=[",".join(b) for b in BAD])
def test_bad_arguments_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        JobCreate.model_validate({"tenant": "acme", "image": "busybox"} | bad)


# ---- on a cluster


@pytest.mark.cluster
class TestOnACluster:
    async def ended(self, hands: Hands, name: str) -> jobs.JobAnswer:
        asked = JobName(tenant=hands.tenant, name=name)

        async def look() -> jobs.JobAnswer | None:
            told = await jobs.get(hands.context(), asked)
            return told if told.status in ("succeeded", "failed") else None

        answer: jobs.JobAnswer = await eventually(look)
        return answer

    async def test_a_job_that_is_waited_for_has_ended_with_its_log(self, hands: Hands) -> None:
        name = await run_job(hands, "echo one; echo two", wait=True)
        told = await jobs.get(hands.context(), JobName(tenant=hands.tenant, name=name))
        assert (told.status, told.exit_code, told.log) == ("succeeded", 0, "one\ntwo\n")
        assert told.image == "busybox:1.37"
        assert told.duration_s is not None

    async def test_a_job_that_fails_says_why_and_with_which_code(self, hands: Hands) -> None:
        name = await run_job(hands, "echo oh; exit 3", name="bad")
        told = await self.ended(hands, name)
        assert (told.status, told.exit_code, told.attempts) == ("failed", 3, 1)
        assert told.reason.startswith("BackoffLimitExceeded")
        assert told.log == "oh\n"

    async def test_a_job_whose_image_is_not_there_says_so_while_it_waits(
        self, hands: Hands
    ) -> None:
        asked = JobCreate(tenant=hands.tenant, image="registry.invalid/none:1", name="noimage")
        await hands.carry_out(await jobs.create(hands.context(), asked))

        async def told() -> bool:
            now = await jobs.get(hands.context(), JobName(tenant=hands.tenant, name="noimage"))
            return now.status == "pending" and "registry.invalid/none:1" in now.reason

        await eventually(told)

    async def test_a_name_that_is_taken_is_refused_at_planning(self, hands: Hands) -> None:
        await run_job(hands, "true", name="once")
        with pytest.raises(ToolError) as refused:
            await run_job(hands, "true", name="once")
        assert refused.value.code is Code.ALREADY_EXISTS

    async def test_what_pod_security_forbids_is_refused_at_preview(self, hands: Hands) -> None:
        api = hands.writes.api
        strict = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
        await api.request(
            "PATCH", f"/api/v1/namespaces/{hands.tenant}", body=strict,
            content_type="application/merge-patch+json",
        )  # fmt: skip
        asked = JobCreate(tenant=hands.tenant, image="busybox", user=0)
        plan = await jobs.create(hands.context(), asked)
        assert "root" in plan.notes[0]
        with pytest.raises(ToolError, match="violates PodSecurity"):
            await hands.writes.preview(plan.changes[0], plan)
        await run_job(hands, "true", name="as-nobody")

    async def test_what_the_quota_forbids_is_refused_at_preview(self, hands: Hands) -> None:
        await hands.apply("v1/ResourceQuota", "plan", spec={"hard": {"requests.cpu": "1"}})
        asked = JobCreate(tenant=hands.tenant, image="busybox", cpu_request="2")
        plan = await jobs.create(hands.context(), asked)

        async def refused() -> bool:
            try:
                await hands.writes.preview(plan.changes[0], plan)
            except ToolError as error:
                return "exceeded quota: plan" in error.message
            return False

        await eventually(refused)

    async def test_a_cancelled_job_stands_as_cancelled_and_its_log_is_what_was_kept(
        self, hands: Hands
    ) -> None:
        name = await run_job(hands, "echo begun; sleep 600", name="long")
        me = JobName(tenant=hands.tenant, name=name)

        async def begun() -> bool:
            return (await jobs.get(hands.context(), me)).log == "begun\n"

        await eventually(begun)
        plan = await jobs.cancel(hands.context(), JobCancel(tenant=hands.tenant, name=name))
        assert [type(c) for c in plan.changes] == [Patch]
        hands.kept.results[name] = await job_result(hands.writes, hands.tenant, name)
        await hands.carry_out(plan)

        async def gone() -> bool:
            now = await jobs.get(hands.context(), me)
            return now.status == "cancelled" and not now.pods and now.log == "begun\n"

        await eventually(gone)
        pieces = await job_log(hands, name)
        assert pieces == [{"text": "begun\n"}, {"done": True, "status": "cancelled"}]
        listed = await jobs.list_jobs(hands.context(), JobListArguments(tenant=hands.tenant))
        assert [(j.name, j.status) for j in listed.jobs] == [("long", "cancelled")]
        with pytest.raises(ToolError, match="has ended already: cancelled"):
            await jobs.cancel(hands.context(), JobCancel(tenant=hands.tenant, name=name))

    async def test_undoing_a_cancel_runs_the_job_again(self, hands: Hands) -> None:
        name = await run_job(hands, "echo begun; sleep 600", name="again")
        asked = JobCancel(tenant=hands.tenant, name=name)
        plan = await hands.carry_out(await jobs.cancel(hands.context(), asked))
        await hands.undo(plan)
        job = await hands.get("batch/v1/Job", name)
        assert job is not None
        assert not job["spec"]["suspend"]
        assert "pilothouse.dev/cancelled" not in (job["metadata"].get("annotations") or {})

    async def test_cancelling_with_delete_suspends_first_and_can_be_undone(
        self, hands: Hands
    ) -> None:
        name = await run_job(hands, "sleep 600", name="away")
        asked = JobCancel(tenant=hands.tenant, name=name, delete=True)
        plan = await jobs.cancel(hands.context(), asked)
        assert [type(c) for c in plan.changes] == [Patch, Delete]
        assert plan.changes[1].needs == (plan.changes[0].id,)
        assert isinstance(plan.changes[1].inverse(), Create)
        deletion = await jobs.cancel(hands.context(), asked)
        last = deletion.changes[1].model_copy(update={"needs": ()})
        await hands.carry_out(deletion.model_copy(update={"changes": (last,)}))
        assert await hands.get("batch/v1/Job", name) is None
        hands.kept.results[name] = {"status": "running", "log": "kept\n"}
        told = await jobs.get(hands.context(), JobName(tenant=hands.tenant, name=name))
        assert (told.status, told.kept, told.log) == ("cancelled", True, "kept\n")
        await hands.undo(deletion.model_copy(update={"changes": (last,)}))
        assert await hands.get("batch/v1/Job", name)

    async def test_a_job_that_never_was_is_not_found(self, hands: Hands) -> None:
        for asking in (
            jobs.get(hands.context(), JobName(tenant=hands.tenant, name="none")),
            jobs.cancel(hands.context(), JobCancel(tenant=hands.tenant, name="none")),
        ):
            with pytest.raises(ToolError) as refused:
                await asking
            assert refused.value.code is Code.NOT_FOUND

    async def test_a_job_that_is_gone_is_told_from_what_was_kept(self, hands: Hands) -> None:
        hands.kept.results["old"] = {"status": "failed", "exit_code": 2, "log": "a\nb\n"}
        told = await jobs.get(hands.context(), JobName(tenant=hands.tenant, name="old"))
        assert (told.status, told.exit_code, told.kept) == ("failed", 2, True)
