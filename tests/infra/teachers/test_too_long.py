from __future__ import annotations

import pytest

from arbitrage.infra.teachers.chat_errors import refusal
from arbitrage.infra.teachers.too_long import WORDINGS, says_too_long

SERVERS = ("vLLM", "SGLang", "llama.cpp", "TGI", "OpenAI", "Gemini", "Cohere")

# As they wrap it: vLLM's older form, OpenAI's, Gemini's list, llama.cpp's extra fields.
WRAPPERS = (
    '{"object":"error","message":"%s","type":"BadRequestError","param":null,"code":400}',
    '{"error":{"message":"%s","type":"invalid_request_error"}}',
    '[{"error":{"code":400,"message":"%s","status":"INVALID_ARGUMENT"}}]',
    '{"error":{"code":400,"message":"%s","n_prompt_tokens":9,"n_ctx":4}}',
)

NOT_THE_PROMPT = (
    "max_tokens is too large: 10000. This model supports at most 4096 completion tokens",
    "too many tokens: max tokens must be less than or equal to 4096, the maximum output for this "
    "model - received 8192.",
    "Context size has been exceeded.",
    "Rate limit reached for requests: too many tokens per minute",
    "`max_new_tokens` must be strictly positive",
    "temperature must be non-negative",
    "",
)


@pytest.mark.parametrize("wording", WORDINGS, ids=lambda w: f"{w.server}: {w.pattern[:30]}")
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_known_wording_is_the_prompts_fault_and_never_sent_again(wording, wrapper):
    for status in (400, 413, 422):
        error = refusal(status, {}, wrapper % wording.example)
        assert error.reason == "generate.prompt_too_long"
        assert not error.retryable
        assert not error.transient
    assert wording.source


@pytest.mark.parametrize("server", SERVERS)
def test_every_server_the_product_names_has_its_wording(server):
    assert any(server in wording.server for wording in WORDINGS)


@pytest.mark.parametrize("said", NOT_THE_PROMPT)
def test_what_the_config_or_the_load_causes_is_not_blamed_on_the_prompt(said):
    assert not says_too_long(said)
    assert refusal(400, {}, said).reason == "generate.http_400"
    assert refusal(500, {}, said).transient


def test_a_rate_limit_stays_one_whatever_it_says():
    assert refusal(429, {}, WORDINGS[0].example).reason == "generate.rate_limited"
