"""A fastText classifier written by hand: one dimension a label, each word pointing to its own.

Training one in a test is out: on so little text fastText stops with a NaN now and then.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_MAGIC, _VERSION = 793_712_314, 12
_SOFTMAX, _SUPERVISED = 3, 3
_WORD, _LABEL = 0, 1


def write_model(path: Path, sentences: Mapping[str, str]) -> Path:
    """A model that knows the words of one sentence a label, which no two labels may share."""
    owners = {word: label for label, text in sentences.items() for word in text.split()}
    labels, words = list(sentences), ["</s>", *owners]
    size = len(labels)
    ws = epoch = lr_update_rate = 1
    min_count = word_ngrams = 1
    neg = bucket = minn = maxn = 0
    parts = [
        struct.pack("<ii", _MAGIC, _VERSION),
        struct.pack("<12i", size, ws, epoch, min_count, neg, word_ngrams, _SOFTMAX, _SUPERVISED,
                    bucket, minn, maxn, lr_update_rate),
        struct.pack("<d", 1e-4),
        struct.pack("<iiiqq", len(words) + size, len(words), size, len(words), -1),
    ]  # fmt: skip
    for entry, kind in [(word, _WORD) for word in words] + [
        (f"__label__{label}", _LABEL) for label in labels
    ]:
        parts += [entry.encode() + b"\0", struct.pack("<qb", 1, kind)]
    vectors = np.zeros((len(words), size), np.float32)
    for row, word in enumerate(words[1:], 1):
        vectors[row, labels.index(owners[word])] = 1
    for matrix in (vectors, 20 * np.eye(size, dtype=np.float32)):
        parts += [struct.pack("<?qq", False, *matrix.shape), matrix.tobytes()]
    path.write_bytes(b"".join(parts))
    return path
