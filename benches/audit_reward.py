"""Rewards audited on pairs made from recorded human scores of translations (WMT24, ESA).

DIR holds esa.parquet: prompt_id, target_language, domain, source, teacher, completion, reward (a
human score of 0 to 100). A pair is two different translations of one segment whose scores are at
least 25 apart; of each segment the two widest pairs. People who score differ in how strict they
are, and one segment's translations were mostly scored by different people: some pairs are wrong,
so that no reward can reach 100 %, and how many are is not known.

Rewards: length in characters, the certainty of the language, and MTLD; with --meaning also
`meaning.similarity`, the cosine of multilingual-e5-small's vectors of source and translation (a
filter of this bench's own, about half a CPU second a pair). --quick takes every tenth pair.

Example: python benches/audit_reward.py ../wmt24 -o audit
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import measured
import numpy as np
import polars as pl

from arbitrage import registry
from arbitrage.config import parse_filters
from arbitrage.embeddings.factory import shared_embedder
from arbitrage.embeddings.params import E5Params
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores
from arbitrage.flows.audit import audit_rewards, write_audit

LEAST_DIFFERENCE = 25
PER_SEGMENT = 2
REWARDS = [
    "maximize:length.characters",
    "maximize:language_id.probability",
    "maximize:lexical_diversity.mtld",
]
NAMES = {"cs": "Czech", "ja": "Japanese", "zh": "Chinese"}


class Meaning(Filter):
    """Cosine of the vectors of what was to be translated and of the translation, -1 to 1; abstains
    on an empty one."""

    Params = FilterParams
    measures = ("similarity",)

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self._embedder = shared_embedder(E5Params())

    def score(self, batch: Batch) -> Scores:
        asked = [(prompt or "").partition("\n\n")[2] for prompt in batch.prompts]
        sources = list(dict.fromkeys(asked))
        vectors = self._embedder.embed([*sources, *batch.texts])
        place = {text: at for at, text in enumerate(sources)}
        known = vectors[[place[text] for text in asked]]
        cosine = (known * vectors[len(sources) :]).sum(axis=1).astype(np.float32)
        empty = [not (one and other) for one, other in zip(asked, batch.texts, strict=True)]
        cosine[empty] = np.nan
        return Scores({"similarity": cosine})


def pairs_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Pairs in the shape that `arbitrage audit-reward` reads."""
    kept = rows.filter(pl.col("completion").str.strip_chars() != "")
    both = kept.join(kept, on="prompt_id", suffix="_worse").filter(
        (pl.col("reward") - pl.col("reward_worse") >= LEAST_DIFFERENCE)
        & (pl.col("completion") != pl.col("completion_worse"))
    )
    widest = (
        both.with_columns(apart=pl.col("reward") - pl.col("reward_worse"))
        .sort(["prompt_id", "apart", "teacher", "teacher_worse"], descending=[False, True] * 2)
        .group_by("prompt_id", maintain_order=True)
        .head(PER_SEGMENT)
    )
    language = pl.col("target_language").replace_strict(NAMES)
    return widest.select(
        "prompt_id",
        prompt=pl.format("Translate into {}:\n\n{}", language, "source"),
        chosen="completion",
        rejected="completion_worse",
        language="target_language",
        category="domain",
        chosen_model="teacher",
        rejected_model="teacher_worse",
    )


def table_rows(audit: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for reward in audit["rewards"]:
        parts = {"all": reward["all"], **reward["languages"]}
        for language, part in parts.items():
            shown = {
                name: "-" if part[name] is None else f"{part[name]:.1%}"
                for name in ("accuracy", "low", "high", "accuracy_longer", "accuracy_shorter")
            }
            found.append(
                {
                    "reward": reward["reward"].partition(":")[2],
                    "language": language,
                    "pairs": part["pairs"],
                    "accuracy": shown["accuracy"],
                    "95 %": f"{shown['low']} .. {shown['high']}",
                    "chosen longer": shown["accuracy_longer"],
                    "shorter": shown["accuracy_shorter"],
                    "spearman": f"{part['spearman']:+.2f}",
                }
            )
    return found


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("folder", type=Path, metavar="DIR", help="holds esa.parquet")
    options.add_argument("--meaning", action="store_true", help="audit meaning.similarity too")
    options.add_argument("-o", "--output", type=Path, metavar="DIR", help="for the whole audit")
    given = options.parse_args()
    where = measured.machine()
    registry.filters.register("meaning", version=1)(Meaning)
    pairs = pairs_of(pl.read_parquet(given.folder / "esa.parquet"))
    if given.quick:
        pairs = pairs.gather_every(10)
    begun = time.perf_counter()
    with TemporaryDirectory() as place:
        path = Path(place) / "wmt24-pairs.parquet"
        pairs.write_parquet(path)
        names, rewards = ["length", "language_id", "lexical_diversity"], REWARDS
        if given.meaning:
            names, rewards = ["meaning", *names], ["maximize:meaning.similarity", *rewards]
        audit = audit_rewards([path], parse_filters(names), rewards)
    if given.output:
        write_audit(audit, given.output)
    figures: dict[str, Any] = {
        f"kappa, {item['one'].partition(':')[2]} / {item['other'].partition(':')[2]}": (
            "-"
            if item["kappa"] is None
            else f"{item['kappa']:+.2f} [{item['low']:+.2f}, {item['high']:+.2f}]"
        )
        for item in audit["agreement"]
        if item["language"] == "all"
    }
    figures |= {"pairs": len(pairs), "seconds": round(time.perf_counter() - begun, 1)}
    measured.show(where, table_rows(audit), figures, as_json=given.json)


if __name__ == "__main__":
    main()
