"""What AWS says when it refuses, and what a caller hears."""

import pytest
from botocore import exceptions as aws

from tools.backends.aws.calling import Requests
from tools.backends.aws.refusals import refusal
from tools.errors import Code, ToolError


def said(name: str, status: int = 400) -> aws.ClientError:
    answer = {
        "Error": {"Code": name, "Message": "so it is"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return aws.ClientError(answer, "Operation")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("ExpiredToken", 403, Code.UNAUTHENTICATED),
        ("InvalidClientTokenId", 403, Code.UNAUTHENTICATED),
        ("AccessDenied", 403, Code.PERMISSION_DENIED),
        ("UnauthorizedOperation", 403, Code.PERMISSION_DENIED),
        ("SomethingNew", 403, Code.PERMISSION_DENIED),
        ("Throttling", 400, Code.RESOURCE_EXHAUSTED),
        ("SlowDown", 503, Code.RESOURCE_EXHAUSTED),
        ("NoSuchEntity", 404, Code.NOT_FOUND),
        ("NoSuchBucket", 404, Code.FAILED_PRECONDITION),
        ("LimitExceeded", 409, Code.FAILED_PRECONDITION),
        ("EntityAlreadyExists", 409, Code.ALREADY_EXISTS),
        ("MalformedPolicyDocument", 400, Code.INVALID_ARGUMENT),
        ("InternalFailure", 500, Code.UNAVAILABLE),
    ],
)
def test_each_refusal_has_its_code_and_a_next_step(name: str, status: int, code: Code) -> None:
    error = refusal(said(name, status), "iam:GetRole", writes=True)
    assert error.code is code
    assert error.hint
    assert error.lost is (name == "InternalFailure")


@pytest.mark.parametrize(
    ("error", "code", "lost"),
    [
        (aws.NoCredentialsError(), Code.UNAUTHENTICATED, False),
        (aws.NoRegionError(), Code.FAILED_PRECONDITION, False),
        (aws.EndpointConnectionError(endpoint_url="x"), Code.UNAVAILABLE, False),
        (aws.ConnectTimeoutError(endpoint_url="x"), Code.UNAVAILABLE, False),
        (aws.ReadTimeoutError(endpoint_url="x"), Code.UNAVAILABLE, True),
        (aws.ConnectionClosedError(endpoint_url="x"), Code.UNAVAILABLE, True),
    ],
)
def test_a_write_is_lost_only_where_it_may_have_been_carried_out(
    error: Exception, code: Code, lost: bool
) -> None:
    assert (refusal(error, "op", writes=True).code, refusal(error, "op", writes=True).lost) == (
        code,
        lost,
    )
    assert not refusal(error, "op", writes=False).lost


async def test_an_aws_that_is_down_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "practice")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "practice")
    monkeypatch.setattr("tools.backends.aws.calling.TRIES", 1)
    with pytest.raises(ToolError) as caught:
        await Requests("eu-west-1", "http://127.0.0.1:9").call("iam", "create_role", RoleName="x",
                                                               AssumeRolePolicyDocument="{}")  # fmt: skip
    assert caught.value.code is Code.UNAVAILABLE
    assert not caught.value.lost
