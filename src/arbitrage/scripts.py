"""Scripts: letters counted for many texts at once, and which of its scripts a language is in.

Source: Unicode's categories and names by the standard library, ranges for Han, kana and Hangul.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

_HAN = ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_KANA = ((0x3041, 0x30FA), (0x31F0, 0x31FF), (0xFF66, 0xFF9D))
_HANGUL = ((0x1100, 0x11FF), (0x3131, 0x318E), (0xAC00, 0xD7A3))

# No code point from here on is a letter.
_LAST = 0x40000

_KOREAN, _JAPANESE = frozenset({"ko"}), frozenset({"ja"})
_CHINESE = frozenset({"zh", "wuu", "yue"})

# Languages written in several scripts, where the label of an identifier may say less than the text.
SEVERAL_SCRIPTS = _CHINESE | frozenset(
    {"az", "bs", "kk", "ku", "ky", "mn", "ms", "pa", "sr", "tg", "tk", "ug", "uz"}
)
_NAMES = {
    "LATIN": "Latn",
    "CYRILLIC": "Cyrl",
    "ARABIC": "Arab",
    "GURMUKHI": "Guru",
    "MONGOLIAN": "Mong",
}

# Letters that a script is read from.
_ENOUGH = 200


@cache
def _kinds() -> NDArray[np.uint64]:
    """uint64 [2**18]: of a code point, 1 in one of four fields of 16 bits if it is a letter."""
    letters = np.fromiter((chr(point).isalpha() for point in range(_LAST)), bool, _LAST)
    kinds = letters.astype(np.uint64)
    for field, ranges in ((16, _HAN), (32, _KANA), (48, _HANGUL)):
        for first, last in ranges:
            kinds[first : last + 1] <<= np.uint64(field)
    return kinds


def letter_counts(texts: Sequence[str]) -> NDArray[np.int64]:
    """Letters of each text, int64 [n, 4]: Han, kana, Hangul and all others.

    Texts are of at most 65,535 characters each.

    >>> letter_counts(["漢字とカナ", "한국어 OK", "", "12"]).tolist()
    [[2, 3, 0, 0], [0, 0, 3, 2], [0, 0, 0, 0], [0, 0, 0, 0]]
    """
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    # A space after each text: no text is empty, so that every one has a place to begin.
    points = np.frombuffer(
        " ".join((*texts, "")).encode("utf-32-le", "surrogatepass"), dtype=np.uint32
    )
    starts = np.cumsum(lengths + 1) - lengths - 1
    sums = np.add.reduceat(_kinds().take(points, mode="clip"), starts) if len(texts) else starts
    fields = (sums.astype(np.uint64)[:, None] >> np.array([16, 32, 48, 0], np.uint64)) & np.uint64(
        0xFFFF
    )
    return fields.astype(np.int64)


def east_asian_languages(counts: NDArray[np.int64]) -> list[frozenset[str] | None]:
    """The languages that the script of each text leaves open; None where it rules out nothing.

    Speaks up only where at least half of the letters are Han, kana or Hangul: where Hangul is at
    least half of them the text is Korean, a tenth or more of kana is Japanese, and Han without any
    kana is a Chinese language.

    Args:
        counts: what `letter_counts` gives.

    >>> found = east_asian_languages(letter_counts(["今天天气很好", "カナ", "C'est 好"]))
    >>> [found and sorted(found) for found in found]
    [['wuu', 'yue', 'zh'], ['ja'], None]
    """
    han, kana, hangul, other = counts.T
    found = han + kana + hangul
    spoken = (found > 0) & (found >= other)
    korean = spoken & (2 * hangul >= found)
    chinese = spoken & ~korean & (kana == 0)
    japanese = spoken & ~korean & (kana > 0) & (10 * kana >= found)
    open_to: list[frozenset[str] | None] = [None] * len(counts)
    for languages, where in ((_KOREAN, korean), (_CHINESE, chinese), (_JAPANESE, japanese)):
        for index in np.flatnonzero(where).tolist():
            open_to[index] = languages
    return open_to


def script_in_use(text: str, language: str) -> str | None:
    """Which of the scripts of a language a text is in, an ISO 15924 code.

    Args:
        text: any string; the first 200 letters decide, by majority.
        language: a base language: Chinese (zh, yue, wuu), or one written in several scripts.

    Returns:
        None for other languages and where the text does not say: no letters of a known script, or
        as many characters of simplified as of traditional Chinese (often none of either).

    >>> script_in_use("Добар дан", "sr"), script_in_use("Dobar dan", "sr")
    ('Cyrl', 'Latn')
    >>> [script_in_use(text, "zh") for text in ("这里没有人", "這裡沒有人", "大家好")]
    ['Hans', 'Hant', None]
    """
    if language in _CHINESE:
        simplified, traditional = _chinese_characters()
        found = [simplified.intersection(text[:5000]), traditional.intersection(text[:5000])]
        one, other = map(len, found)
        return None if one == other else "Hans" if one > other else "Hant"
    if language not in SEVERAL_SCRIPTS:
        return None
    names = Counter(
        _NAMES.get(unicodedata.name(letter, "").partition(" ")[0])
        for letter in [letter for letter in text[:5000] if letter.isalpha()][:_ENOUGH]
    )
    return names.most_common(1)[0][0] if names else None


@cache
def _chinese_characters() -> tuple[frozenset[str], frozenset[str]]:
    """Characters of simplified Chinese only, and of traditional only: those of GB 2312 that Big5
    lacks, and the other way round."""

    def held(codec: str) -> set[str]:
        return {chr(point) for point in range(0x4E00, 0xA000) if chr(point).encode(codec, "ignore")}

    simplified, traditional = held("gb2312"), held("big5")
    return frozenset(simplified - traditional), frozenset(traditional - simplified)
