"""What tests of trainers need: a tokenizer of single bytes, and a decided shard for views."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from arbitrage.schema import PROMPTS, candidates_schema, table_of

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
LANGUAGES = ["tr", "ar", "th", "en"]


def byte_tokenizer() -> Any:
    """Works without a download; its chat template marks every turn and the assistant's text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *alphabet])}
    bytes_alone = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_alone.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=bytes_alone,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=SPECIAL[2:],
    )
    made.chat_template = TEMPLATE
    return made


def decided_shard() -> Any:
    """Eight prompts in four languages, one with a system turn and a history, four answers each."""
    history = [("system", "Kısa."), ("user", "1+1?"), ("assistant", "2"), ("user", "สวัสดี?")]
    prompts, candidates = [], []
    for i in range(8):
        turns = history if i == 3 else [("user", f"سؤال {i}?")]
        language = LANGUAGES[i % 4]
        prompts.append(
            {
                "prompt_id": f"p{i}",
                "messages": [{"role": role, "content": text} for role, text in turns],
                "language": language,
                "source": "s",
            }
        )
        candidates += [
            {
                "candidate_id": f"p{i}.{k}",
                "prompt_id": f"p{i}",
                "language": language,
                "teacher": "ab"[k % 2],
                "sample_index": k // 2,
                "text": f"cevap {'é' * k} {k}",
                "route_probability": 0.5,
                "router": "uniform@1",
                "params_hash": "0",
                "created_at": datetime(2026, 11, 21, tzinfo=UTC),
                "kept": True,
                "reasons": [],
                "chosen": k == 3,
            }
            for k in range(4)
        ]
    rewards = np.array([float(k) for _ in range(8) for k in range(4)])
    return table_of(prompts, PROMPTS), table_of(candidates, candidates_schema([])), rewards
