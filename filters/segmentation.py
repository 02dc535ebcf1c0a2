"""Words of a text in any language: what `length`, `lexical_diversity` and `toxicity` go by.

Source: Unicode Standard Annex 29 (word boundaries) with ICU's dictionaries for Chinese, Japanese,
Thai, Lao, Khmer and Burmese. ICU chooses by the script of each run of characters, not by the
language asked for: a Chinese answer to an English request is words and not one giant token.

Not implemented: morphology. A Korean noun with its particle, a German compound and an Arabic word
with its clitics are one word each. Tibetan and Dzongkha come out as syllables, for want of a
dictionary.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from icu4py.breakers import WordBreaker

from arbitrage.languages import base_language

# Languages that write i with and without a dot as two letters, I and İ being their capitals.
_TWO_LETTERS_I = frozenset({"tr", "az", "crh", "gag"})

# Reordering combining marks takes time quadratic in their number: longer segments stay as they are.
_LONGEST_NORMALISED = 64

# ICU's own boundaries in lower-case ASCII, without the cost of asking for each: letters, digits and
# underscores, joined by ' . : between letters and by ' . , ; between digits. A test compares.
# No possessive quantifiers: those of Python 3.11.0 to 3.11.4 match wrongly (python/cpython#106052).
_WORD = r"[a-z0-9_]+(?:(?:(?<=[a-z])['.:](?=[a-z])|(?<=[0-9])['.,;](?=[0-9]))[a-z0-9_]+)*"
_ASCII_WORDS = re.compile(_WORD)
_ASCII_SEGMENTS = re.compile(rf"{_WORD}|[ ]+|\r\n|[\x00-\x7f]")


def fold(text: str, language: str) -> str:
    """Lower case by the language's own rule, one form of apostrophe, no soft hyphens.

    Turkish, Azerbaijani, Crimean Tatar and Gagauz lower I to ı and İ to i; all others use
    `str.lower`, which keeps ß and the Greek final sigma as they are (no case folding).

    >>> fold("DIŞ İŞ", "tr"), fold("IT ISN’T", "en")
    ('dış iş', "it isn't")
    """
    if base_language(language) in _TWO_LETTERS_I:
        text = text.replace("İ", "i").replace("I\u0307", "i").replace("I", "ı")
    return text.replace("’", "'").replace("\u00ad", "").lower()


def segments(text: str, language: str) -> list[str]:
    """The folded text cut at every word boundary: words, and what stands between them, in order.

    Lone surrogates become "?". Segments are in NFC, save those over 64 characters.

    >>> segments("Hi, 世界人民", "en")
    ['hi', ',', ' ', '世界', '人民']
    """
    folded = fold(text, language)
    if folded.isascii():
        return _ASCII_SEGMENTS.findall(folded)
    try:
        found = list(WordBreaker(folded, "en"))
    except UnicodeEncodeError:
        found = list(WordBreaker(folded.encode("utf-8", "replace").decode("utf-8"), "en"))
    return [
        part
        if part.isascii() or len(part) > _LONGEST_NORMALISED
        else unicodedata.normalize("NFC", part)
        for part in found
    ]


def words(text: str, language: str) -> list[str]:
    """The segments that hold a letter or a digit.

    Combining marks and apostrophes inside a word do not split it; hyphens do.

    >>> words("It isn't 3.14 -- well-known!", "en")
    ['it', "isn't", '3.14', 'well', 'known']
    >>> words("हिन्दी में लिखो", "hi"), words("ประเทศไทยสวยงามมาก", "th")
    (['हिन्दी', 'में', 'लिखो'], ['ประเทศไทย', 'สวยงาม', 'มาก'])
    """
    folded = fold(text, language)
    if folded.isascii():
        found = _ASCII_WORDS.findall(folded)
        return [part for part in found if part.strip("_")] if "_" in folded else found
    return wordlike(segments(text, language))


def wordlike(parts: Iterable[str]) -> list[str]:
    """Those of some segments that are words.

    >>> wordlike(["it", " ", "isn't", "...", "3.14"])
    ['it', "isn't", '3.14']
    """
    return [
        part
        for part in parts
        # Nearly every second segment is a space: told first, the rest is looked at half as often.
        if part != " " and (part.isalnum() or (len(part) > 1 and any(map(str.isalnum, part))))
    ]
