"""From the labels of language identifiers to BCP-47 tags, and what counts as the same language."""

from __future__ import annotations

from functools import cache

import langcodes
from langcodes.tag_parser import LanguageTagError

from arbitrage.languages import base_language, language_facts, language_table

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

# Script codes of labels that say no more than the language does.
_SCRIPT_OF_LANGUAGE = {"zh": "Hani", "yue": "Hani", "wuu": "Hani", "ja": "Hani", "ko": "Hang"}


@cache
def tag_of_label(label: str) -> str:
    """BCP-47 tag of a fastText label.

    Labels with a script (`eng_Latn`: GlotLID, OpenLID, NLLB) are ISO 639-3 codes: the script is
    kept where it is not the language's usual one, and a member of a macrolanguage that
    the table does not have becomes that one (arb: ar, cmn: zh, pes: fa, als: sq). Labels without a
    script are those of lid.176, where als is Alemannic; others are read as tags, and given back as
    they are where they are none.

    >>> [tag_of_label(f"__label__{code}") for code in ("no", "als", "bh", "tl", "zh", "sh")]
    ['nb', 'gsw', 'bho', 'fil', 'zh', 'sr-Latn']
    >>> [tag_of_label(it) for it in ("srp_Cyrl", "srp_Latn", "nno_Latn", "als_Latn", "hin_Latn")]
    ['sr', 'sr-Latn', 'nn', 'sq', 'hi-Latn']
    >>> [tag_of_label(it) for it in ("cmn_Hani", "zho_Hans", "zho_Hant", "yue_Hant", "arz_Arab")]
    ['zh', 'zh', 'zh-Hant', 'yue', 'arz']
    """
    code = label.removeprefix("__label__")
    if "_" not in code:
        row = next((f for f in language_table().values() if f.fasttext == code), None)
        if row is not None:
            return row.tag
    try:
        tag = langcodes.standardize_tag(code)
        if base_language(tag) not in language_table():
            tag = langcodes.standardize_tag(code, macro=True)
    except LanguageTagError:
        return code
    base, script = base_language(tag), langcodes.Language.get(tag).script or ""
    if not script:
        return str(tag)
    facts = language_table().get(base)
    likely = facts.script if facts else langcodes.Language.get(base).maximize().script
    return base if script in (likely, _SCRIPT_OF_LANGUAGE.get(base)) else f"{base}-{script}"


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
    base, other = plain_language(wanted), plain_language(found)
    return base == other or other in _COVERS.get(base, ())


@cache
def members(tag: str) -> frozenset[str]:
    """The base languages that count as a wanted one: itself and those it covers.

    >>> sorted(members("no")), sorted(members("pt-BR"))
    (['nb', 'nn', 'no'], ['pt'])
    """
    base = plain_language(tag)
    return frozenset({base, *_COVERS.get(base, ())})


@cache
def wanted_script(tag: str) -> str | None:
    """The script a tag asks for: the one it names, or that of a region where Chinese is wanted.

    >>> [wanted_script(tag) for tag in ("sr-Latn", "zh-TW", "zh", "sr-RS")]
    ['Latn', 'Hant', None, None]
    """
    parts = tag.split("-")
    named = next((part.title() for part in parts[1:] if len(part) == 4 and part.isalpha()), None)
    if named is None and parts[0] == "zh" and len(parts) > 1:
        facts = language_facts(tag)
        return facts.script if facts else None
    return named


def plain_language(tag: str) -> str:
    """The base language of a tag, in one spelling where there are two (tl: fil)."""
    base = base_language(tag)
    return _SAME.get(base, base)
