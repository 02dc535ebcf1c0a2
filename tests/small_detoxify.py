"""Checkpoints in Detoxify's format with random weights and a tokenizer made here: no hub, no file.

The classifier's head is scaled, so that scores spread over 0 to 1 and an error in the weights or
the mask is an error that is seen. Needs torch and transformers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arbitrage.filters.base import Batch
from arbitrage.filters.toxicity import Toxicity, ToxicityParams

CLASSES = (
    "toxicity",
    "severe_toxicity",
    "obscene",
    "identity_attack",
    "insult",
    "threat",
    "sexual_explicit",
)
WORDS = ["you", "are", "a", "lovely", "stupid", "day", "is", "the", "worst", "of", "friends", "and"]
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


def _sentences() -> list[str]:
    draw = np.random.default_rng(3)
    texts = [" ".join(draw.choice(WORDS, size)) for size in draw.integers(1, 60, 90)]
    return [*texts, *texts[:7], "word", "?!... - ;", "😀🎉🖕", "<pad> <s> </s> <mask> <pad>"]


SENTENCES = _sentences()


def build(folder: Path, **params: Any) -> Toxicity:
    given = {"checkpoint": str(folder / "model.ckpt"), "huggingface_config_path": str(folder)}
    return Toxicity(ToxicityParams.model_validate({"scorer": "detoxify", **given, **params}))


def of(scorer: Toxicity, texts: Sequence[str], language: str = "en") -> dict[str, Any]:
    batch = Batch(texts, [language] * len(texts), [None] * len(texts))
    return dict(scorer.score(batch).measures)


def write_checkpoint(
    folder: Path,
    *,
    classes: Sequence[str] = CLASSES,
    texts: Sequence[str],
    longest: int = 32,
    vocabulary: int = 400,
    logits: int = 9,
    spread: float = 0.7,
    **sizes: int,
) -> Path:
    """Write config.json, the tokenizer and model.ckpt, whose path is returned.

    Args:
        classes: of the first logits; the released models too have more logits than classes.
        texts: their commonest pieces become tokens, beside the characters in them.
        longest: tokens that are read of a text.
        spread: standard deviation of the logits over the texts, nearly.
        sizes: of the XLM-R model, such as num_hidden_layers.
    """
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    pieces = _pieces(texts, vocabulary)
    tokenizer = transformers.XLMRobertaTokenizer(vocab=pieces, model_max_length=longest)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(11)
    config = transformers.XLMRobertaConfig(
        **{
            "vocab_size": len(pieces),
            "hidden_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 96,
            "max_position_embeddings": longest + 2,
            "type_vocab_size": 1,
            **sizes,
        },
        num_labels=logits,
        initializer_range=0.06,
    )
    model = transformers.XLMRobertaForSequenceClassification(config).eval()
    _spread(torch, model, tokenizer, [*texts[:64]], spread)
    config.architectures = ["XLMRobertaForSequenceClassification"]
    config.save_pretrained(folder)
    write_ckpt(folder / "model.ckpt", model.state_dict(), folder, classes, num_classes=logits)
    return folder / "model.ckpt"


def write_ckpt(path: Path, weights: Any, folder: Path, classes: Sequence[str], **more: Any) -> None:
    """A file as Detoxify's convert_weights.py writes it; `more` replaces what config.arch has."""
    import torch

    arch = {
        "model_type": str(folder),
        "model_name": "XLMRobertaForSequenceClassification",
        "tokenizer_name": "XLMRobertaTokenizer",
        "num_classes": len(classes) + 2,
        **more,
    }
    config = {"arch": {"args": arch}, "dataset": {"args": {"classes": [*classes]}}}
    torch.save({"config": config, "state_dict": weights}, path)


def label_config(folder: Path, classes: Sequence[str]) -> None:
    """Have config.json in `folder` name just these labels."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["id2label"] = {str(at): name for at, name in enumerate(classes)}
    config["label2id"] = {name: at for at, name in enumerate(classes)}
    path.write_text(json.dumps(config), "utf-8")


def _spread(torch: Any, model: Any, tokenizer: Any, texts: list[str], spread: float) -> None:
    """Scale and shift the last layer, so that the logits of the texts have mean 0 and `spread`."""
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
    head = model.classifier.out_proj
    with torch.no_grad():
        logits = model(**inputs).logits - head.bias
        scale = spread / logits.std(0)
        head.weight *= scale[:, None]
        head.bias[:] = -logits.mean(0) * scale


def _pieces(texts: Sequence[str], vocabulary: int) -> list[tuple[str, float]]:
    """A Unigram vocabulary: words that recur, single characters, and fillers up to the size."""
    from collections import Counter

    words = Counter("▁" + word for text in texts for word in text.split())
    characters = Counter(letter for text in texts for letter in text if not letter.isspace())
    letters = sorted({*characters, *map(chr, range(33, 127)), "▁"})
    room = vocabulary - len(_SPECIAL) - len(letters) - 1
    common = [word for word, count in words.most_common(room) if count > 1]
    fillers = [f"<filler_{at}>" for at in range(room - len(common))]
    return [
        *((token, 0.0) for token in _SPECIAL),
        *((word, -6.0) for word in common),
        *((letter, -9.0) for letter in letters),
        *((token, -99.0) for token in fillers),
        ("<mask>", 0.0),
    ]
