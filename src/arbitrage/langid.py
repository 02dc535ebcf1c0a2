"""Which language a text is in: fastText's lid.176, loaded once per process, on lists of texts."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.errors import FilterError
from arbitrage.languages import base_language, language_table, normalise_tag

# Control characters (line breaks among them), lone surrogates, zero-width and direction marks.
_NOISE = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060\ufeff\ud800-\udfff]+")

# Characters read of one text: the whole of it, or a third each from its start, middle and end.
LONGEST_READ = 9_000

# From here on nearly every letter is Han, kana, Hangul or their kin.
_EAST_ASIAN = "\u2e80"

_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u30fa\u31f0-\u31ff\uff66-\uff9d]")
_HANGUL = re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")
_ANY = re.compile(f"[{_HAN.pattern[1:-1]}{_KANA.pattern[1:-1]}{_HANGUL.pattern[1:-1]}]")
_KOREAN, _JAPANESE = frozenset({"ko"}), frozenset({"ja"})
_CHINESE = frozenset({"zh", "wuu", "yue"})

# Wanted macrolanguage -> members that count as it. The registry's, less those whose members are
# written as languages of their own (ms: id, min; sh: sr, hr, bs). Of 1,430 recorded sentences in
# Chinese the model called 11 wuu and 2 yue; those read were standard Chinese.
_COVERS = {
    "zh": {"wuu", "yue"},
    "no": {"nb", "nn"},
    "ar": {"arz"},
    "ku": {"ckb"},
    "ne": {"dty"},
    "kok": {"gom"},
    "zza": {"diq"},
}
_SAME = {"tl": "fil"}

_models: dict[str, Any] = {}
_loading = threading.Lock()


def load_model(path: str | Path | None = None) -> Any:
    """The fastText model at `path` (default: the packaged lid.176.ftz), loaded once per process.

    Raises FilterError where the file is absent or no fastText model.
    """
    place = str(path or resources.files("arbitrage").joinpath("data/lid.176.ftz"))
    with _loading:
        if place not in _models:
            # The class rather than fasttext.load_model, which prints a warning on each load.
            from fasttext.FastText import _FastText  # noqa: PLC0415

            try:
                _models[place] = _FastText(model_path=place)
            except (ValueError, RuntimeError) as error:
                raise FilterError(
                    f'the language model "{place}" cannot be loaded: {error}.',
                    mend="Name a fastText language identifier, or none for the packaged one.",
                ) from error
        return _models[place]


@cache
def tag_of_label(label: str) -> str:
    """BCP-47 tag of a fastText label, through the language table.

    Labels the table does not know (of another model) are read as tags, or given back as they are.

    >>> [tag_of_label(f"__label__{code}") for code in ("no", "als", "bh", "tl", "zh")]
    ['nb', 'gsw', 'bho', 'fil', 'zh']
    """
    code = label.removeprefix("__label__")
    for facts in language_table().values():
        if facts.fasttext == code:
            return facts.tag
    try:
        return normalise_tag(code)
    except ValueError:
        return code


@cache
def can_identify(tag: str) -> bool:
    """Whether the packaged model has a label for this language, or for one that it covers.

    >>> can_identify("pt-BR"), can_identify("kok"), can_identify("mas")
    (True, True, False)
    """
    base = _same(base_language(tag))
    known = [language_table().get(name) for name in (base, *_COVERS.get(base, ()))]
    return any(facts is not None and facts.fasttext != "" for facts in known)


def readable(text: str) -> str:
    """What the model reads of a text: one line without control characters, of bounded length.

    Texts over 9,000 characters are read as three pieces of 3,000 from start, middle and end.
    """
    if len(text) > LONGEST_READ:
        third = LONGEST_READ // 3
        middle = (len(text) - third) // 2
        text = f"{text[:third]} {text[middle : middle + third]} {text[-third:]}"
    return _NOISE.sub(" ", text)


def has_letters(text: str, shortest: int) -> bool:
    """Whether a text has at least `shortest` letters; Han, kana and Hangul count as two each.

    >>> has_letters("안녕하세요", 10), has_letters("hello", 10)
    (True, False)
    """
    letters = 0
    for character in text:
        if character.isalpha():
            letters += 1 if character < _EAST_ASIAN else 2
            if letters >= shortest:
                return True
    return False


def east_asian_languages(line: str) -> frozenset[str] | None:
    """The languages that the script of a line leaves open; None where it rules out nothing.

    Speaks up only where at least half of the letters are Han, kana or Hangul: Hangul is Korean, a
    tenth or more of kana is Japanese, and Han without any kana is a Chinese language.

    >>> sorted(east_asian_languages("今天天气很好")), east_asian_languages("C'est 好")
    (['wuu', 'yue', 'zh'], None)
    """
    if line.isascii() or not _ANY.search(line):
        return None
    han, kana, hangul = (len(script.findall(line)) for script in (_HAN, _KANA, _HANGUL))
    found = han + kana + hangul
    if not found or 2 * found < sum(map(str.isalpha, line)):
        return None
    if 2 * hangul >= found:
        return _KOREAN
    if kana == 0:
        return _CHINESE
    return _JAPANESE if 10 * kana >= found else None


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
        shortest: abstain on texts with fewer letters than this, East Asian ones counting twice.
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
    lines = [readable(text) for text in texts]
    asked = [index for index, line in enumerate(lines) if has_letters(line, shortest)]
    if not asked:
        return tags, probabilities
    identifier = load_model(model)
    # A list, never a single string: fastText 0.9's single-string predict raises on numpy 2.
    labels, values = identifier.predict([lines[index] for index in asked])
    for index, label, value in zip(asked, labels, values, strict=True):
        if not label:
            continue
        tag, probability = tag_of_label(label[0]), float(value[0])
        allowed = east_asian_languages(lines[index]) if check_script else None
        if allowed is not None and tag not in allowed:
            tag, probability = _most_likely(identifier, lines[index], allowed)
        tags[index], probabilities[index] = tag, min(probability, 1.0)
    return tags, probabilities


def _most_likely(identifier: Any, line: str, allowed: frozenset[str]) -> tuple[str, float]:
    """The first of all the model's labels that is allowed; the plainest one where none is."""
    labels, values = identifier.predict([line], k=-1)
    ranked = (
        (tag_of_label(label), float(value))
        for label, value in zip(labels[0], values[0], strict=True)
    )
    return next((pair for pair in ranked if pair[0] in allowed), (max(allowed), 0.0))


@cache
def same_language(wanted: str, found: str) -> bool:
    """Whether a text found to be in one language is in the wanted one.

    Scripts and regions do not count (zh-Hant = zh, pt-BR = pt); tl = fil; a wanted macrolanguage
    takes its members (no: nb, nn; zh: wuu, yue; ar: arz; ku: ckb; ne: dty; kok: gom; zza: diq), a
    wanted member not its siblings (nb is not nn). Close languages which the model confuses on short
    texts stay apart: sr, hr and bs; id and ms; cs and sk; da and nb.

    >>> same_language("zh-Hant", "zh"), same_language("no", "nn"), same_language("hr", "sr-Latn")
    (True, True, False)
    """
    base, other = _same(base_language(wanted)), _same(base_language(found))
    return base == other or other in _COVERS.get(base, ())


def _same(tag: str) -> str:
    return _SAME.get(tag, tag)
