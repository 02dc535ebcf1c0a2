"""Best-of-k on recorded answers: what choosing gives against a random choice and each teacher.

Every prompt was answered once by each of k teachers. Chosen is the best of its k answers by an
objective; random is what a uniform draw among them gives on average; a teacher is its own answer.
The last selection takes the most diverse of the answers whose every line is in the right language,
and none where there is none. Each row is one selection and one measure, also those it does not look
at: choosing for one may cost another. Scores, z-scores and choices are the product's own functions.

The mean is over prompts, and a difference over those in which both sides were measured (a filter
abstains where a text is too short or a language has no list of words). Its interval is a 95 %
bootstrap over prompts, 1,000 resamples, both sides of a difference on the same prompts. Languages
have an interval each, not adjusted for their number: of twenty, one misses by chance.

Chosen by a measure and reported in the same one: the difference is what a student is given, not
proof that the measure is right. Texts are recorded, k is the number of teachers, one sample each.

Example: python benches/best_of_k.py --lcb ../lcb
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import measured
import numpy as np
import polars as pl
import pyarrow as pa

from arbitrage.config import RunConfig, parse_config
from arbitrage.filters.moments import Moments
from arbitrage.filters.scoring import score_table
from arbitrage.filters.selection import decide_table, weighted_measures
from arbitrage.intervals import bootstrap_means, percentile_interval
from arbitrage.keys import digest
from arbitrage.schema import GENERATED, PROMPTS, table_of

HERE = Path(__file__).resolve().parents[1] / "examples" / "quickstart"
MTLD, TOXICITY, LINE = (
    "lexical_diversity.mtld",
    "toxicity.toxicity",
    "language_confusion.line_pass",
)
SELECTIONS: dict[str, dict[str, Any]] = {
    "MTLD": {"objective": f"maximize:{MTLD}"},
    "toxicity": {"objective": f"minimize:{TOXICITY}"},
    "line pass": {"objective": f"maximize:{LINE}"},
    "all three": {"objective": {MTLD: 1.0, TOXICITY: -1.0, LINE: 1.0}},
    "MTLD if it passes": {"objective": f"maximize:{MTLD}", "constraints": {LINE: {"min": 1}}},
}
MEASURES = {"MTLD": MTLD, "toxicity": TOXICITY, "line pass": LINE}
RANDOM = "random"
ALL = "all"


@dataclass(frozen=True, slots=True)
class Difference:
    """Chosen less another choice over the prompts in which both were measured."""

    prompts: int
    chosen: float
    other: float
    low: float
    high: float

    @classmethod
    def of(cls, chosen: np.ndarray, other: np.ndarray, seed: int) -> Difference:
        both = ~np.isnan(chosen) & ~np.isnan(other)
        sides = np.column_stack([chosen[both], other[both]])
        if len(sides) < 2:
            return cls(len(sides), np.nan, np.nan, np.nan, np.nan)
        means = bootstrap_means(sides, np.ones_like(sides), seed)
        low, high = percentile_interval(means[:, 0] - means[:, 1])
        return cls(len(sides), *map(float, sides.mean(axis=0)), low, high)

    def __str__(self) -> str:
        if np.isnan(self.low):
            return "-"
        return f"{self.chosen - self.other:+.3g} [{self.low:+.3g}, {self.high:+.3g}]"


def recorded(folder: Path, *, quick: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Prompts and their answers, one row each."""
    prompts = pl.read_parquet(folder / "prompts.parquet").sort("prompt_id")
    names = ("completions.parquet", "recordings.parquet")
    path = next(folder / name for name in names if (folder / name).exists())
    if quick:
        prompts = prompts.filter(pl.int_range(pl.len()) % 10 == 0)
    answers = pl.read_parquet(path).join(prompts.select("prompt_id", "language"), on="prompt_id")
    return prompts, answers.sort("prompt_id", "teacher")


def config_of(teachers: list[str], select: dict[str, Any]) -> RunConfig:
    return parse_config(
        {
            "prompts": {"source": "prompts.parquet"},
            "teachers": [
                {"name": name, "backend": "replay", "recordings": "recordings.parquet"}
                for name in teachers
            ],
            "filters": {
                "language_confusion": {},
                "lexical_diversity": {"shortest_tokens": 30},
                "toxicity": {"scorer": "words"},
            },
            "select": {**select, "per_prompt": 1},
            "views": {},
        }
    )


def scored(prompts: pl.DataFrame, answers: pl.DataFrame, config: RunConfig) -> pa.Table:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {
            "candidate_id": digest(prompt, teacher),
            "prompt_id": prompt,
            "language": language,
            "teacher": teacher,
            "sample_index": 0,
            "text": text or "",
            "route_probability": 1.0,
            "router": "recorded",
            "params_hash": "",
            "created_at": now,
        }
        for prompt, teacher, text, language in answers.select(
            "prompt_id", "teacher", "completion", "language"
        ).iter_rows()
    ]
    asked = [
        {
            "prompt_id": prompt,
            "language": language,
            "source": "recorded",
            "messages": [{"role": "user", "content": text}],
        }
        for prompt, language, text in prompts.select("prompt_id", "language", "prompt").iter_rows()
    ]
    return score_table(table_of(rows, GENERATED), table_of(asked, PROMPTS), config)


def choices(table: pa.Table, config: RunConfig) -> pl.DataFrame:
    """prompt_id, language, and for each measure NAME: NAME/chosen, NAME/random, NAME/TEACHER."""
    decided = decide_table(table, config, Moments.of(table, weighted_measures(config)))
    frame = pl.DataFrame(
        decided.select(["prompt_id", "language", "teacher", "chosen", *MEASURES.values()])
    )
    teachers = frame["teacher"].unique().sort().to_list()
    aggregates = []
    for name, column in MEASURES.items():
        value = pl.col(column).cast(pl.Float64)
        aggregates += [
            value.filter(pl.col("chosen")).first().alias(f"{name}/chosen"),
            value.mean().alias(f"{name}/{RANDOM}"),
            *(
                value.filter(pl.col("teacher") == teacher).first().alias(f"{name}/{teacher}")
                for teacher in teachers
            ),
        ]
    return frame.group_by("prompt_id", "language").agg(aggregates).sort("prompt_id")


def rows_of(objective: str, frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """One row a language and measure, the whole last."""
    parts = [(str(tag), part) for (tag,), part in frame.group_by("language", maintain_order=True)]
    for language, part in [*sorted(parts), (ALL, frame)]:
        for name in MEASURES:
            chosen = part[f"{name}/chosen"].fill_null(np.nan).to_numpy()
            others = [c for c in part.columns if c.startswith(f"{name}/") and c[-7:] != "/chosen"]
            row: dict[str, Any] = {"objective": objective, "language": language, "measure": name}
            for column in others:
                other = part[column].fill_null(np.nan).to_numpy()
                seed = zlib.crc32(f"{language}/{name}".encode())
                found = Difference.of(chosen, other, seed)
                if column.endswith(f"/{RANDOM}"):
                    row |= {"prompts": found.prompts, "chosen": _round(found.chosen)}
                    row[RANDOM] = _round(found.other)
                row[f"less {column.split('/', 1)[1]}"] = str(found)
            yield row


def _round(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.4g}")


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--lcb", type=Path, metavar="DIR", default=HERE, help="other recordings")
    options.add_argument("--by-language", action="store_true", help="not only over all of them")
    given = options.parse_args()
    where = measured.machine()
    prompts, answers = recorded(given.lcb, quick=given.quick)
    teachers = answers["teacher"].unique().sort().to_list()
    table = scored(prompts, answers, config_of(teachers, {}))
    rows = []
    for name, select in SELECTIONS.items():
        found = list(rows_of(name, choices(table, config_of(teachers, select))))
        rows += [row for row in found if given.by_language or row["language"] == ALL]
    figures = {"prompts": len(prompts), "answers": len(answers), "k": len(teachers)}
    measured.show(where, rows, figures, as_json=given.json)


if __name__ == "__main__":
    main()
