"""Any sentence-transformers model, loaded on first use."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import xxhash

from arbitrage.embeddings.base import Embedder, Vectors
from arbitrage.embeddings.params import SentenceTransformersParams
from arbitrage.errors import EmbeddingError

_VERSION = 1


def _library() -> Any:
    try:
        return importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise EmbeddingError(
            'the embedder "sentence_transformers" needs the library of that name, which cannot be '
            f"imported: {error}.",
            mend="Install the extra: pip install 'multilingual-arbitrage[sentence-transformers]'.",
        ) from error


def _digest(model: Any) -> str:
    """Hash of every weight, so that a retrained folder of the same name is another model."""
    hasher = xxhash.xxh3_128()
    for name, tensor in sorted(model.state_dict().items()):
        hasher.update(name.encode())
        # As bytes: numpy has no bfloat16.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        hasher.update(flat.view(importlib.import_module("torch").uint8).numpy())
    return hasher.hexdigest()


class Sentences(Embedder):
    """A sentence-transformers model from a folder or from Hugging Face.

    A text's vector may differ in the last bits with its company in a batch, as padding changes the
    order of sums on a GPU. One call at a time: the library is not promised to be thread-safe.
    """

    def __init__(self, params: SentenceTransformersParams) -> None:
        self.params = params
        self.batch = params.batch
        self._model: Any = None
        self._identity = ""
        self._one = threading.RLock()

    def _loaded(self) -> Any:
        with self._one:
            if self._model is None:
                library = _library()
                try:
                    self._model = library.SentenceTransformer(
                        self.params.model, device=self.params.device
                    )
                except (OSError, ValueError, RuntimeError, ImportError) as error:
                    raise EmbeddingError(
                        f'sentence-transformers cannot load "{self.params.model}": {error}.',
                        mend="Name a folder with a sentence-transformers model, or a model that "
                        "this machine can download.",
                    ) from error
                self._identity = "/".join(
                    (
                        f"sentence_transformers@{_VERSION}",
                        self.params.prompt,
                        _digest(self._model),
                    )
                )
            return self._model

    @property
    def identity(self) -> str:
        self._loaded()
        return self._identity

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

    def close(self) -> None:
        with self._one:
            self._model = None
