"""Whether a completion was cut off: by the limit of tokens, or in the middle of a sentence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import regex
from pydantic import Field

from arbitrage.fears import Fear
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register
from arbitrage.languages import base_language

# Unicode's Sentence_Terminal (。！？ ؟ ۔ । ։ ። ။ ។ ...), and what it leaves out: the ellipsis, the
# Tibetan shads, and the wave that ends many a friendly line in East Asia.
_ENDER = regex.compile(r"[\p{Sentence_Terminal}…⋯།༎༏༐~～〜]")
# What these languages ask a question with is a semicolon elsewhere.
_OWN_ENDERS = {"el": frozenset(";\u037e")}
_WITHOUT_ENDERS = regex.compile(r"[\p{scx=Thai}\p{scx=Laoo}]")
_ITEM = re.compile(r"\s*(?:[-+*•·●▪|#>]|\d{1,3}[.)、:]|[^\W\d_][.)]\s)")
# "3." is an item that never came, and half a character a text cut between two bytes.
_BARE_NUMBER = re.compile(r"\s*\d{1,3}[.)、]\s*")
_UNDECODED = "\ufffd"
# A line with backticks further on is code in one line and opens no block.
_FENCE = re.compile(r"^[ \t]*```[^`\n]*$", re.MULTILINE)
# What data, formulas, markup and table rows end with.
_NO_PROSE = ("}", "]", ">", "|", "$")
_CLOSING = frozenset("\"'*_`|")
_CLOSING_CATEGORIES = frozenset({"Pe", "Pf", "Pi", "Cc", "Cf", "Cs", "Cn", "Co", "Mn", "Sk"})
# Lines looked at to learn whether this text ends its lines as sentences.
_LINES = 200


def last_sign(line: str) -> str:
    """The last character that is no white space, closing bracket, quote, emphasis or mark.

    >>> last_sign('(**"Really?"**) '), last_sign("no end “")
    ('?', 'd')
    """
    for character in reversed(line):
        if not (
            character.isspace()
            or character in _CLOSING
            or unicodedata.category(character) in _CLOSING_CATEGORIES
        ):
            return character
    return ""


def ends(line: str, language: str) -> bool:
    """Whether a line ends as a sentence or with a symbol such as an emoji.

    >>> ends("你好。」", "zh"), ends("ok 😊", "en"), ends("τι κάνεις;", "el"), ends("and so", "en")
    (True, True, True, False)
    """
    sign = last_sign(line)
    if not sign or sign == _UNDECODED or _BARE_NUMBER.fullmatch(line):
        return False
    own = _OWN_ENDERS.get(base_language(language), frozenset())
    return _ENDER.match(sign) is not None or sign in own or unicodedata.category(sign) == "So"


def ends_open(text: str, language: str) -> float:
    """1 where the text stops in the middle of a sentence, 0 where it ends one, NaN for no saying.

    >>> [ends_open(text, "en") for text in ("We went. Then", "We went.", "Try:\\n- tea\\n- jam")]
    [1.0, 0.0, nan]
    """
    lines = [line for line in text.splitlines() if line and not line.isspace()]
    if len(_FENCE.findall(text)) % 2:
        return 1.0
    if not lines:
        return np.nan
    if lines[-1].lstrip().startswith("```") or ends(lines[-1], language):
        return 0.0
    if _BARE_NUMBER.fullmatch(lines[-1]):
        return 1.0
    others = lines[-1 - _LINES : -1]
    sentences = 2 * sum(ends(line, language) for line in others) >= len(others)
    return 1.0 if sentences and _wants_ender(lines[-1]) else np.nan


def _wants_ender(line: str) -> bool:
    """Whether a line would end in a full stop: no list item, link, data, Thai or Lao."""
    sign = last_sign(line)
    return not (
        sign == ""
        or _WITHOUT_ENDERS.match(sign)
        or _ITEM.match(line)
        or line.rstrip().endswith(_NO_PROSE)
        or "://" in line.rpartition(" ")[2]
    )


class TruncationParams(FilterParams):
    """From how many words on to judge the end, and the thresholds."""

    shortest_words: int = Field(5, ge=1, description="open_end abstains on texts of fewer words.")
    max_cut: float | None = Field(None, ge=0, le=1, description="0 rejects what was cut off.")
    max_open_end: float | None = Field(
        None, ge=0, le=1, description="0 rejects what ends in the middle of a sentence."
    )


@register("truncation", version=2)
class Truncation(Filter):
    """Says whether each text was cut at the limit of tokens or ends in mid-sentence.

    Source: the teacher's finish_reason as the OpenAI API defines it; sentence enders are Unicode's
        property Sentence_Terminal, with the ellipsis, Tibetan shads and the wave dash added, and
        the Greek question mark in Greek.
    Reads: finish_reasons; texts; languages.
    Writes: `truncation.cut` and `truncation.open_end`, float32 [n].
    Score: cut is 1 where finish_reason is "length" and 0 for any other. open_end is 1 where the
        last line has no sentence ender before closing quotes, brackets and emphasis, or a code
        block is not closed; 0 where the text ends as a sentence, with an emoji or with code.
    Rejects: cut_at_token_limit (`max_cut`), ends_mid_sentence (`max_open_end`).
    Abstains: cut where no finish_reason was recorded. open_end on texts of fewer than
        `shortest_words` words; on those that end in Thai or Lao, which set no full stops; and
        where the end need not be a sentence: a list item, heading, link, JSON, formula, or a text
        most of whose other lines have no ender either (verse, lists, code).
    Cost: about 6 MB of text a second on one core, nearly all of it finding the words.
    Blind spots: a text cut exactly after a sentence passes. A title, a bare answer ("Forrest
        Gump") or a list in one line is no sentence and counts as open. The recorded answers of six
        models to the language confusion benchmark stop at about 100 tokens: 31 to 69 % abstained,
        83 to 88 % of the rest were open. Of 45 short ones called open one reader found 41 cut in
        mid-sentence, the others titles, a list and a bare answer.

    >>> from arbitrage.filters.base import Batch
    >>> texts = ["We went home. Then we", "It was late, and then we all went home."]
    >>> batch = Batch(texts, ["en", "en"], [None, None], finish_reasons=["length", None])
    >>> scores = Truncation(TruncationParams()).score(batch)
    >>> scores.measures["cut"].tolist(), scores.measures["open_end"].tolist()
    ([1.0, nan], [1.0, 0.0])
    """

    Params = TruncationParams
    measures = ("cut", "open_end")
    causes: ClassVar[Mapping[str, str]] = {
        "max_cut": "cut_at_token_limit",
        "max_open_end": "ends_mid_sentence",
    }
    fears: ClassVar[Mapping[str, Fear]] = {
        "cut": Fear("high", "answers cut at the limit of tokens"),
        "open_end": Fear("high", "answers that stop in mid-sentence"),
    }

    def score(self, batch: Batch) -> Scores:
        reasons = batch.finish_reasons or [None] * len(batch)
        cut = [np.nan if reason is None else float(reason == "length") for reason in reasons]
        open_end = [
            ends_open(text, language) if len(words) >= self.params.shortest_words else np.nan
            for text, language, words in zip(batch.texts, batch.languages, batch.words, strict=True)
        ]
        return Scores(
            {
                "cut": np.array(cut, dtype=np.float32),
                "open_end": np.array(open_end, dtype=np.float32),
            }
        )
