"""What AWS's refusals mean: whatever botocore raises becomes a `ToolError` in AWS's own words."""

from tools.errors import Code, ToolError

WAIT_S = 1.0
# The answer to a HEAD has no body to say which.
BARE = "Allow it in the IAM policy that Pilothouse runs with, or renew its credentials; and repeat."

_MEANINGS: dict[Code, frozenset[str]] = {
    Code.UNAUTHENTICATED: frozenset({
        "AuthFailure", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature",
        "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken", "MissingAuthenticationToken",
        "RequestExpired", "SignatureDoesNotMatch", "TokenRefreshRequired",
        "UnrecognizedClientException", "401",
    }),
    Code.PERMISSION_DENIED: frozenset({
        "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "OptInRequired",
        "UnauthorizedAccess", "UnauthorizedOperation", "403",
    }),
    Code.RESOURCE_EXHAUSTED: frozenset({
        "EC2ThrottledException", "PriorRequestNotComplete", "RequestLimitExceeded",
        "RequestThrottled", "SlowDown", "Throttling", "ThrottlingException",
        "TooManyRequestsException", "429",
    }),
    Code.NOT_FOUND: frozenset({
        "DBInstanceNotFound", "DBInstanceNotFoundFault", "InvalidInstanceID.Malformed",
        "InvalidInstanceID.NotFound", "NoSuchEntity", "NoSuchKey", "NotFound", "404",
    }),
    Code.ALREADY_EXISTS: frozenset({
        "BucketAlreadyOwnedByYou", "DBSnapshotAlreadyExists", "EntityAlreadyExists",
    }),
    Code.FAILED_PRECONDITION: frozenset({
        "DeleteConflict", "IncorrectInstanceState", "IncorrectState", "InvalidDBInstanceState",
        "InvalidDBInstanceStateFault", "LimitExceeded", "NoSuchBucket", "OperationNotPermitted",
        "SnapshotQuotaExceeded", "UnmodifiableEntity", "UnsupportedOperation",
        "PreconditionFailed",
    }),
    Code.INVALID_ARGUMENT: frozenset({
        "InvalidParameterCombination", "InvalidParameterValue", "InvalidTag", "MalformedPolicy",
        "MalformedPolicyDocument", "ValidationError",
    }),
    # IAM answers so while it still spreads an earlier change.
    Code.UNAVAILABLE: frozenset({"ConcurrentModification", "EntityTemporarilyUnmodifiable"}),
}  # fmt: skip
_HINTS = {
    Code.UNAUTHENTICATED: "Renew the AWS credentials (`aws sso login`, or new keys), and repeat.",
    Code.PERMISSION_DENIED: "Allow it in the IAM policy that Pilothouse runs with, and repeat.",
    Code.RESOURCE_EXHAUSTED: "Wait, and repeat.",
    Code.NOT_FOUND: "Check the name and the region.",
    Code.ALREADY_EXISTS: "Look at what is there, and use or remove it.",
    Code.FAILED_PRECONDITION: "Put right what it names, and repeat.",
    Code.INVALID_ARGUMENT: "Correct what it names, and repeat.",
    Code.UNAVAILABLE: "Wait, and repeat.",
}


def refusal(error: Exception, operation: str, *, writes: bool) -> ToolError:
    """The error for what botocore raised. `writes` says that the request may change something."""
    from botocore import exceptions as aws

    if isinstance(error, aws.ClientError):
        return _answered(error, operation, writes)
    said = f"AWS {operation}: {error}"
    credentials = (
        aws.NoCredentialsError,
        aws.PartialCredentialsError,
        aws.CredentialRetrievalError,
        aws.TokenRetrievalError,
        aws.SSOError,
        aws.ProfileNotFound,
    )
    if isinstance(error, credentials):
        return ToolError(Code.UNAUTHENTICATED, said, _HINTS[Code.UNAUTHENTICATED])
    if isinstance(error, aws.NoRegionError):
        return ToolError(
            Code.FAILED_PRECONDITION, "No AWS region is set.", "Set aws.region or AWS_REGION."
        )
    unsent = (aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.ProxyConnectionError)
    if isinstance(error, unsent):
        return ToolError(Code.UNAVAILABLE, said, "Check the network to AWS, and repeat.")
    broken = (aws.HTTPClientError, aws.ResponseStreamingError, aws.IncompleteReadError)
    if isinstance(error, (*broken, OSError)):
        hint = "Look whether it was done before you repeat it." if writes else "Wait, and repeat."
        return ToolError(Code.UNAVAILABLE, said, hint, lost=writes)
    if isinstance(error, aws.ParamValidationError):
        return ToolError(Code.INVALID_ARGUMENT, said, "Correct what it names, and repeat.")
    return ToolError(Code.INTERNAL, said, "Run `pilothouse doctor` to see what is wrong.")


def _answered(error: Exception, operation: str, writes: bool) -> ToolError:
    response = getattr(error, "response", {})
    said = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    name = str(said.get("Code", ""))
    text = str(said.get("Message", "")).strip()[:2000] or name
    message = f"AWS {operation}: {text}" if name in text else f"AWS {operation}: {text} ({name})"
    if name == "NoSuchBucket":
        return no_bucket(str(said.get("BucketName", "")))
    for code, names in _MEANINGS.items():
        if name in names:
            wait = WAIT_S if code is Code.RESOURCE_EXHAUSTED else None
            hint = BARE if name == "403" else _HINTS[code]
            return ToolError(code, message, hint, retry_after=wait)
    if status >= 500:
        return ToolError(Code.UNAVAILABLE, message, _HINTS[Code.UNAVAILABLE], lost=writes)
    code = Code.PERMISSION_DENIED if status in (401, 403) else Code.FAILED_PRECONDITION
    return ToolError(code, message, _HINTS[code])


def no_bucket(bucket: str) -> ToolError:
    return ToolError(
        Code.FAILED_PRECONDITION,
        f"There is no S3 bucket {bucket} for the tenants' objects.".replace("  ", " "),
        f"Make it (`aws s3 mb s3://{bucket or 'BUCKET'}`), or name another as aws.bucket.",
    )
