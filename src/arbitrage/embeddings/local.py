"""Embedders whose model is loaded into this process, on first use and once."""

from __future__ import annotations

import importlib
import threading
from abc import abstractmethod
from typing import Any

from arbitrage.embeddings.base import Embedder
from arbitrage.errors import EmbeddingError


class LocalEmbedder(Embedder):
    """One method loads the model and says whose vectors they are; `close` lets go of it."""

    def __init__(self) -> None:
        self._model: Any = None
        self._identity = ""
        self._one = threading.RLock()

    @abstractmethod
    def _load(self) -> tuple[Any, str]:
        """The model, and the `identity` of its vectors; EmbeddingError where it cannot be had."""

    def _loaded(self) -> Any:
        with self._one:
            if self._model is None:
                self._model, self._identity = self._load()
            return self._model

    @property
    def identity(self) -> str:
        self._loaded()
        return self._identity

    def close(self) -> None:
        with self._one:
            self._model = None


def needed(module: str, embedder: str, extra: str) -> Any:
    """A library that an embedder loads its model with; EmbeddingError where it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EmbeddingError(
            f'the embedder "{embedder}" needs {module}, which cannot be imported: {error}.',
            mend=f"Install the extra: pip install 'multilingual-arbitrage[{extra}]'.",
        ) from error
