"""A second reading of a text whose writer hid words: letters apart, digits for letters, marks."""

from __future__ import annotations

import unicodedata

import regex

# Written in the shape of a letter: https://en.wikipedia.org/wiki/Leet, the unambiguous part.
_LEET = str.maketrans("01345780@$€", "oieastbo" + "ase")

# One letter with its marks. Scripts without spaces are left alone: there a single sign is a word.
_LETTER = r"[\p{L}--[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]"
_APART = regex.compile(
    rf"(?V1)(?<![\p{{L}}\p{{M}}\p{{N}}]){_LETTER}\p{{M}}*(?:[ ._*-]{_LETTER}\p{{M}}*){{2,}}"
    r"(?![\p{L}\p{M}\p{N}])"
)
_BETWEEN = regex.compile(r"[ ._*-]")

# A word of letters and at most two signs in a row that stand for letters: h4te, M0rt, @ss, but
# neither 10km, 4G, covid19, 2026 nor @handles.
_WORD = regex.compile(r"(?V1)[\p{L}\p{M}0-9@$€]+")
_HIDDEN = regex.compile(r"[01345780@$€]")
_NUMBER = regex.compile(r"[0-9]{2,}|[269]")

# Shown as nothing: soft hyphens, joiners, direction marks, fillers.
_UNSEEN = regex.compile(
    r"[\u00ad\u034f\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+"
)


def _letters(word: regex.Match[str]) -> str:
    """The word with signs read as letters, where it is a word of letters and not a number."""
    found: str = word[0]
    if found[0] == "@" or not _HIDDEN.search(found) or _NUMBER.search(found):
        return found
    letters = sum(char.isalpha() for char in found)
    if letters < 2 or letters < 2 * (len(found) - letters) - 2:
        return found
    return found.translate(_LEET)


def plain_spelling(text: str) -> str:
    """The text with hidden words spelt out (unseen signs, spaced letters, leet), or as it is.

    Compatibility forms (NFKC) are resolved on the way but make no second reading alone: tokenisers
    do the same. Not implemented: letters dropped or swapped, look-alikes, sounds ("gr8").

    >>> plain_spelling("Je d é t e s t e ce m0nde, 4 km et 10kg.")
    'Je déteste ce monde, 4 km et 10kg.'
    >>> plain_spelling("ｂａｄ wo\\u200brd, tr4n5 $hit; 第 一 次 ")
    'bad word, trans shit; 第 一 次 '
    >>> plain_spelling("half a ½")
    'half a ½'
    """
    composed = unicodedata.normalize("NFKC", text)
    plain = _UNSEEN.sub("", composed)
    plain = _APART.sub(lambda run: _BETWEEN.sub("", run[0]), plain)
    plain = _WORD.sub(_letters, plain)
    return text if plain == composed else plain
