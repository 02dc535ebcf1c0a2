"""What a learned router reads from a prompt: words, pairs, edges, length and script, hashed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import regex
import xxhash
from numpy.typing import NDArray

from arbitrage.languages import language_facts, language_table
from arbitrage.routers.base import PromptBatch

IDENTITY = "words@1"

# A longer prompt is read at its head and its tail: instructions stand there.
HEAD, TAIL = 2000, 1000
# Words at either edge that count once more as words of the edge: "Reply in Italian." stands there.
EDGE = 8
PREFIX = 4
BITS = 20

_TOKENS = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
    r"|\p{L}[\p{L}\p{M}\p{N}]*|\p{N}|\n|[^\w\s]"
)
_SCRIPT = regex.compile(
    r"(?P<Latn>\p{Latin})|(?P<Cyrl>\p{Cyrillic})|(?P<Grek>\p{Greek})|(?P<Arab>\p{Arabic})"
    r"|(?P<Hebr>\p{Hebrew})|(?P<Deva>\p{Devanagari})|(?P<Beng>\p{Bengali})|(?P<Taml>\p{Tamil})"
    r"|(?P<Telu>\p{Telugu})|(?P<Thai>\p{Thai})|(?P<Hang>\p{Hangul})|(?P<Hani>\p{Han})"
    r"|(?P<Kana>\p{Hiragana}|\p{Katakana})|(?P<Ethi>\p{Ethiopic})|(?P<other>\p{L})"
)
_SCRIPT_READ = 60

_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_MIXING = np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, slots=True)
class Counts:
    """Hashed features of prompts, sparse, each feature of a row once.

    Attributes:
        rows: int64 [entries], ascending.
        bins: int64 [entries] in 0 .. 2**BITS: of the feature.
        paired: int64 [entries]: of the feature together with the prompt's language.
        values: float64 [entries]: 1 + ln(times it stands in the row).
        size: number of rows.
    """

    rows: NDArray[np.int64]
    bins: NDArray[np.int64]
    paired: NDArray[np.int64]
    values: NDArray[np.float64]
    size: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The features that have a column: the most frequent ones, with their inverse frequencies.

    Attributes:
        bins: int32 [n], the bin of each column.
        weights: float32 [n], ln((1 + prompts) / (1 + prompts with it)) + 1.
    """

    bins: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.bins)


def features(batch: PromptBatch) -> Counts:
    """Count the features of every prompt. Deterministic, and a row depends on its own prompt only.

    Features: words (single characters in scripts without spaces), pairs of neighbours, the first
    letters of long words, the words of both edges, length and lines in steps, script asked and
    wanted, task. Names of languages count as one word, so that what is learned of "Reply in
    Turkish" holds for Korean; whether the wanted language is named is a feature of its own.
    """
    parts = [
        _hashes(text, tag, task)
        for text, tag, task in zip(batch.texts, batch.languages, batch.tasks, strict=True)
    ]
    rows = np.repeat(np.arange(len(parts), dtype=np.int64), [len(part) for part in parts])
    keys = _mixed(np.concatenate(parts)) if parts else np.zeros(0, np.uint64)
    coded = (rows << BITS) | (keys >> np.uint64(64 - BITS)).astype(np.int64)
    coded, times = np.unique(coded, return_counts=True)
    rows, bins = coded >> BITS, coded & ((1 << BITS) - 1)
    tags = np.array([_word(f"\0language {tag}") for tag in batch.languages], dtype=np.uint64)
    both = _mixed(bins.astype(np.uint64) * _FIRST + tags[rows] * _SECOND)
    paired = (both >> np.uint64(64 - BITS)).astype(np.int64)
    return Counts(rows, bins, paired, 1 + np.log(times), len(batch))


def vocabulary(rows: NDArray[np.int64], bins: NDArray[np.int64], most: int) -> Vocabulary:
    """The at most `most` bins that the most rows have, of those that at least two have."""
    found = np.bincount(bins, minlength=1 << BITS)
    top = np.argsort(-found, kind="stable")[:most]
    top = np.sort(top[found[top] >= 2])
    count = len(np.unique(rows))
    weights = np.log((1 + count) / (1 + found[top])) + 1
    return Vocabulary(top.astype(np.int32), weights.astype(np.float32))


def columns(
    counts: Counts, bins: NDArray[np.int64], known: Vocabulary, table: NDArray[np.int32]
) -> NDArray[np.float32]:
    """float32 [rows, len(known)]: weighted counts, each row of length 1, or 0 where none is known.

    Args:
        bins: `counts.bins` or `counts.paired`.
        table: `column_table(known)`.
    """
    place = table[bins]
    there = place >= 0
    place, rows = place[there].astype(np.int64), counts.rows[there]
    cells = counts.values[there] * known.weights[place]
    width = max(len(known), 1)
    flat = np.bincount(rows * width + place, weights=cells, minlength=counts.size * width)
    dense = flat.astype(np.float32).reshape(counts.size, width)[:, : len(known)]
    length = np.sqrt(np.einsum("ij,ij->i", dense, dense))[:, None]
    made: NDArray[np.float32] = np.divide(dense, length, out=dense, where=length > 0)
    return made


def weighed(
    counts: Counts, bins: NDArray[np.int64], known: Vocabulary, weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """float64 [rows, width]: `columns(...) @ weights` without the matrix, each row by itself.

    Args:
        weights: float32 [len(known), width].
    """
    place = column_table(known)[bins]
    there = place >= 0
    place, rows = place[there], counts.rows[there]
    cells = counts.values[there] * known.weights[place]
    length = np.sqrt(np.bincount(rows, weights=cells * cells, minlength=counts.size))
    made = np.empty((counts.size, weights.shape[1]))
    for column in range(weights.shape[1]):
        parts = cells * weights[place, column]
        made[:, column] = np.bincount(rows, weights=parts, minlength=counts.size)
    return np.divide(made, length[:, None], out=np.zeros_like(made), where=length[:, None] > 0)


def column_table(known: Vocabulary) -> NDArray[np.int32]:
    """int32 [2**BITS]: the column of each bin, -1 for those without."""
    table = np.full(1 << BITS, -1, dtype=np.int32)
    table[known.bins] = np.arange(len(known), dtype=np.int32)
    return table


def _hashes(text: str, tag: str, task: str | None) -> NDArray[np.uint64]:
    """uint64 [features, not distinct] of one prompt."""
    read = text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
    words = _TOKENS.findall(read.lower())
    names = _names()
    plain = np.array([_word(names.get(word, word)) for word in words], dtype=np.uint64)
    ends = np.array([_word("\0start"), _word("\0end")], dtype=np.uint64)
    framed = np.concatenate([ends[:1], plain, ends[1:]])
    marks = [
        f"\0length {int(2 * math.log2(1 + len(text)))}",
        f"\0lines {min(5, text.count(chr(10)))}",
        f"\0script {_script(read)} {_wanted_script(tag)}",
        f"\0named {_names_wanted(tag, words)}",
        f"\0task {task}",
        *(
            f"\0prefix {word[:PREFIX]}"
            for word in words
            if len(word) > PREFIX and word not in names
        ),
    ]
    return np.concatenate(
        [
            plain,
            framed[:-1] * _FIRST + framed[1:] * _SECOND,
            plain[:EDGE] + _FIRST,
            plain[-EDGE:] + _SECOND,
            np.array([_word(mark) for mark in marks], dtype=np.uint64),
        ]
    )


@cache
def _names() -> dict[str, str]:
    """Names of languages in English, as one word, and what stands for all of them."""
    names = [facts.name.lower() for facts in language_table().values()]
    return {name: "\0name" for name in names if name.isalpha()}


def _names_wanted(tag: str, words: Sequence[str]) -> bool:
    facts = language_facts(tag)
    return facts is not None and facts.name.lower().split(" ")[0] in words


@cache
def _wanted_script(tag: str) -> str:
    facts = language_facts(tag)
    return facts.script if facts else ""


def _script(text: str) -> str:
    """The script most of the first letters are in."""
    found: dict[str, int] = {}
    for match in _SCRIPT.finditer(text[:_SCRIPT_READ]):
        name = match.lastgroup or ""
        found[name] = found.get(name, 0) + 1
    return max(sorted(found), key=found.__getitem__) if found else ""


def _word(word: str) -> int:
    return xxhash.xxh64_intdigest(word.encode("utf-8", "surrogatepass"))


def _mixed(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the key in its upper bits. Source: the finaliser of splitmix64."""
    keys = (keys ^ (keys >> np.uint64(31))) * _MIXING
    return keys ^ (keys >> np.uint64(29))
