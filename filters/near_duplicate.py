"""Whether a completion says what an earlier one of the run has said already, nearly or exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import regex
import xxhash
from numpy.typing import NDArray
from pydantic import Field, model_validator

from arbitrage.filters.base import Batch, FilterParams, Scores, register
from arbitrage.filters.matching import RunFilter, RunSketch
from arbitrage.filters.near_pairs import chained, earliest, mix, nearest_earlier, twins_and_targets
from arbitrage.keys import normalise_text
from arbitrage.reach import Reach

# Fixes the permutations: signatures compare only where they are the same.
_SEED = 1
_ROWS_AT_ONCE = 16_384
_NGRAM = {"characters": 6, "words": 3}

# More marks in a row than Unicode's Stream-Safe Text Format allows (UAX 15): reordering them takes
# time quadratic in their number.
_TOO_MANY_MARKS = regex.compile(r"\p{M}{31}")

Hashes = NDArray[np.uint64]


class NearDuplicateParams(FilterParams):
    """What counts as similar, to whom a candidate is compared, and the thresholds."""

    unit: Literal["characters", "words"] = Field(
        "characters", description="What n-grams are made of; characters are those of the words."
    )
    ngram: int | None = Field(
        None, ge=1, le=50, description="Units in an n-gram; default 6 characters or 3 words."
    )
    permutations: int = Field(
        128, ge=16, le=1024, description="Slots of a signature; error about 0.5 / its root."
    )
    lowest_similarity: float = Field(
        0.7, ge=0.3, le=1, description="Less similar pairs are not looked for and count as 0."
    )
    shortest_words: int = Field(
        10, ge=1, description="Texts of fewer words have no similarity; exact is still told."
    )
    scope: Literal["language", "all"] = Field(
        "language", description="Compare within a wanted language, or with all candidates."
    )
    within_prompt: Literal["count", "ignore"] = Field(
        "count", description="Whether candidates of the same prompt are duplicates of each other."
    )
    runs: Annotated[list[str], Reach.READ] = Field(
        [], description="Folders of finished runs that came before this one."
    )
    max_similarity: float | None = Field(None, ge=0, le=1, description="Most of the similarity.")
    max_exact: float | None = Field(None, ge=0, le=1, description="0 rejects exact duplicates.")

    @property
    def size(self) -> int:
        """Units in an n-gram."""
        return self.ngram or _NGRAM[self.unit]

    @model_validator(mode="after")
    def _decides_on_what_is_looked_for(self) -> NearDuplicateParams:
        if self.max_similarity is not None and self.max_similarity < self.lowest_similarity:
            raise ValueError(
                f"max_similarity = {self.max_similarity} is below lowest_similarity = "
                f"{self.lowest_similarity}, under which nothing is looked for. Lower that too."
            )
        return self


@register("near_duplicate", version=1)
class NearDuplicate(RunFilter):
    """Measures how similar each candidate is to the most similar earlier one of the run.

    Source: Broder 1997, On the resemblance and containment of documents; signatures by `rensa`
        (its R-MinHash, after Dahlgaard, Knudsen and Thorup 2017, Fast Similarity Sketching, arXiv
        1704.04370), candidate pairs by banding. Not implemented: clusters (which earlier one an
        earlier one resembles), containment, similarity of meaning.
    Reads: texts, languages; candidate and prompt ids of the run, and the candidates of `runs`.
    Writes: `near_duplicate.similarity` and `near_duplicate.exact`, float32 [n], and the label
        `near_duplicate.of`: the earlier candidate's id, `RUN/ID` where it is of an earlier run.
    Score: similarity is the estimated Jaccard similarity of n-grams, 0 to 1, to the most similar
        candidate before it in the order of the run (shard, prompt, teacher, sample), the first of
        equals; 0 where none reaches `lowest_similarity`. N-grams are six characters of the folded
        words written without spaces, so that where words end makes no difference; or three words.
        The estimate of 128 permutations has a standard error of at most 0.044. exact is 1 where an
        earlier text is the same but for white space and Unicode form (NFC); `of` names the first
        such one then, and is null where there is none of either kind.
    Rejects: near_duplicate (`max_similarity`), duplicate (`max_exact`).
    Abstains: similarity on texts of fewer than `shortest_words` words or without a whole n-gram;
        both on texts that are empty or white space.
    Cost: about that of finding the words, which filters share; one pass over all shards before the
        run decides. 4 bytes a permutation and candidate on disk, twice; in memory about 300 bytes a
        candidate (4 for each of 25 bands, the ids, and what sorting takes), no texts.
    Blind spots: paraphrases and translations are not seen. Of a text and its copies the first is
        kept whichever is better, though it be rejected for another reason. Of very many candidates
        that share a band, each is compared with the first 16 and the 16 before it only. Short
        lists, code and refusals resemble each other by nature. One pair in fifty at
        `lowest_similarity` is missed. By words, the same share of a text written anew counts for
        more where words are long or inflected: docs/decisions/014.

    >>> from arbitrage.filters.base import Batch
    >>> answer = "The sea is calm in winter, and the boats stay in the harbour."
    >>> texts = [answer, answer.upper() + "!", "Yes.", "Yes.", ""]
    >>> scores = NearDuplicate(NearDuplicateParams()).score(Batch(texts, ["en"] * 5, [None] * 5))
    >>> scores.measures["similarity"].tolist(), scores.measures["exact"].tolist()
    ([0.0, 1.0, nan, nan, nan], [0.0, 0.0, 0.0, 1.0, nan])
    >>> scores.labels["of"]
    [None, '0', None, '2', None]
    """

    Params = NearDuplicateParams
    measures = ("similarity", "exact")
    labels = ("of",)
    causes: ClassVar[Mapping[str, str]] = {
        "max_similarity": "near_duplicate",
        "max_exact": "duplicate",
    }
    params: NearDuplicateParams

    def earlier_runs(self) -> Sequence[str]:
        return self.params.runs

    def sketch(self, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """`text` uint64 [n, 2]: hash of the text, 0 for none; `signature` uint32 [n, permutations]:
        of its n-grams, 0 where it is too short."""
        texts = np.zeros((len(batch), 2), np.uint64)
        for index, text in enumerate(map(same_text, batch.texts)):
            if text:
                whole = xxhash.xxh3_128_intdigest(text.encode("utf-8", "surrogatepass"))
                texts[index] = whole >> 64 | 1, whole & 0xFFFFFFFFFFFFFFFF
        signatures = np.zeros((len(batch), self.params.permutations), np.uint32)
        long = np.array([len(words) >= self.params.shortest_words for words in batch.words], bool)
        hashes, lengths = self._units(batch)
        grams, counts = ngrams(hashes, lengths, self.params.size)
        measured = long & (counts > 0)
        grams = grams[np.repeat(measured, counts)]
        signatures[measured] = minhashes(grams, counts[measured], self.params.permutations)
        return {"text": texts, "signature": signatures}

    def match(self, run: RunSketch) -> Scores:
        params = self.params
        texts, signatures = np.asarray(run.arrays["text"]), run.arrays["signature"]
        scopes = run.languages if params.scope == "language" else np.zeros_like(run.languages)
        groups = run.prompts if params.within_prompt == "ignore" else None
        exact = _among(texts[:, 0] != 0, texts, scopes, groups)
        keys = _signature_keys(signatures)
        rows = np.flatnonzero(keys[:, 0] != 0)
        twins, needed = twins_and_targets(_scoped(keys[rows], scopes[rows]), _at(groups, rows))
        similarity = np.where(keys[:, 0] != 0, np.float32(0), np.float32(np.nan))
        of = np.full(len(run), -1, np.int64)
        alone = rows[needed]
        near, of[alone] = nearest_earlier(
            signatures,
            alone,
            scopes[alone],
            _at(groups, alone),
            asking=(twins[needed] < 0) & (alone >= run.first),
            lowest=params.lowest_similarity,
        )
        similarity[alone] = near
        twin = rows[twins >= 0]
        similarity[twin], of[twin] = 1, rows[twins[twins >= 0]]
        same = exact >= 0
        similarity[same & ~np.isnan(similarity)] = 1
        of[same] = exact[same]
        told = np.where(texts[:, 0] != 0, same.astype(np.float32), np.float32(np.nan))
        own = slice(run.first, None)
        return Scores(
            {"similarity": similarity[own], "exact": told[own]}, {"of": _names(run, of[own])}
        )

    def _units(self, batch: Batch) -> tuple[Hashes, NDArray[np.int64]]:
        """Hashes of the units of all texts, one after another, and how many each text has."""
        if self.params.unit == "words":
            words = [word for text in batch.words for word in text]
            known = {word: xxhash.xxh3_64_intdigest(word.encode()) for word in set(words)}
            hashes = np.fromiter(map(known.__getitem__, words), np.uint64, len(words))
            return hashes, _lengths(batch.words)
        texts = ["".join(words) for words in batch.words]
        points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
        return mix(points.astype(np.uint64) + np.uint64(1)), _lengths(texts)


def same_text(text: str) -> str:
    """What exact duplicates have in common: the text in NFC with white space folded.

    Texts with over 30 combining marks in a row keep their Unicode form.

    >>> same_text(" cafe\\u0301\\n noir ") == same_text("café noir")
    True
    """
    if not text.isascii() and _TOO_MANY_MARKS.search(text):
        return " ".join(text.split())
    return normalise_text(text)


def ngrams(hashes: Hashes, lengths: NDArray[np.int64], size: int) -> tuple[Hashes, NDArray[Any]]:
    """Hashes of the n-grams of texts whose units stand one after another, and how many each has.

    >>> grams, counts = ngrams(np.array([1, 2, 1, 2, 5], np.uint64), np.array([2, 0, 3]), 2)
    >>> counts.tolist(), bool(grams[0] == grams[1]), bool(grams[1] == grams[2])
    ([1, 0, 2], True, False)
    """
    counts = np.maximum(lengths - size + 1, 0)
    first = np.cumsum(lengths) - lengths
    starts = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    grams = np.zeros(len(starts), np.uint64)
    for place in range(size):
        grams = chained(grams, hashes[starts + place])
    return grams, counts


def minhashes(grams: Hashes, counts: NDArray[np.int64], permutations: int) -> NDArray[np.uint32]:
    """uint32 [len(counts), permutations]: the signature of each set of hashes, never 0 in all."""
    from rensa import RMinHash  # noqa: PLC0415 - found when the first text is measured

    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(grams, offsets, permutations, _SEED)
    return np.array(matrix.to_rows(), np.uint32).reshape(len(counts), permutations)


def _among(
    taking: NDArray[np.bool_],
    keys: Hashes,
    scopes: NDArray[np.int32],
    groups: NDArray[np.int32] | None,
) -> NDArray[np.int64]:
    """`earliest` among some of the rows, as rows of all; -1 for the others."""
    rows = np.flatnonzero(taking)
    found = earliest(_scoped(keys[rows], scopes[rows]), _at(groups, rows))
    result = np.full(len(keys), -1, np.int64)
    result[rows[found >= 0]] = rows[found[found >= 0]]
    return result


def _scoped(keys: Hashes, scopes: NDArray[np.int32]) -> Hashes:
    return np.concatenate([keys, scopes[:, None].astype(np.uint64)], axis=1)


def _at(groups: NDArray[np.int32] | None, rows: NDArray[np.int64]) -> NDArray[np.int32] | None:
    return None if groups is None else groups[rows]


def _signature_keys(signatures: NDArray[np.uint32]) -> Hashes:
    """uint64 [n, 2]: a hash of each signature, 0 in the first for none; reads them once."""
    keys = np.zeros((len(signatures), 2), np.uint64)
    for start in range(0, len(signatures), _ROWS_AT_ONCE):
        read = np.asarray(signatures[start : start + _ROWS_AT_ONCE])
        for offset in np.flatnonzero(read.any(axis=1)).tolist():
            whole = xxhash.xxh3_128_intdigest(read[offset].tobytes())
            keys[start + offset] = whole >> 64 | 1, whole & 0xFFFFFFFFFFFFFFFF
    return keys


def _lengths(parts: Sequence[Sequence[Any]]) -> NDArray[np.int64]:
    return np.fromiter(map(len, parts), np.int64, len(parts))


def _names(run: RunSketch, of: NDArray[np.int64]) -> list[str | None]:
    names: list[str | None] = [None] * len(of)
    found = np.flatnonzero(of >= 0)
    for place, name in zip(found.tolist(), run.ids.take(of[found]).to_pylist(), strict=True):
        names[place] = name
    return names
