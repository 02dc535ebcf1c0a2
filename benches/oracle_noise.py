"""How much of the oracle's lead is left when a second judge chooses and the first one pays.

WMT25's answers have two LLM judges. The oracle of benches/routing.py picks by the very score it is
paid by, so it is paid for that judge's luck too. Here another one chooses: who has seen the second
judge's scores of the very answers, which no router ever has, and weighs them against the language's
means (of the first judge) as best it can:
    mean of the language + weight x (second judge's score less that judge's mean of the language)
with the weight that earns most in hindsight, of 0, .05, .1 ... 1. What that gains over `fixed` is
what both judges see in the answers themselves. The rest of the oracle's lead is the first judge's
noise and its own taste; only the latter could be learned too.

`fixed` here is the best teacher per language of the whole table, which flatters it a little. --data
DIR holds wmt25/rewards.parquet. Intervals: 95 %, bootstrap over documents.

Example: python benches/oracle_noise.py --data ../data
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import measured
import numpy as np
import polars as pl
from numpy.typing import NDArray
from routing import JUDGE, SMALL

from arbitrage.routers.bootstrap import resampled

SECOND = "gemba_esa_cmda"
WEIGHTS = np.linspace(0.0, 1.0, 21)
Matrix = NDArray[np.float64]


def of_language(scores: Matrix, tags: NDArray[Any]) -> Matrix:
    """Each row's language's mean of each teacher."""
    found = np.empty_like(scores)
    for tag in set(tags.tolist()):
        found[tags == tag] = scores[tags == tag].mean(axis=0)
    return found


def measured_pool(name: str, rows: pl.DataFrame) -> list[dict[str, Any]]:
    keys = ["prompt_id", "target_language", "doc_id"]
    wide = rows.pivot(on="teacher", index=keys, values=[JUDGE, SECOND]).drop_nulls()
    first, second = (
        wide.select(pl.selectors.starts_with(judge)).to_numpy().astype(np.float64)
        for judge in (JUDGE, SECOND)
    )
    tags = wide["target_language"].to_numpy()
    base, place = of_language(first, tags), np.arange(len(first))
    apart = second - of_language(second, tags)
    earned = {
        weight: first[place, (base + weight * apart).argmax(axis=1)] for weight in WEIGHTS.tolist()
    }
    best = max(earned, key=lambda weight: float(earned[weight].mean()))
    table = np.column_stack([earned[0.0], earned[best], first.max(axis=1)])
    draws = resampled(table, wide["doc_id"].cast(pl.String).to_list())
    found = []
    for column, who in enumerate(("fixed", f"second judge, weight {best:g}", "oracle")):
        gain = draws.means[:, column] - draws.means[:, 0]
        low, high = draws.interval(gain) or (np.nan, np.nan)
        gap = table[:, 2].mean() - table[:, 0].mean()
        mean = table[:, column].mean()
        found.append(
            {
                "pool": name,
                "chosen by": who,
                "mean": f"{mean:.3f}",
                "over fixed": f"{mean - table[:, 0].mean():+.3f} [{low:+.3f}, {high:+.3f}]",
                "of the oracle's lead": f"{(mean - table[:, 0].mean()) / gap:.0%}",
            }
        )
    return found


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    given = options.parse_args()
    where = measured.machine()
    rows = pl.read_parquet(given.data / "wmt25/rewards.parquet")
    if given.quick:
        rows = rows.filter(pl.col("doc_id").cast(pl.String).hash() % 4 == 0)
    shown = measured_pool("wmt25", rows)
    shown += measured_pool("wmt25-small", rows.filter(pl.col("teacher").is_in(SMALL)))
    measured.show(where, shown, {}, as_json=given.json)


if __name__ == "__main__":
    main()
