"""What an object store answers when it does not do as it was asked, told as our own errors."""

from __future__ import annotations

from typing import Any

from arbitrage.errors import OutputError

_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "TokenRefreshRequired",
    "InvalidToken",
}
# Of a condition or a call that the store does not know.
_UNKNOWN = {"NotImplemented", "501", "MethodNotAllowed", "405", "MissingContentMD5"}
# Refusals that say "not now": a rate, a write of the same key in flight, bytes lost on the way.
_PASSING = {
    "RequestTimeout",
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "TooManyRequests",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "ConditionalRequestConflict",
    "OperationAborted",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
}
_PASSING_STATUS = {408, 409, 425, 429}
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}
ABSENT = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
# What botocore raises about credentials before anything is sent.
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
    "ConfigNotFound",
}
# Codes, what they say, the mend.
_REFUSALS = (
    (
        _CREDENTIALS,
        "the credentials are not valid",
        "Renew them (environment, profile, role or secret_block).",
    ),
    (
        {"InvalidAccessKeyId", "AuthFailure"},
        "the store does not know these credentials",
        "Check them, and that AWS_ENDPOINT_URL or run.storage.endpoint_url names the store they "
        "are for.",
    ),
    (
        {"SignatureDoesNotMatch"},
        "the store does not accept how the call was signed",
        "Check the secret key. A store that does not know today's checksums says so too: set "
        "AWS_REQUEST_CHECKSUM_CALCULATION=when_required.",
    ),
    (
        _DENIED,
        "access is denied",
        "Allow these credentials to get, put, list and delete objects there.",
    ),
    ({"RequestTimeTooSkewed"}, "this machine's clock is not the store's", "Set the clock."),
)
_FIRST_SERVER_ERROR = 500


class StorageError(OutputError):
    """The object store refused, or could not be reached.

    Attributes:
        passing: it may pass by itself, so the same call is worth another try later.
    """

    def __init__(self, what: str, *, mend: str, passing: bool = False) -> None:
        super().__init__(what, mend=mend)
        self.passing = passing


def told(where: str, error: Exception) -> StorageError:
    """The StorageError for what botocore raised about `where`. Holds no credential."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    code = str(response.get("Error", {}).get("Code", type(error).__name__))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = str(response.get("Error", {}).get("Message") or "").strip().rstrip(".")
    why = f"{code}{f' ({said})' if said and said != code else ''}"
    if code in _NO_CREDENTIALS:
        return StorageError(
            f'"{where}": no credentials were found: {error}.'.replace("..", "."),
            mend="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or "
            "run.storage.profile, or run.storage.secret_block.",
        )
    for codes, what, mend in _REFUSALS:
        if code in codes:
            return StorageError(f'"{where}": {what}: {why}.', mend=mend)
    if code == "NoSuchBucket":
        # Swift says so of a bucket that is there while one of its servers is away.
        return StorageError(
            f'"{where}": there is no such bucket.',
            mend="Create it, or fix run.output or the endpoint.",
            passing=True,
        )
    # Without a status the store was not reached, or broke off in mid-answer.
    passing = (
        not status or status >= _FIRST_SERVER_ERROR or status in _PASSING_STATUS or code in _PASSING
    ) and code not in _UNKNOWN
    return StorageError(
        f'"{where}" cannot be reached or used: {why}{f", HTTP {status}" if status else ""}.',
        mend="Check the endpoint, the network and the store's quota.",
        passing=passing,
    )


def is_absent(error: Exception) -> bool:
    """Whether botocore says that there is no such object or upload."""
    return _code(error) in ABSENT


def is_conflict(error: Exception) -> bool:
    """Whether a conditional put was refused because the object is there.

    409 is another matter: a write of the same key was in flight, perhaps our own earlier try.
    """
    return _code(error) in {"412", "PreconditionFailed"}


def is_unknown(error: Exception) -> bool:
    """Whether the store does not know what it was asked, by its own account."""
    return _code(error) in _UNKNOWN


def refused(operation: str, failed: dict[str, Any]) -> Exception:
    """The error of a refusal inside an answer that was itself well."""
    import botocore.exceptions  # noqa: PLC0415 - a quarter of a second to import

    code, message = failed.get("Code", "?"), failed.get("Message", "")
    status = {"InternalError": 500, "SlowDown": 503, "ServiceUnavailable": 503}.get(code, 400)
    answer = {"Error": {"Code": code, "Message": message}}
    answer["ResponseMetadata"] = {"HTTPStatusCode": status}
    error: Exception = botocore.exceptions.ClientError(answer, operation)
    return error


def _code(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code"))
