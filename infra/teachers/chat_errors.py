"""What a refusal of a chat server means: its reason, and whether asking again can help. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from arbitrage.infra.teachers.base import TeacherError
from arbitrage.infra.teachers.chat_wire import clip
from arbitrage.infra.teachers.pacing import retry_after_s
from arbitrage.infra.teachers.too_long import says_too_long

# Worth sending again in this run; the rest of 4xx is the request's fault or the config's.
_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}

# The config's fault (key, address, model name), so a resumed run asks again.
_CONFIG = {401, 402, 403, 404, 405, 407}


def refusal(status: int, headers: Mapping[str, str], body: str) -> TeacherError:
    """The error for an answer that is not 200.

    >>> refusal(400, {}, "This model's maximum context length is 16 tokens").reason
    'generate.prompt_too_long'
    >>> error = refusal(429, {"Retry-After": "3"}, "busy")
    >>> error.reason, error.transient, error.retry_after_s
    ('generate.rate_limited', True, 3.0)
    """
    detail = f"HTTP {status}: {clip(body)}"
    if status in {400, 413, 422, 500} and says_too_long(body):
        return TeacherError("generate.prompt_too_long", detail)
    transient = status in _TRANSIENT
    if status == 429:
        reason = "generate.rate_limited"
    elif status >= 500:
        reason = "generate.server_error"
    else:
        reason = f"generate.http_{status}"
    return TeacherError(
        reason,
        detail,
        retryable=transient or status >= 500 or status < 400 or status in _CONFIG,
        transient=transient,
        retry_after_s=retry_after_s(headers) if transient else None,
        status=status,
    )
