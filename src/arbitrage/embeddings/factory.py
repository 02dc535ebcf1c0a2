"""From params to an embedder."""

from __future__ import annotations

import threading
from functools import cache

from arbitrage.embeddings.base import Embedder
from arbitrage.embeddings.e5 import E5
from arbitrage.embeddings.endpoint import Endpoint
from arbitrage.embeddings.hashing import Hashing
from arbitrage.embeddings.params import (
    E5Params,
    EndpointParams,
    HashingParams,
    SentenceTransformersParams,
)
from arbitrage.embeddings.sentences import Sentences

Params = HashingParams | E5Params | SentenceTransformersParams | EndpointParams

_making = threading.Lock()


def make_embedder(params: Params) -> Embedder:
    """An embedder of its own for these params. Loads nothing yet.

    >>> make_embedder(HashingParams(dimensions=256)).embed(["Hallo", ""]).shape
    (2, 256)
    """
    if isinstance(params, HashingParams):
        return Hashing(params)
    if isinstance(params, E5Params):
        return E5(params)
    if isinstance(params, SentenceTransformersParams):
        return Sentences(params)
    return Endpoint(params)


@cache
def _made(params: Params) -> Embedder:
    return make_embedder(params)


def shared_embedder(params: Params) -> Embedder:
    """The process's one embedder for these params, so that a model is loaded once.

    >>> shared_embedder(HashingParams()) is shared_embedder(HashingParams())
    True
    """
    with _making:
        return _made(params)
