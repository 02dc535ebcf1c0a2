"""Any sentence-transformers model, loaded on first use."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import xxhash

from arbitrage.embeddings.base import Vectors
from arbitrage.embeddings.local import LocalEmbedder, needed
from arbitrage.embeddings.params import SentenceTransformersParams
from arbitrage.errors import EmbeddingError

_VERSION = 1


def _digest(model: Any) -> str:
    """Hash of every weight, so that a retrained folder of the same name is another model."""
    hasher = xxhash.xxh3_128()
    for name, tensor in sorted(model.state_dict().items()):
        hasher.update(name.encode())
        # As bytes: numpy has no bfloat16.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        hasher.update(flat.view(importlib.import_module("torch").uint8).numpy())
    return hasher.hexdigest()


class Sentences(LocalEmbedder):
    """A sentence-transformers model from a folder or from Hugging Face.

    A text's vector may differ in the last bits with its company in a batch, as padding changes the
    order of sums on a GPU. One call at a time: the library is not promised to be thread-safe.
    """

    def __init__(self, params: SentenceTransformersParams) -> None:
        super().__init__()
        self.params = params
        self.batch = params.batch

    def _load(self) -> tuple[Any, str]:
        library = needed("sentence_transformers", "sentence_transformers", "sentence-transformers")
        try:
            model = library.SentenceTransformer(self.params.model, device=self.params.device)
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            raise EmbeddingError(
                f'sentence-transformers cannot load "{self.params.model}": {error}.',
                mend="Name a folder with a sentence-transformers model, or a model that "
                "this machine can download.",
            ) from error
        own = (f"sentence_transformers@{_VERSION}", self.params.prompt, _digest(model))
        return model, "/".join(own)

    @property
    def dimensions(self) -> int:
        model = self._loaded()
        # Newer releases have renamed it.
        size = getattr(model, "get_embedding_dimension", None)
        return int((size or model.get_sentence_embedding_dimension)())

    def vectors(self, texts: Sequence[str]) -> Vectors:
        with self._one:
            found = self._loaded().encode(
                [self.params.prompt + text for text in texts],
                batch_size=self.batch,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return np.asarray(found, dtype=np.float32)
