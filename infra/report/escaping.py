"""Making foreign text safe to show: names on one line, samples cut where a reader sees a break."""

from __future__ import annotations

import unicodedata

# Controls, line breaks, and marks that reorder what follows them (categories of Unicode).
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Cs"}
_JOINERS = {"\u200c", "\u200d"}  # Persian, Hindi and emoji need them


def plain(text: str) -> str:
    """A name on one line, without control characters or marks that change the writing direction.

    >>> plain("teacher\\u202e\\nA")
    'teacher A'
    """
    spaced = "".join(
        " " if character in "\n\r\t\u2028\u2029" else character
        for character in text
        if character in "\n\r\t\u2028\u2029" or unicodedata.category(character) not in _INVISIBLE
    )
    return " ".join(spaced.split())


def prose(text: str) -> str:
    """Foreign words in a line of Markdown: no link, image, HTML or table cell of their own.

    >>> print(prose("![x](http://evil) <b>, 5 %"))
    \\!\\[x\\](http:\\//evil) \\<b\\>, 5 %
    """
    escaped = plain(text)
    for mark in "\\|`*_~<>[]#!&":
        escaped = escaped.replace(mark, f"\\{mark}")
    # What would become a link without any mark.
    return escaped.replace("://", ":\\//").replace("www.", "www\\.")


def seen(text: str) -> str:
    """A text of several lines in which what would reorder or hide other text can be seen.

    Marks of direction that languages need (U+200E, U+200F, isolates) stay.

    >>> seen("exe\\u202etxt.\\x00")
    'exe[U+202E]txt.[U+0000]'
    """
    return "".join(f"[U+{ord(one):04X}]" if _deceives(one) else one for one in text)


def _deceives(character: str) -> bool:
    control = unicodedata.category(character) == "Cc" and character not in "\n\r\t"
    return control or "\u202a" <= character <= "\u202e"


def excerpt(text: str, length: int) -> str:
    """The beginning of a text, cut between characters as read: never before a combining mark.

    >>> excerpt("สวัสดีครับ", 4)
    'สวัส…'
    >>> excerpt("merhaba", 7)
    'merhaba'
    """
    if len(text) <= length:
        return text
    end = length
    while end > 0 and (_attaches(text[end]) or text[end - 1] in _JOINERS):
        end -= 1
    return text[: end or length].rstrip() + "…"


def _attaches(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or character in _JOINERS
