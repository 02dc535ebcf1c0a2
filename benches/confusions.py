"""Which languages the identifier takes for which, on short parallel texts: what software says.

LOCALES is a folder with compiled translations, LANGUAGE/LC_MESSAGES/*.mo at any depth, such as a
Django that is installed or unpacked. Placeholders and markup are taken out. The table has one row
a language: texts of 20 to 49 letters and of 50 or more, the share that language_id finds to match,
the share with the wanted language among the three most likely ones, and what the others were taken
for.

The texts are terse and full of loan words, so running text does better; they are the same for all
languages, which compares languages fairly.

Example: python benches/confusions.py site-packages/django
"""

from __future__ import annotations

import gettext
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import measured

from arbitrage.filters.base import Batch
from arbitrage.filters.language_id import LanguageId, LanguageIdParams
from arbitrage.language_model import can_identify
from arbitrage.languages import normalise_tag

_PLACEHOLDER = re.compile(r"%\(\w+\)s|%\w|\{\w*\}|<[^>]+>")
_TAGS = {"sr_Latn": "sr-Latn", "zh_Hans": "zh-Hans", "zh_Hant": "zh-Hant"}


def translated(folder: Path) -> dict[str, set[str]]:
    """Tag -> translations that differ from their English originals."""
    texts: defaultdict[str, set[str]] = defaultdict(set)
    for place in sorted(folder.rglob("LC_MESSAGES/*.mo")):
        code = place.parent.parent.name
        with place.open("rb") as file:
            # The catalogue has no public way to list what is in it.
            catalogue: dict[Any, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for key, text in catalogue.items():
            original = key if isinstance(key, str) else key[0]
            if original and text != original:
                texts[_TAGS.get(code) or normalise_tag(code)].add(_PLACEHOLDER.sub(" ", text))
    return texts


def row(tag: str, texts: list[str]) -> dict[str, Any]:
    batch = Batch(texts, [tag] * len(texts), [None] * len(texts))
    first = LanguageId(LanguageIdParams()).score(batch)
    three = LanguageId(LanguageIdParams(top_k=3)).score(batch).measures["match"]
    matches, found = first.measures["match"], first.labels["language"]
    wrong = Counter(found[index] for index in range(len(texts)) if matches[index] == 0)
    cells: dict[str, Any] = {"language": tag}
    for name, least, most in (("20-49", 20, 50), ("50+", 50, 10**9)):
        chosen = [
            index
            for index, text in enumerate(texts)
            if least <= sum(map(str.isalpha, text)) < most and found[index] is not None
        ]
        cells[name] = len(chosen)
        for title, measure in ((f"{name} match %", matches), (f"{name} of three %", three)):
            cells[title] = round(100 * float(measure[chosen].mean())) if chosen else None
    cells["taken for"] = ", ".join(f"{other} {count}" for other, count in wrong.most_common(3))
    return cells


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("folder", type=Path, metavar="LOCALES", help="compiled translations")
    given = options.parse_args()
    where = measured.machine()
    texts = translated(given.folder)
    rows = [row(tag, sorted(texts[tag])) for tag in sorted(texts) if can_identify(tag)]
    measured.show(where, rows, {"languages": len(rows)}, as_json=given.json)


if __name__ == "__main__":
    main()
