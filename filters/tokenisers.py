"""Tokens of a line as the Language Confusion Benchmark cuts them, or as ICU does.

Source: M. Marchisio et al., "Understanding and Mitigating Language Confusion in LLMs" (arXiv
2406.20052), the authors' program: jieba for Chinese, MeCab through fugashi for Japanese, white
space for all other languages, Korean and Thai among them. Their MeCab reads the dictionary UniDic,
ours its small edition (unidic-lite).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Collection, Iterable
from functools import cache
from importlib import import_module
from itertools import chain
from typing import Any

from icu4py.breakers import WordBreaker

from arbitrage.errors import FilterError

# A longer line is cut at this many characters before it is split: the time of jieba and MeCab grows
# with the square of a run of letters they do not know, and MeCab ends the process at a million.
LONGEST_PIECE = 2_000

_here = threading.local()


def authors_tokens(line: str, language: str) -> Iterable[str]:
    """Tokens of a line without line breaks, by the authors' tokeniser for a base language.

    Lazy: the first tokens of a long line cost no more than its first piece. Raises FilterError
    where a tokeniser is not installed.

    >>> list(authors_tokens("한국어 문장", "ko"))
    ['한국어', '문장']
    """
    if language not in ("zh", "ja"):
        return line.split()
    cut = _chinese() if language == "zh" else _japanese()
    starts = range(0, len(line), LONGEST_PIECE)
    return chain.from_iterable(cut(line[start : start + LONGEST_PIECE]) for start in starts)


def icu_tokens(line: str, _language: str) -> Iterable[str]:
    """Words of a line by ICU's dictionaries, without what stands between them; case is kept.

    >>> list(icu_tokens("ประเทศไทยสวยงามมาก, OK", "th"))
    ['ประเทศไทย', 'สวยงาม', 'มาก', 'OK']
    """
    return (part for part in WordBreaker(line, "en") if any(map(str.isalnum, part)))


TOKENISERS: dict[str, Callable[[str, str], Iterable[str]]] = {
    "authors": authors_tokens,
    "icu": icu_tokens,
}


def load_authors_tokens(languages: Collection[str]) -> None:
    """Load what `authors_tokens` needs for these base languages; FilterError where it lacks."""
    if "zh" in languages:
        _chinese()
    if "ja" in languages:
        _japanese()


@cache
def _chinese() -> Callable[[str], Iterable[str]]:
    tokenizer = _imported("jieba", "Chinese").Tokenizer()
    # What its initialize() does, without reading a cache that anyone may have put into /tmp,
    # without writing one, and without a word on standard error.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    cut: Callable[[str], Iterable[str]] = tokenizer.cut
    return cut


def _japanese() -> Callable[[str], Iterable[str]]:
    # A tagger is not for two threads at once; its dictionary is mapped, another one costs little.
    if not hasattr(_here, "tagger"):
        _imported("unidic_lite", "Japanese")
        _here.tagger = _imported("fugashi", "Japanese").Tagger("-O wakati -b 50000")
    tagger: Any = _here.tagger
    return lambda piece: tagger.parse(piece).split()


def _imported(module: str, language: str) -> Any:
    try:
        with warnings.catch_warnings():
            # jieba imports a module of setuptools that warns of its own end.
            warnings.simplefilter("ignore")
            return import_module(module)
    except ModuleNotFoundError as error:
        raise FilterError(
            f'"{module}", which the authors of language_confusion split {language} with, is not '
            "installed.",
            mend='Run pip install "multilingual-arbitrage[confusion]", or set tokens = "icu".',
        ) from error
