"""What servers say of a prompt that is longer than their model's context. Data, with sources.

Left out on purpose, because they are not the prompt's fault: llama.cpp's "Context size has been
exceeded." (500), which also comes when all parallel requests together fill its memory, so it is
sent again; and refusals of `max_tokens` alone, which the config has to mend.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """How one server says it.

    Attributes:
        server: whose words these are.
        pattern: a regular expression, matched anywhere and in any case.
        example: a real message.
        source: where the example is from.
    """

    server: str
    pattern: str
    example: str
    source: str


WORDINGS = (
    Wording(
        "vLLM, OpenAI",
        r"maximum context length is",
        "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens "
        "(112946 in the messages, 10000 in the completion). Please reduce the length of the "
        "messages or completion.",
        "github.com/vllm-project/vllm/issues/20409",
    ),
    Wording(
        "vLLM",
        r"prompt.{0,40} is longer than the maximum model length",
        "The decoder prompt (length 15083) is longer than the maximum model length of 8192.",
        "github.com/vllm-project/vllm: vllm/v1/engine/processor.py",
    ),
    Wording(
        "OpenAI",
        r"context_length_exceeded|exceeds the context window of this model",
        "Your input exceeds the context window of this model. Please adjust your input and try "
        "again.",
        "github.com/dyad-sh/dyad/issues/1672",
    ),
    Wording(
        "OpenAI",
        r"input tokens exceed the configured limit",
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in "
        "533603 tokens. Please reduce the length of the messages.",
        "github.com/hyperifyio/goagent/issues/75",
    ),
    Wording(
        "SGLang",
        r"is longer than the model's context length",
        "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
        "github.com/QwenLM/Qwen3/issues/1321",
    ),
    Wording(
        "SGLang",
        r"token count exceeds the model's maximum context length",
        "Requested token count exceeds the model's maximum context length of 202752 tokens. You "
        "requested a total of 202941 tokens: 170941 tokens from the input messages and 32000 "
        "tokens for the completion.",
        "github.com/anomalyco/opencode/pull/25230",
    ),
    Wording(
        "SGLang",
        r"input length.{0,30} exceeds the maximum allowed length",
        "Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).",
        "github.com/sgl-project/sglang/issues/4048",
    ),
    Wording(
        "llama.cpp",
        r"exceeds the available context size|exceed_context_size_error",
        "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
        "github.com/ggml-org/llama.cpp/issues/19774",
    ),
    Wording(
        "llama.cpp (before September 2025)",
        r"exceeds the available context size",
        "the request exceeds the available context size. try increasing the context size or enable "
        "context shift",
        "github.com/ggml-org/llama.cpp/pull/15780",
    ),
    Wording(
        "llama-cpp-python",
        r"requested tokens.{0,20} exceed context window of",
        "Requested tokens (2285) exceed context window of 2048",
        "github.com/fedora-copr/logdetective-website/pull/193",
    ),
    Wording(
        "TGI",
        r"`inputs` tokens \+ `max_new_tokens` must be <=",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 1244 "
        "`inputs` tokens and 1000 `max_new_tokens`",
        "github.com/huggingface/text-generation-inference/issues/628",
    ),
    Wording(
        "TGI",
        r"`inputs` must have less than",
        "Input validation error: `inputs` must have less than 1024 tokens. Given: 1168.",
        "github.com/huggingface/text-generation-inference/issues/695",
    ),
    Wording(
        "Gemini",
        r"input token count.{0,20} exceeds the maximum number of tokens allowed",
        "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
        "github.com/google-gemini/gemini-cli/issues/6678",
    ),
    Wording(
        "Cohere",
        r"too many tokens: (the )?(total )?number of tokens|too many tokens: size limit exceeded",
        "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292. "
        "Try using a shorter prompt, or enabling prompt truncating.",
        "docs.cohere.com/reference/errors",
    ),
    Wording(
        "Anthropic (through OpenAI-compatible gateways)",
        r"prompt is too long",
        "prompt is too long: 219898 tokens > 200000 maximum",
        "github.com/earendil-works/pi/issues/102",
    ),
)

_ANY = re.compile("|".join(f"(?:{wording.pattern})" for wording in WORDINGS), re.IGNORECASE)


def says_too_long(body: str) -> bool:
    """Whether a refusal's body says that the prompt does not fit into the model's context.

    >>> says_too_long("The input (9 tokens) is longer than the model's context length (4 tokens).")
    True
    >>> says_too_long("max_tokens is too large: 10000")
    False
    """
    return _ANY.search(body) is not None
