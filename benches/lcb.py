"""Language confusion of recorded answers, by teacher and language, and how fast it is measured.

DIR holds prompts.parquet (prompt_id, task, source, language) and completions.parquet (prompt_id,
teacher, completion; null = nothing came back) of the Language Confusion Benchmark, and the authors'
list of English words as english_words.txt if it is to be compared with the one that is shipped.

The table has one row a task, language and teacher, averaged over the sources as the authors do,
with 95 % bootstrap intervals. A rate of nothing is left out; the authors' program takes it as 1.
The figures below it say what the shipped list of words changes, how many judged lines are so near
to the threshold of certainty that another model may well decide otherwise, and the ratio of time
to fastText's own on the same texts in the same run, CPU seconds, the best of five.

Target: language_id at 80 % of raw fastText's speed or more.

The authors use lid.176.bin. With --bin PATH the same lines are asked of it too and the differences
counted; without, its effect is not measured.

Example: python benches/lcb.py ../lcb --bin lid.176.bin
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measured
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.filters.base import Batch, Scores
from arbitrage.filters.confusion_rates import ALL, ConfusionRates, Rate, confusion_rates
from arbitrage.filters.language_confusion import LanguageConfusion, LanguageConfusionParams
from arbitrage.filters.language_id import LanguageId, LanguageIdParams
from arbitrage.language_model import first_labels, labels_for, load_model

TASKS = ("monolingual", "crosslingual")
BATCH = 4096  # rows, as scoring passes them


def recorded(folder: Path, *, quick: bool) -> pl.DataFrame:
    prompts = pl.read_parquet(folder / "prompts.parquet").drop("prompt", strict=False)
    rows = pl.read_parquet(folder / "completions.parquet").join(prompts, on="prompt_id")
    rows = rows.with_columns(pl.col("completion").fill_null("")).sort("prompt_id", "teacher")
    return rows.filter(pl.int_range(pl.len()) % 10 == 0) if quick else rows


def batches(rows: pl.DataFrame) -> list[Batch]:
    return [
        Batch(part["completion"].to_list(), part["language"].to_list(), [None] * len(part))
        for part in rows.iter_slices(BATCH)
    ]


def rates(
    rows: pl.DataFrame, scores: list[Scores], of_nothing: float | None = None
) -> dict[tuple[str, str, str, str], ConfusionRates]:
    """(task, teacher, source, language) -> rates."""
    table = rows.select("teacher", "prompt_id", "language", "task").to_arrow()
    for name in scores[0].measures:
        values = pa.chunked_array([pa.array(part.measures[name]) for part in scores])
        table = table.append_column(f"language_confusion.{name}", values)
    sources = dict(rows.select("prompt_id", "source").iter_rows())
    return {
        (task, row.teacher, row.source, row.language): row
        for task in TASKS
        for row in confusion_rates(
            table.filter(pc.equal(table["task"], task)), sources, of_nothing=of_nothing
        )
    }


def shown(rate: Rate) -> str:
    if math.isnan(rate.value):
        return "-"
    return f"{rate.value:6.1%} [{rate.low:.1%}, {rate.high:.1%}]"


def best(calls: list[Callable[[], Any]], rounds: int = 5) -> list[float]:
    """CPU seconds of the quickest run of each call. They take turns, so that what else the machine
    does meets them all; a first round, which loads, is not counted."""
    quickest = [math.inf] * len(calls)
    for number in range(rounds + 1):
        for index, call in enumerate(calls):
            start = time.process_time()
            call()
            if number:
                quickest[index] = min(quickest[index], time.process_time() - start)
    return quickest


def speeds(parts: list[Batch], confusion: LanguageConfusion) -> dict[str, Any]:
    model, count = load_model(), sum(map(len, parts))
    flat = [[text.replace("\n", " ") for text in part.texts] for part in parts]
    lines = [[line for some in confusion.judged(part) for line in some] for part in parts]
    identifier = LanguageId(LanguageIdParams())
    raw, ours, raw_lines, confused = best(
        [
            lambda: [model.predict(texts) for texts in flat],
            lambda: [identifier.score(part) for part in parts],
            lambda: [model.predict(texts) for texts in lines],
            lambda: [confusion.score(part) for part in parts],
        ]
    )
    return {
        "language_id, answers/s": round(count / ours),
        "language_id, % of raw fastText's speed on the answers": round(100 * raw / ours, 1),
        "language_confusion, answers/s": round(count / confused),
        "language_confusion, % of raw fastText's speed on its lines": round(
            100 * raw_lines / confused, 1
        ),
    }


def compared(
    parts: list[Batch], confusion: LanguageConfusion, other: Path | None
) -> dict[str, Any]:
    """How certain the verdicts on lines are, and where another model gives others."""
    lines, wanted = [], []
    for part in parts:
        for found, language in zip(confusion.judged(part), part.languages, strict=True):
            lines += found
            wanted += [labels_for(language)] * len(found)
    labels, probabilities = first_labels(lines)
    right = [label in want for label, want in zip(labels, wanted, strict=True)]
    passed = [good and sure > 0.3 for good, sure in zip(right, probabilities, strict=True)]
    near = sum(good and 0.2 < sure <= 0.4 for good, sure in zip(right, probabilities, strict=True))
    close = sum(not good and sure < 0.5 for good, sure in zip(right, probabilities, strict=True))
    figures = {
        "judged lines": len(lines),
        "of them right, %": round(100 * sum(passed) / len(lines), 2),
        "of them with the right label at probability 0.2 to 0.4, %": round(
            100 * near / len(lines), 2
        ),
        "of them with a wrong label under probability 0.5, %": round(100 * close / len(lines), 2),
    }
    if other is None:
        return figures | {"against lid.176.bin": "not measured, no --bin PATH given"}
    labels, probabilities = first_labels(lines, other)
    theirs = [
        label in want and sure > 0.3
        for label, want, sure in zip(labels, wanted, probabilities, strict=True)
    ]
    differ = sum(one != two for one, two in zip(passed, theirs, strict=True))
    return figures | {
        f"of them judged otherwise by {other.name}, %": round(100 * differ / len(lines), 2)
    }


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("folder", type=Path, metavar="DIR", help="the recorded benchmark")
    options.add_argument("--bin", type=Path, metavar="PATH", help="lid.176.bin, to compare with")
    given = options.parse_args()
    where = measured.machine()
    rows = recorded(given.folder, quick=given.quick)
    parts = batches(rows)
    confusion = LanguageConfusion(LanguageConfusionParams())
    found = rates(rows, [confusion.score(part) for part in parts])
    order = {task: number for number, task in enumerate(TASKS)}
    table = [
        {
            "task": task,
            "language": language,
            "teacher": teacher,
            "answers": row.completions,
            "judged": row.scored,
            "LPR": shown(row.lpr),
            "WPR": shown(row.wpr),
            "LCPR": shown(row.lcpr),
        }
        for (task, teacher, source, language), row in sorted(
            found.items(),
            key=lambda item: (order[item[0][0]], item[0][3] == ALL, item[0][3], item[0][1]),
        )
        if source == ALL
    ]
    figures: dict[str, Any] = {"answers": len(rows), "rates": 0}
    figures["rates"] = sum(1 + (not math.isnan(row.wpr.value)) for row in found.values())
    listed = given.folder / "english_words.txt"
    if listed.exists():
        params = LanguageConfusionParams(english_words=str(listed))
        theirs = rates(rows, [LanguageConfusion(params).score(part) for part in parts])
        gaps = [abs(row.wpr.value - theirs[key].wpr.value) for key, row in found.items()]
        gaps = [gap for gap in gaps if not math.isnan(gap)]
        figures["WPR that the authors' list of words changes"] = sum(gap > 1e-12 for gap in gaps)
        figures["the largest such change, points"] = round(100 * max(gaps), 2)
    figures |= compared(parts, confusion, given.bin) | speeds(parts, confusion)
    measured.show(where, table, figures, as_json=given.json)


if __name__ == "__main__":
    main()
