"""What a learned router reads from a prompt: words, pairs, edges, length and script, hashed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import regex
import xxhash
from numpy.typing import NDArray

from arbitrage.languages import language_facts, language_table
from arbitrage.routers.base import PromptBatch

IDENTITY = "words@2"

# A longer prompt is read at its head and its tail: instructions stand there.
HEAD, TAIL = 2000, 1000
# Words at either edge that count once more as words of the edge: "Reply in Italian." stands there.
EDGE = 8
PREFIX = 4
BITS = 20

_NO_SPACES = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
# A word ends where a script without spaces begins: "用python写" is four tokens.
_TOKENS = regex.compile(
    rf"{_NO_SPACES}|\p{{L}}[[\p{{L}}\p{{M}}\p{{N}}]--{_NO_SPACES}]*|\p{{N}}|\n|[^\w\s]",
    regex.VERSION1,
)
# The same for texts in ASCII, in half the time.
_ASCII_TOKENS = re.compile(r"[a-z][a-z0-9]*|[0-9]|\n|[^\w \t-\r]")
_SCRIPT = regex.compile(
    r"(?P<Latn>\p{Latin})|(?P<Cyrl>\p{Cyrillic})|(?P<Grek>\p{Greek})|(?P<Arab>\p{Arabic})"
    r"|(?P<Hebr>\p{Hebrew})|(?P<Deva>\p{Devanagari})|(?P<Beng>\p{Bengali})|(?P<Taml>\p{Tamil})"
    r"|(?P<Telu>\p{Telugu})|(?P<Thai>\p{Thai})|(?P<Hang>\p{Hangul})|(?P<Hani>\p{Han})"
    r"|(?P<Kana>\p{Hiragana}|\p{Katakana})|(?P<Ethi>\p{Ethiopic})|(?P<other>\p{L})"
)
_SCRIPT_READ = 60
# Prompts hashed together, so that lists of their words stay short.
_AT_ONCE = 2048
# Prompts whose weights are summed together: so few that they stay in the processor's cache.
_IN_CACHE = 64

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
        _hashed(batch, start, min(start + _AT_ONCE, len(batch)))
        for start in range(0, len(batch), _AT_ONCE)
    ]
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
    coded, times = (np.concatenate(columns) for columns in zip(nothing, *parts, strict=True))
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
    made = np.zeros((counts.size, weights.shape[1]))
    begins = np.flatnonzero(np.diff(rows, prepend=-1))
    for first in range(0, len(begins), _IN_CACHE):
        starts = begins[first : first + _IN_CACHE]
        stop = begins[first + _IN_CACHE] if first + _IN_CACHE < len(begins) else len(rows)
        some = slice(starts[0], stop)
        parts = cells[some, None] * weights[place[some]]
        made[rows[starts]] = np.add.reduceat(parts, starts - starts[0], axis=0)
    return np.divide(made, length[:, None], out=made, where=length[:, None] > 0)


def column_table(known: Vocabulary) -> NDArray[np.int32]:
    """int32 [2**BITS]: the column of each bin, -1 for those without."""
    table = np.full(1 << BITS, -1, dtype=np.int32)
    table[known.bins] = np.arange(len(known), dtype=np.int32)
    return table


def _hashed(
    batch: PromptBatch, first: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row << BITS | bin, times it stands there) of the prompts at first .. last, ascending."""
    plain: list[int] = []
    others: list[int] = []
    lengths, more = [], []
    for row in range(first, last):
        text, tag = batch.texts[row], batch.languages[row]
        read = text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
        words = (_ASCII_TOKENS if read.isascii() else _TOKENS).findall(read.lower())
        coded = [_coded(word) for word in words]
        plain += [code for code, _ in coded]
        lengths.append(len(words))
        marks = (
            f"\0length {int(2 * math.log2(1 + len(text)))}",
            f"\0lines {min(5, text.count(chr(10)))}",
            f"\0script {_script(read)} {_wanted_script(tag)}",
            f"\0named {_wanted_name(tag) in words}",
            f"\0task {batch.tasks[row]}",
        )
        before = len(others)
        others += map(_word, marks)
        others += [prefix for _, prefix in coded if prefix is not None]
        more.append(len(others) - before)
    sizes = np.array(lengths, np.int64)
    rows, keys = _sequences(np.array(plain, np.uint64), sizes)
    rows = np.concatenate([rows, np.repeat(np.arange(len(sizes)), more)])
    keys = _mixed(np.concatenate([keys, np.array(others, np.uint64)]))
    bins = (keys >> np.uint64(64 - BITS)).astype(np.int64)
    return np.unique(((rows + first) << BITS) | bins, return_counts=True)


def _sequences(
    plain: NDArray[np.uint64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """(row, key) of every word, every pair of neighbours with the start and the end, and once more
    of the words at either edge.

    Args:
        plain: hashes of the words of all rows, one row after the other.
        sizes: words of each row.
    """
    rows = np.repeat(np.arange(len(sizes)), sizes)
    before = np.cumsum(sizes) - sizes
    place = np.arange(len(plain)) - before[rows]
    # Each row with a word for its start and one for its end; a pair begins anywhere but at an end.
    framed = np.empty(len(plain) + 2 * len(sizes), np.uint64)
    starts = before + 2 * np.arange(len(sizes))
    framed[starts] = _word("\0start")
    framed[starts + sizes + 1] = _word("\0end")
    framed[starts[rows] + 1 + place] = plain
    begins = np.ones(len(framed), np.bool_)
    begins[starts + sizes + 1] = False
    left = np.flatnonzero(begins)
    pairs = framed[left] * _FIRST + framed[left + 1] * _SECOND
    head, tail = place < EDGE, place >= sizes[rows] - EDGE
    return (
        np.concatenate([rows, np.repeat(np.arange(len(sizes)), sizes + 1), rows[head], rows[tail]]),
        np.concatenate([plain, pairs, plain[head] + _FIRST, plain[tail] + _SECOND]),
    )


@cache
def _names() -> dict[str, str]:
    """Names of languages in English, as one word, and what stands for all of them."""
    names = [facts.name.lower() for facts in language_table().values()]
    return {name: "\0name" for name in names if name.isalpha()}


@cache
def _wanted_name(tag: str) -> str | None:
    """The first word of the English name of the wanted language."""
    facts = language_facts(tag)
    return facts.name.lower().split(" ")[0] if facts else None


@cache
def _wanted_script(tag: str) -> str:
    facts = language_facts(tag)
    return facts.script if facts else ""


def _script(text: str) -> str:
    """The script most of the first letters are in."""
    start = text[:_SCRIPT_READ]
    if start.isascii():
        return "Latn" if any(map(str.isalpha, start)) else ""
    found: dict[str, int] = {}
    for character in start:
        name = _script_of(character)
        if name is not None:
            found[name] = found.get(name, 0) + 1
    return max(sorted(found), key=found.__getitem__) if found else ""


@lru_cache(maxsize=1 << 14)
def _script_of(character: str) -> str | None:
    match = _SCRIPT.match(character)
    return None if match is None else match.lastgroup


# Words come again and again; the bound keeps strange ones from filling the memory.
@lru_cache(maxsize=1 << 17)
def _coded(word: str) -> tuple[int, int | None]:
    """The hash of a word, and that of its first letters where it is long and names no language."""
    name = _names().get(word)
    if name is not None:
        return _word(name), None
    return _word(word), _word(f"\0prefix {word[:PREFIX]}") if len(word) > PREFIX else None


def _word(word: str) -> int:
    return xxhash.xxh64_intdigest(word.encode("utf-8", "surrogatepass"))


def _mixed(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the key in its upper bits. Source: the finaliser of splitmix64."""
    keys = (keys ^ (keys >> np.uint64(31))) * _MIXING
    return keys ^ (keys >> np.uint64(29))
