"""Curator: `curator.LLM` on its openai backend.

`max_concurrent_requests` is its setting for concurrency; its limits per minute are set out of the
way. Telemetry is off and its display is plain, which costs it least. It counts tokens with
tiktoken, which would download a table: litellm, which it needs anyway, carries the same one.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from job import MAX_TOKENS, MODEL, finished, read_job

job = read_job()
litellm = find_spec("litellm")
assert litellm is not None
assert litellm.origin is not None
os.environ |= {
    "TELEMETRY_ENABLED": "false",
    "CURATOR_VIEWER": "false",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "CURATOR_CACHE_DIR": job.out,
    "HF_HOME": f"{job.out}/hf",
    "OPENAI_API_KEY": "none",
    "TIKTOKEN_CACHE_DIR": str(Path(litellm.origin).parent / "litellm_core_utils/tokenizers"),
}

from bespokelabs import curator  # noqa: E402 (reads the environment when imported)


def main() -> None:
    llm = curator.LLM(
        model_name=MODEL,
        backend="openai",
        generation_params={"max_tokens": MAX_TOKENS},
        backend_params={
            "base_url": job.base_url,
            "max_concurrent_requests": job.concurrency,
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 1_000_000_000_000,
        },
    )
    answer = llm([row["prompt"] for row in job.read_prompts()])
    finished(lambda: sum(map(bool, answer.dataset["response"])))


if __name__ == "__main__":
    main()
