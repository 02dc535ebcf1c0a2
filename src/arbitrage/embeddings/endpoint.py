"""`/v1/embeddings` of an OpenAI-compatible server, such as vLLM."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from arbitrage.embeddings.base import Embedder, Vectors
from arbitrage.embeddings.params import EndpointParams
from arbitrage.errors import EmbeddingError, EndpointError
from arbitrage.secrets import secret_from
from arbitrage.wire import Address, post_json

_VERSION = 1
# Bytes of JSON for one number, and for what is around a vector. Generous.
_PER_NUMBER, _PER_TEXT, _MOST_DIMENSIONS = 32, 1_000, 16_384


class Endpoint(Embedder):
    """Embeddings by a server. Weights cannot be seen from here: `model` and `revision` are the
    identity, so say another revision when a server changes what it serves under the same name.

    Source: OpenAI's API reference, "Create embeddings"; vLLM serves the same.
    """

    def __init__(self, params: EndpointParams) -> None:
        self.params = params
        self.batch = params.batch
        self.longest = params.max_characters
        self._dimensions = params.dimensions
        self._asking = threading.Lock()

    @property
    def identity(self) -> str:
        params = self.params
        return "/".join(
            (
                f"endpoint@{_VERSION}",
                params.model,
                params.revision,
                params.prompt,
                f"{params.dimensions or ''}",
                f"{params.max_characters}",
            )
        )

    @property
    def dimensions(self) -> int:
        """As asked for, or as the server answers; the first use asks it."""
        with self._asking:
            if self._dimensions is None:
                self._dimensions = len(self._ask(["a"])[0])
            return self._dimensions

    def vectors(self, texts: Sequence[str]) -> Vectors:
        rows = self._ask(texts)
        wrong = {len(row) for row in rows} - {self.dimensions}
        if wrong:
            raise EmbeddingError(
                f'"{self.params.model}" gave vectors of {min(wrong)} numbers, '
                f"not of {self.dimensions} as before or as asked for.",
                mend="Leave dimensions out, or name a model that can give so many.",
            )
        return np.array(rows, dtype=np.float32)

    def _ask(self, texts: Sequence[str]) -> list[list[float]]:
        try:
            return self._answered(texts)
        except EndpointError as error:
            raise EmbeddingError(error.what, mend=error.mend) from error

    def _answered(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors, in the order of the texts whatever the order of the answer."""
        body: dict[str, Any] = {
            "model": self.params.model,
            "input": [self.params.prompt + text for text in texts],
            "encoding_format": "float",
        }
        if self.params.dimensions is not None:
            body["dimensions"] = self.params.dimensions
        address = self._address(len(texts))
        answer = post_json(address, body)
        data = answer.get("data") if isinstance(answer, dict) else None
        found = {
            item["index"]: item["embedding"]
            for item in (data if isinstance(data, list) else ())
            if isinstance(item, dict)
            and isinstance(item.get("index"), int)
            and _numbers(item.get("embedding"))
        }
        if not isinstance(data, list) or len(data) != len(texts) or len(found) != len(texts):
            what = f"{len(found)} vectors for {len(texts)} texts"
            raise address.error(what, f'Check that "{self.params.model}" is an embedding model.')
        try:
            return [found[index] for index in range(len(texts))]
        except KeyError as error:
            mend = "The server breaks the protocol; ask for one text at a time (batch = 1)."
            raise address.error(f"no vector has the index {error}", mend) from error

    def _address(self, texts: int) -> Address:
        params = self.params
        name = params.api_key_env
        secret = secret_from(name) if name else ""
        if name and not secret:
            raise EmbeddingError(
                f"the environment variable {name} is not set or empty.",
                mend="Set it to the key of the embedding server, or leave api_key_env out.",
            )
        numbers = params.dimensions or self._dimensions or _MOST_DIMENSIONS
        return Address(
            url=params.base_url.rstrip("/") + "/embeddings",
            secret=secret,
            timeout_s=params.timeout_s,
            max_retries=params.max_retries,
            max_bytes=10_000 + texts * (_PER_TEXT + numbers * _PER_NUMBER),
        )


def _numbers(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, int | float) for item in value)
    )
