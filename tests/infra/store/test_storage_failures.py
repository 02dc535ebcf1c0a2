"""What a store's refusals become: which are worth another try, and what each says to do."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from arbitrage.infra.store.s3.failures import is_conflict, is_unknown, refused, told


def answered(code: str, status: int) -> ClientError:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutObject")


@pytest.mark.parametrize(
    ("code", "status", "passing"),
    [
        ("SlowDown", 503, True),
        ("TooManyRequests", 429, True),
        ("ConditionalRequestConflict", 409, True),
        ("OperationAborted", 409, True),
        ("IncompleteBody", 400, True),
        ("InternalError", 500, True),
        ("NotImplemented", 501, False),
        ("InvalidRequest", 400, False),
        ("AccessDenied", 403, False),
        ("ExpiredToken", 400, False),
        ("EntityTooLarge", 400, False),
    ],
)
def test_only_what_may_pass_is_tried_again(code: str, status: int, passing: bool) -> None:
    assert told("s3://b/k", answered(code, status)).passing is passing


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        ("ExpiredToken", "Renew them"),
        ("InvalidAccessKeyId", "AWS_ENDPOINT_URL"),
        ("SignatureDoesNotMatch", "AWS_REQUEST_CHECKSUM_CALCULATION=when_required"),
        ("RequestTimeTooSkewed", "Set the clock"),
        ("AccessDenied", "Allow these credentials"),
    ],
)
def test_a_refusal_says_what_to_do(code: str, mend: str) -> None:
    assert mend in told("s3://b/k", answered(code, 403)).mend


def test_a_write_in_flight_is_no_conflict_and_a_present_object_is() -> None:
    assert is_conflict(answered("PreconditionFailed", 412))
    assert not is_conflict(answered("ConditionalRequestConflict", 409))
    assert is_unknown(answered("NotImplemented", 501))


def test_a_refusal_inside_a_good_answer_passes_or_not_as_it_would_outside() -> None:
    assert told("s3://b/k", refused("DeleteObjects", {"Code": "SlowDown"})).passing
    assert not told("s3://b/k", refused("DeleteObjects", {"Code": "AccessDenied"})).passing
