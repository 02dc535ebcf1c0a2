"""One seam for text embeddings, shared by routers and filters: docs/decisions/013."""

from arbitrage.embeddings.base import Embedder
from arbitrage.embeddings.cache import CachedEmbedder
from arbitrage.embeddings.factory import make_embedder, shared_embedder
from arbitrage.embeddings.params import (
    E5Params,
    EmbedderParams,
    EndpointParams,
    HashingParams,
    SentenceTransformersParams,
)

__all__ = [
    "CachedEmbedder",
    "E5Params",
    "Embedder",
    "EmbedderParams",
    "EndpointParams",
    "HashingParams",
    "SentenceTransformersParams",
    "make_embedder",
    "shared_embedder",
]
