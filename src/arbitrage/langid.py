"""Which language a text is in: what a fastText identifier says, checked against the script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arbitrage.language_labels import tag_of_label
from arbitrage.language_model import first_labels, ranked_labels
from arbitrage.scripts import east_asian_languages, letter_counts

# Control characters (line breaks among them), lone surrogates, zero-width and direction marks.
_NOISE = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060\ufeff\ud800-\udfff]+")

# Characters read of one text: the whole of it, or a third each from its start, middle and end.
LONGEST_READ = 9_000

# A language and the model's probability for it.
Guess = tuple[str, float]


def readable(text: str) -> str:
    """What the model reads of a text: one line without control characters, of bounded length.

    Texts over 9,000 characters are read as three pieces of 3,000 from start, middle and end.
    """
    if len(text) > LONGEST_READ:
        third = LONGEST_READ // 3
        middle = (len(text) - third) // 2
        text = f"{text[:third]} {text[middle : middle + third]} {text[-third:]}"
    text = text.replace("\n", " ")
    # Nearly every text passes here, in a hundredth of the time that the expression takes.
    return text if text.isprintable() else _NOISE.sub(" ", text)


def identify(
    texts: Sequence[str],
    *,
    shortest: int = 1,
    model: str | Path | None = None,
    check_script: bool = True,
) -> tuple[list[str | None], NDArray[np.float32]]:
    """The language of each text and the model's probability for it.

    Args:
        texts: any strings.
        shortest: abstain on texts with fewer letters than this; Han, kana and Hangul count as two.
        model: path of another fastText identifier.
        check_script: where an East Asian script rules the model's first label out, take its most
            likely label that the script allows. Of 1,553 recorded Chinese sentences the first label
            is ja 33 times and mk once; with the check ja is left once. False: the first label.

    Returns:
        BCP-47 tags and probabilities (float32 [n], 0 to 1). Abstention is None and NaN.

    >>> tags, probabilities = identify(["Bugün hava çok güzel.", "12:30 ?!"])
    >>> tags, bool(probabilities[0] > 0.9), bool(np.isnan(probabilities[1]))
    (['tr', None], True, True)
    """
    tags: list[str | None] = [None] * len(texts)
    probabilities = np.full(len(texts), np.nan, dtype=np.float32)
    asked, lines, open_to = _asked(texts, shortest, check_script=check_script)
    labels, shares = first_labels(lines, model)
    # The model rounds sums of probabilities up to a little over 1.
    probabilities[asked] = np.minimum(shares, 1)
    for index, label, line, allowed in zip(asked, labels, lines, open_to, strict=True):
        if not label:
            probabilities[index] = np.nan
            continue
        tag = tag_of_label(label)
        if allowed is not None and tag not in allowed:
            tag, probabilities[index] = _allowed(line, allowed, model)[0]
        tags[index] = tag
    return tags, probabilities


def rank(
    texts: Sequence[str],
    *,
    k: int = 1,
    shortest: int = 1,
    model: str | Path | None = None,
    check_script: bool = True,
) -> list[list[Guess]]:
    """The k most likely languages of each text, best first; none where `identify` abstains.

    Fewer than k where the model has fewer labels above probability 0, or the script allows fewer;
    a language that the model has two labels for may come twice.

    >>> [tag for tag, _ in rank(["Ovo je kratka rečenica o vremenu."], k=3)[0]]
    ['sr', 'sk', 'sr-Latn']
    """
    guesses: list[list[Guess]] = [[] for _ in texts]
    asked, lines, open_to = _asked(texts, shortest, check_script=check_script)
    if not asked:
        return guesses
    labels, values = ranked_labels(lines, k, model)
    for index, names, shares, line, allowed in zip(
        asked, labels, values, lines, open_to, strict=True
    ):
        found = _guesses(names, shares)
        if allowed is not None and not all(tag in allowed for tag, _ in found):
            found = _allowed(line, allowed, model)[:k]
        guesses[index] = found
    return guesses


def _asked(
    texts: Sequence[str], shortest: int, *, check_script: bool
) -> tuple[list[int], list[str], list[frozenset[str] | None]]:
    """Which texts have enough letters, what is read of them, what languages the script allows."""
    lines = [readable(text) for text in texts]
    counts = letter_counts(lines)
    # Han, kana and Hangul weigh two each.
    enough = np.flatnonzero(counts @ (2, 2, 2, 1) >= shortest)
    asked: list[int] = enough.tolist()
    allowed = east_asian_languages(counts[enough])
    if not check_script:
        allowed = [None] * len(asked)
    return asked, [lines[index] for index in asked], allowed


def _guesses(labels: Sequence[str], shares: NDArray[np.float32]) -> list[Guess]:
    pairs = zip(labels, shares.tolist(), strict=True)
    return [(tag_of_label(label), min(share, 1.0)) for label, share in pairs]


def _allowed(line: str, allowed: frozenset[str], model: str | Path | None) -> list[Guess]:
    """Those of all the model's labels that are allowed; the plainest one where none is."""
    labels, values = ranked_labels([line], -1, model)
    found = [guess for guess in _guesses(labels[0], values[0]) if guess[0] in allowed]
    return found or [(max(allowed), 0.0)]
