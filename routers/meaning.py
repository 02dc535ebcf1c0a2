"""Embeddings of prompts as a learned router reads them, beside words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from pydantic import TypeAdapter, ValidationError

from arbitrage.embeddings import CachedEmbedder, Embedder, EmbedderParams, shared_embedder
from arbitrage.errors import ConfigError, RouterError
from arbitrage.reach import Reached, reached_by
from arbitrage.routers.artefact import CARD
from arbitrage.routers.word_columns import Single

# Embedders are slow: of a longer prompt its head and its tail are read.
HEAD, TAIL = 1000, 500

_PARAMS: TypeAdapter[Any] = TypeAdapter(EmbedderParams)


@dataclass(frozen=True, slots=True)
class Meaning:
    """An embedder, and the params that say which.

    Attributes:
        params: JSON-like, with its `kind`.
        embedder: made from them; with a cache folder, a text is embedded once.
    """

    params: Mapping[str, Any]
    embedder: Embedder

    @property
    def identity(self) -> str:
        """Of the vectors: the embedder's, and what is read of a prompt."""
        return f"{self.embedder.identity}/read@1"

    def __call__(self, texts: Sequence[str]) -> Single:
        """float32 [n, dimensions]: rows of length 1, zeros for blank prompts."""
        vectors = self.embedder.embed([read(text) for text in texts])
        if isinstance(self.embedder, CachedEmbedder):
            self.embedder.flush()
        return vectors


def meaning_of(params: Mapping[str, Any], cache: str | Path | None = None) -> Meaning:
    """The embedder of these params, kept in the folder `cache` if there is one.

    Raises ConfigError for params that are none.
    """
    try:
        checked = _PARAMS.validate_python(dict(params))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{dict(params)!r} is no embedder: {first['msg']}.",
            mend='Give kind = "e5", "hashing", "sentence_transformers" or "endpoint" and its keys.',
        ) from None
    embedder = shared_embedder(checked)
    if cache is not None:
        embedder = CachedEmbedder(embedder, cache)
    return Meaning(checked.model_dump(mode="json"), embedder)


def reached_by_card(card: bytes, place: str) -> Iterator[Reached]:
    """What the embedder that an artefact's card names reaches: a server and its key, a model. Cards
    are files, and may come from anywhere. What cannot be read is left for loading to complain of.
    """
    try:
        params = _PARAMS.validate_python(orjson.loads(card)["settings"]["embedding"]["params"])
    except (ValueError, KeyError, TypeError):
        return
    yield from reached_by(params, f"{place}/{CARD} embedding")


def checked_meaning(settings: Mapping[str, Any]) -> Meaning:
    """The embedder an artefact was fitted with.

    Raises RouterError where today's gives other vectors; EmbeddingError where it cannot be loaded.
    """
    meaning = meaning_of(settings["params"])
    if meaning.identity != settings["identity"]:
        raise RouterError(
            f"the router artefact was fitted on vectors of {settings['identity']}, this "
            f"installation makes those of {meaning.identity}.",
            mend="Install the version it was fitted with, or fit it again.",
        )
    return meaning


def read(text: str) -> str:
    """What is embedded of a prompt.

    >>> len(read("a" * 1500)), len(read("a" * 10**6))
    (1500, 1501)
    """
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def centred(vectors: Single, centre: Single) -> Single:
    """Vectors less the centre, of length 1; those of blank prompts stay zeros.

    Embeddings of one model lie close together; what tells prompts apart is how they differ from
    the mean (Mu and Viswanath 2018).
    """
    blank = ~vectors.any(axis=1)
    moved: Single = vectors - centre
    moved[blank] = 0
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    found: Single = np.divide(moved, length, out=np.zeros_like(moved), where=length > 0)
    return found
