"""Scripts: letters counted for many texts at once, and which of its scripts a language is in.

Source: Unicode's property Script_Extensions (Annex 24) through the library `regex`, categories and
names by the standard library.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import cast

import numpy as np
import regex
from numpy.typing import NDArray

# No code point from here on is a letter: what lies above is private or unassigned.
_LAST = 0x40000
_NEUTRAL = r"[\p{scx=Zyyy}\p{scx=Zinh}]"  # 𝐀 and ʹ are letters of no script

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
def letters_of(*scripts: str) -> NDArray[np.bool_] | None:
    """bool [0x40001] by code point: which characters are letters of these scripts, ISO 15924 codes
    as Unicode names them, or of any script where none is named; None where a script is not known.

    >>> letters = letters_of("Hira", "Kana")
    >>> [bool(letters[ord(character)]) for character in "あー写"]
    [True, True, False]
    """
    of_these = "".join(rf"\p{{scx={name}}}" for name in scripts)
    wanted = rf"[\p{{L}}&&[{of_these}]" if scripts else r"[\p{L}"
    try:
        pattern = regex.compile(rf"{wanted}--{_NEUTRAL}]++", regex.V1)
    except regex.error:
        return None
    every = "".join(chr(code) if not 0xD800 <= code < 0xE000 else "?" for code in range(_LAST))
    table = np.zeros(_LAST + 1, dtype=np.bool_)
    for found in pattern.finditer(every):
        table[found.start() : found.end()] = True
    return table if table.any() else None


@cache
def _kinds() -> NDArray[np.uint64]:
    """uint64 [2**18]: of a code point, 1 in one of four fields of 16 bits if it is a letter."""
    letters = np.fromiter((chr(point).isalpha() for point in range(_LAST)), bool, _LAST)
    kinds = letters.astype(np.uint64)
    taken = np.zeros(_LAST, dtype=np.bool_)
    for field, scripts in ((16, ("Hani",)), (32, ("Hira", "Kana")), (48, ("Hang",))):
        # A mark that repeats what stands before it is of Han and kana: of the first one here.
        found = cast("NDArray[np.bool_]", letters_of(*scripts))[:-1] & letters & ~taken
        kinds[found] <<= np.uint64(field)
        taken |= found
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
