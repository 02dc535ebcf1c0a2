"""English words as a set: the list that is shipped, or one in a file."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from arbitrage.errors import FilterError


@cache
def english_words(path: str | None = None) -> frozenset[str]:
    """The lower-case words of over 3 letters of a list with one word a line, UTF-8.

    Args:
        path: a file; None for the shipped list, SCOWL's sizes 10 to 50 in American spelling with
            common variants, 62,767 words. NOTICE has its licence.

    Raises FilterError where the file cannot be read or has no such word.

    >>> len(english_words()), "weather" in english_words(), "the" in english_words()
    (62767, True, False)
    """
    shipped = resources.files("arbitrage").joinpath("data/english_words.txt")
    try:
        text = (Path(path) if path else shipped).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FilterError(
            f'the list of English words "{path}" cannot be read: {error}.',
            mend="Name a UTF-8 text file with one word a line, or none for the shipped list.",
        ) from error
    lines = (line.strip() for line in text.splitlines())
    words = frozenset(word for word in lines if word.islower() and len(word) > 3)
    if not words:
        raise FilterError(
            f'the list of English words "{path}" has no lower-case word of over 3 letters.',
            mend="Name a text file with one word a line.",
        )
    return words
