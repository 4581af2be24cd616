"""Kubernetes objects as plain dictionaries."""

from datetime import UTC, datetime

import pytest

from tools.errors import Code, ToolError
from tools.objects import Lean, age, anew, clip, owner, refuse_ours

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


class Row(Lean):
    name: str
    note: str = ""
    count: int = 1
    inner: "Row | None" = None


def test_a_lean_answer_leaves_out_defaults_and_keeps_its_schema() -> None:
    row = Row(name="", inner=Row(name="b", count=2))
    assert row.model_dump() == {"name": "", "inner": {"name": "b", "count": 2}}
    schema = Row.model_json_schema(mode="serialization")["$defs"]["Row"]
    assert set(schema["properties"]) == {"name", "note", "count", "inner"}
    assert schema["required"] == ["name"]


@pytest.mark.parametrize(
    ("since", "said"),
    [
        ("2026-01-10T11:59:30Z", "30s"),
        ("2026-01-10T11:58:30.123456Z", "89s"),
        ("2026-01-10T11:00:00Z", "60m"),
        ("2026-01-09T11:00:00Z", "25h"),
        ("2026-01-01T12:00:00Z", "9d"),
        ("2026-01-10T12:00:05Z", "0s"),
        (None, ""),
    ],
)
def test_ages_are_told_as_kubectl_does(since: str | None, said: str) -> None:
    assert age(since, NOW) == said


def test_a_clipped_text_is_one_line() -> None:
    assert clip("a\n  b\tc") == "a b c"
    assert clip("x" * 20, 10) == "x" * 9 + "…"


def test_what_is_made_anew_is_what_its_owner_said() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "p", "namespace": "acme", "uid": "u", "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{}],
            "labels": {"app": "p"},
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{
                "name": "c",
                "volumeMounts": [{"name": "kube-api-access-x1"}, {"name": "data"}],
            }],
            "volumes": [{"name": "kube-api-access-x1"}, {"name": "data"}],
        },
        "status": {"phase": "Running"},
    }  # fmt: skip
    assert anew(pod) == {
        "metadata": {"labels": {"app": "p"}},
        "spec": {
            "containers": [{"name": "c", "volumeMounts": [{"name": "data"}]}],
            "volumes": [{"name": "data"}],
        },
    }


def test_a_job_made_anew_gets_a_selector_of_its_own() -> None:
    marks = {"controller-uid": "u", "batch.kubernetes.io/controller-uid": "u", "app": "x"}
    job = {
        "kind": "Job",
        "metadata": {"name": "j", "labels": marks},
        "spec": {"selector": {"matchLabels": marks}, "template": {"metadata": {"labels": marks}}},
    }
    body = anew(job)
    assert body["metadata"]["labels"] == {"app": "x"}
    assert body["spec"] == {"template": {"metadata": {"labels": {"app": "x"}}}}


def test_an_owner_is_the_controller() -> None:
    references = [
        {"kind": "A", "name": "a"},
        {"kind": "ReplicaSet", "name": "r", "controller": True},
    ]
    assert owner({"metadata": {"ownerReferences": references}}) == "ReplicaSet r"
    assert owner({"metadata": {}}) == ""


def test_what_the_platform_keeps_is_refused() -> None:
    refuse_ours({"metadata": {"labels": {"app": "x"}}}, "it")
    with pytest.raises(ToolError) as refused:
        refuse_ours({"metadata": {"labels": {"app.kubernetes.io/managed-by": "pilothouse"}}}, "it")
    assert refused.value.code is Code.PERMISSION_DENIED
