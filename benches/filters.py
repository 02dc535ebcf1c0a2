"""Documents a second of every filter, and MTLD against `lexicalrichness`, in one run on one core.

Texts are recorded answers: those of examples/quickstart, or with --recorded DIR those of a folder
that holds prompts.parquet (prompt_id, prompt, language) and a table of completions.

  alone     one filter on a batch that nothing else has looked at: it cuts the texts itself
  shared    the same where another filter has cut them before, as in a run
  together  all filters on one batch, texts cut once

MTLD is compared on English answers of 50 words and more with `lexicalrichness`, where that is
installed (pip install lexicalrichness): from the text, each finding words its own way, and on the
same words.

Example: python benches/filters.py --filters lexical_diversity length
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import measured
import synthetic
from synthetic import batches, score_all

from arbitrage.filters.lexical_diversity import mtld
from arbitrage.filters.matching import RunFilter
from arbitrage.filters.segmentation import words
from arbitrage.registry import filters as registry

_SHORTEST_WORDS = 50


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Median CPU seconds of this thread, which other load on the machine touches least."""
    taken = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        taken.append(time.thread_time() - start)
    return statistics.median(taken)


def filter_rows(
    names: list[str], texts: list[str], languages: list[str], repeats: int
) -> list[dict[str, Any]]:
    """One row a filter, and one for all of them on the same batches."""
    built = {name: registry.get(name).plugin(registry.get(name).params()) for name in names}
    megabytes = sum(len(text.encode("utf-8", "replace")) for text in texts) / 1e6
    cut = batches(texts, languages)
    score_all(list(built.values()), cut)  # loads models and tables, and cuts the texts
    rows = []
    for name, scorer in built.items():
        alone = seconds(lambda s=scorer: score_all([s], batches(texts, languages)), repeats)
        shared = seconds(lambda s=scorer: score_all([s], cut), repeats)
        rows.append(_row(name, len(texts), megabytes, alone, shared))
    together = seconds(lambda: score_all([*built.values()], batches(texts, languages)), repeats)
    return [*rows, _row("together", len(texts), megabytes, together, None)]


def _row(
    name: str, documents: int, megabytes: float, alone: float, shared: float | None
) -> dict[str, Any]:
    return {
        "filter": name,
        "documents/s alone": round(documents / alone),
        "MB/s alone": round(megabytes / alone, 1),
        "documents/s shared": round(documents / shared) if shared else None,
        "MB/s shared": round(megabytes / shared, 1) if shared else None,
    }


def mtld_figures(texts: list[str], languages: list[str], repeats: int) -> dict[str, Any]:
    """How many times as fast as `lexicalrichness`, and whether the values are the same."""
    if find_spec("lexicalrichness") is None:
        return {"MTLD against lexicalrichness": "not installed here"}
    from lexicalrichness import LexicalRichness

    english = [text for text, tag in zip(texts, languages, strict=True) if tag == "en"]
    english = [text for text in english if len(words(text, "en")) >= _SHORTEST_WORDS]
    cut = [words(text, "en") for text in english]
    theirs = [LexicalRichness(one, preprocessor=None, tokenizer=None) for one in cut]
    ours = [mtld(one) for one in cut]
    apart = [abs(a - b.mtld(threshold=0.72)) for a, b in zip(ours, theirs, strict=True)]

    def text_ours() -> None:
        for text in english:
            mtld(words(text, "en"))

    def text_theirs() -> None:
        for text in english:
            LexicalRichness(text).mtld(threshold=0.72)

    def words_ours() -> None:
        for one in cut:
            mtld(one)

    def words_theirs() -> None:
        for one in theirs:
            one.mtld(threshold=0.72)

    return {
        "English answers of 50 words and more": len(english),
        "largest difference on the same words": max(apart),
        "MTLD from text, times lexicalrichness (target 1)": seconds(text_theirs, repeats)
        / seconds(text_ours, repeats),
        "MTLD on words, times lexicalrichness": seconds(words_theirs, repeats)
        / seconds(words_ours, repeats),
    }


def _of_texts_alone() -> list[str]:
    """Filters that ask no server and look at one answer at a time."""
    return [
        entry.name
        for entry in registry.entries()
        if not issubclass(entry.plugin, RunFilter)
        and not any(field.is_required() for field in entry.params.model_fields.values())
    ]


def main() -> int:
    parser = measured.parser(__doc__)
    parser.add_argument("--recorded", type=Path, default=synthetic.QUICKSTART, metavar="DIR")
    parser.add_argument("--filters", nargs="+", default=_of_texts_alone(), metavar="NAME")
    parser.add_argument("--documents", type=int, default=30_000, help="texts at most")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    if asked.quick:
        asked.documents, asked.repeats = min(asked.documents, 300), 1
    where = measured.machine()
    texts, languages = synthetic.recorded(asked.recorded, asked.documents)
    rows = filter_rows(asked.filters, texts, languages, asked.repeats)
    figures = {"documents": len(texts), **mtld_figures(texts, languages, asked.repeats)}
    measured.show(where, rows, figures, as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
