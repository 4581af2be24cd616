"""What the API server's refusals mean."""

from typing import Any

import pytest

from tools.backends.kubernetes.refusals import refusal
from tools.errors import Code

CONFLICT = {
    "message": 'Apply failed with 1 conflict: conflict with "argocd-controller": .spec.replicas',
    "reason": "Conflict",
    "details": {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "argocd-controller" using apps/v1',
                "field": ".spec.replicas",
            }
        ]
    },
}
RBAC = 'pods is forbidden: User "alice" cannot list resource "pods" in API group "" at the cluster scope'
QUOTA = 'pods "big" is forbidden: exceeded quota: plan, requested: limits.cpu=2, used: limits.cpu=0'
POD_SECURITY = 'pods "priv" is forbidden: violates PodSecurity "baseline:latest": host namespaces'
ENDING = (
    'configmaps "late" is forbidden: unable to create new content in namespace acme'
    " because it is being terminated"
)
BOUND = 'pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 2'


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"message": "strict decoding error"}, Code.INVALID_ARGUMENT),
        (401, {"message": "Unauthorized"}, Code.UNAUTHENTICATED),
        (403, {"message": RBAC}, Code.PERMISSION_DENIED),
        (403, {"message": 'roles "r" is forbidden: user "a" is attempting to grant RBAC permissions not currently held'}, Code.FAILED_PRECONDITION),
        (403, {"message": QUOTA}, Code.RESOURCE_EXHAUSTED),
        (403, {"message": POD_SECURITY}, Code.FAILED_PRECONDITION),
        (403, {"message": ENDING}, Code.FAILED_PRECONDITION),
        (403, {"message": BOUND}, Code.FAILED_PRECONDITION),
        (404, {"message": 'pods "x" not found'}, Code.NOT_FOUND),
        (409, {"message": "already exists", "reason": "AlreadyExists"}, Code.ALREADY_EXISTS),
        (409, CONFLICT, Code.FAILED_PRECONDITION),
        (410, {"message": "too old resource version"}, Code.FAILED_PRECONDITION),
        (422, {"message": "is invalid"}, Code.INVALID_ARGUMENT),
        (429, {"message": "too many requests"}, Code.RESOURCE_EXHAUSTED),
        (500, {"message": "etcd"}, Code.UNAVAILABLE),
        (500, {"message": "failed to create typed patch object (a/web; apps/v1, Kind=Deployment): .spec.replcas: field not declared in schema"}, Code.INVALID_ARGUMENT),
        (500, {"message": "failed to convert new object (a/q; /v1, Kind=ResourceQuota) to proper version: unable to convert"}, Code.INVALID_ARGUMENT),
        (503, "no endpoints", Code.UNAVAILABLE),
        (504, {"message": "timeout"}, Code.UNAVAILABLE),
    ],
)  # fmt: skip
def test_a_status_becomes_its_code_in_the_apis_own_words(
    status: int, body: Any, code: Code
) -> None:
    error = refusal("test", status, body, {}, carried=False)
    assert error.code is code
    assert (body if isinstance(body, str) else body["message"]) in error.message
    assert error.hint
    assert not error.lost


def test_a_conflict_names_the_managers_and_the_way_on() -> None:
    error = refusal("test", 409, CONFLICT, {}, carried=True)
    assert "argocd-controller" in error.hint
    assert "force=true" in error.hint
    assert ".spec.replicas" in error.message


def test_a_busy_server_says_when_to_come_back() -> None:
    error = refusal("test", 429, {"message": "busy"}, {"Retry-After": "7"}, carried=True)
    assert (error.retry_after, error.passing, error.lost) == (7.0, True, False)
    assert refusal("test", 429, {}, {"Retry-After": "soon"}, carried=True).retry_after == 1.0


def test_only_a_504_leaves_it_open_whether_a_change_was_made() -> None:
    assert refusal("test", 504, {}, {}, carried=True).lost
    assert not refusal("test", 504, {}, {}, carried=False).lost
    assert not refusal("test", 500, {}, {}, carried=True).lost


def test_a_used_up_quota_does_not_pass_by_waiting() -> None:
    assert not refusal("test", 403, {"message": QUOTA}, {}, carried=True).passing


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3), ("0.5", 0.5), ("-1", 1), ("inf", 1), ("nan", 1), ("soon", 1), ("1e9", 3600)],
)
def test_how_long_to_wait_is_a_time_that_can_be_waited(header: str, seconds: float) -> None:
    error = refusal("test", 429, {}, {"Retry-After": header}, carried=False)
    assert error.retry_after == seconds
