"""What the learned router gains with few labelled prompts: chosen as `arbitrage calibrate` does it,
against prompts drawn at random.

The boards and their folds are those of benches/routing.py (--data as there). Of the prompts that
are not in the fold under test, so many are labelled by all teachers:
- random: drawn evenly;
- calibrate: the picker of `arbitrage calibrate` with its defaults, tasks/labelling.py: half of them
  at random, balanced over languages, the other half leaning towards prompts over which the router
  fitted on the first half expects teachers to differ;
- fixed, random: the best teacher per language, of the prompts drawn at random.
Every draw has its own labels in every fold. A gain is over `fixed` with all labels, on all prompts
of the board; its share is of the gain of the learned router with all labels.

Intervals: 95 %, Student's t over draws (of the labels, on the same prompts and folds). What the
prompts of the board add to that, stands in its last row: the final gain's bootstrap interval.

Example: OMP_NUM_THREADS=1 python benches/learning_curve.py --data ../data --board lcb --draws 6
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import lines
import measured
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from routing import BOARDS, BY_TASK, modulo

from arbitrage.config import CalibrateConfig
from arbitrage.routers.bootstrap import resampled
from arbitrage.routers.evaluation import FOLDS, earned_by
from arbitrage.routers.fitting import fit_learned
from arbitrage.routers.folds import grouped_folds
from arbitrage.routers.pooling import Matrix, PooledMeans
from arbitrage.routers.reward_log import RewardLog
from arbitrage.tasks.labelling import first_choice, second_choice

SIZES = (250, 500, 1000, 2500)
RANDOM, CHOSEN, FIXED = "random", "calibrate", "fixed, random"
Places = NDArray[np.intp]


def pool_of(log: RewardLog) -> pa.Table:
    """The prompts as `calibrate` sees them before anybody has answered."""
    batch = log.prompts
    return pa.table(
        {
            "prompt_id": list(batch.prompt_ids),
            "messages": [[{"role": "user", "content": text}] for text in batch.texts],
            "language": list(batch.languages),
            "task": pa.array(batch.tasks, pa.string()),
        }
    )


def picked(log: RewardLog, size: int, seed: int) -> Places:
    """Places of the prompts that `calibrate` would have labelled."""
    pool = pool_of(log)
    asked = CalibrateConfig(prompts=size, kind="learned")
    place = {name: row for row, name in enumerate(log.prompts.prompt_ids)}
    first = _places(first_choice(pool, asked, seed), place)
    second = _places(second_choice(pool, log.part(first), asked, seed), place)
    return np.sort(np.concatenate([first, second]))


def _places(table: pa.Table, place: dict[str, int]) -> Places:
    return np.array(sorted(place[name] for name in table["prompt_id"].to_pylist()), dtype=np.intp)


def one_draw(known: RewardLog, test: RewardLog, seed: int) -> dict[tuple[str, int], Matrix]:
    """(how, labels) -> rewards on the prompts under test."""
    found = {}
    order = np.random.default_rng(seed).permutation(len(known))
    for size in (size for size in SIZES if size <= len(known)):
        drawn = known.part(np.sort(order[:size]))
        base = PooledMeans.of(drawn.prompts.languages, drawn.rewards)
        found[FIXED, size] = earned_by(base.rows(test.prompts.languages), test)
        for how, log in ((RANDOM, drawn), (CHOSEN, known.part(picked(known, size, seed)))):
            found[how, size] = earned_by(fit_learned(log, seed=seed).expected(test.prompts), test)
    return found


def measured_board(
    name: str, log: RewardLog, draws: int, most: int
) -> tuple[dict[Any, Matrix], list[Any]]:
    """Shares by (how, labels), float64 [draws], and the table's rows."""
    folds = modulo(log) if name in BY_TASK else grouped_folds(log.groups, FOLDS, 0)
    earned: dict[Any, Matrix] = defaultdict(lambda: np.full((draws, len(log)), np.nan))
    ends = np.full((len(log), 2), np.nan)
    for fold in range(min(most, int(folds.max()) + 1)):
        rows = np.flatnonzero(folds == fold)
        known, test = log.part(np.flatnonzero(folds != fold)), log.part(rows)
        base = PooledMeans.of(known.prompts.languages, known.rewards)
        ends[rows, 0] = earned_by(fit_learned(known).expected(test.prompts), test)
        ends[rows, 1] = earned_by(base.rows(test.prompts.languages), test)
        for draw in range(draws):
            for key, rewards in one_draw(known, test, 100 * draw + fold).items():
                earned[key][draw, rows] = rewards
    tested = np.flatnonzero(np.isfinite(ends[:, 0]))
    ends = ends[tested]
    full = ends.mean(axis=0)
    final = float(full[0] - full[1])
    # A size that not every fold has the prompts for is left out.
    gains = {key: found[:, tested].mean(axis=1) - full[1] for key, found in earned.items()}
    gains = {key: found for key, found in gains.items() if np.isfinite(found).all()}
    rows = []
    for (how, size), gain in sorted(gains.items(), key=lambda item: (item[0][1], item[0][0])):
        rows.append(
            {
                "board": name,
                "labels": size,
                "drawn": how,
                "over fixed with all": measured.over_draws(gain, "{:+.4f}"),
                "share of the final gain": measured.over_draws(gain / final, "{:.0%}"),
                "least, most": f"{gain.min() / final:.0%}, {gain.max() / final:.0%}",
                "over random": "-"
                if how != CHOSEN
                else measured.over_draws(gain - gains[RANDOM, size], "{:+.4f}"),
            }
        )
    drawn = resampled(ends, [log.groups[row] for row in tested])
    low, high = drawn.interval(drawn.means[:, 0] - drawn.means[:, 1]) or (np.nan, np.nan)
    ending = {"drawn": "all", "labels": "all", "share of the final gain": "100%"}
    ending["over fixed with all"] = f"{final:+.4f} [{low:+.4f}, {high:+.4f}]"
    rows.append({"board": name, "least, most": "-", "over random": "-"} | ending)
    return {key: gain / final for key, gain in gains.items()}, rows


def panel_of(board: str, shares: dict[Any, Matrix]) -> lines.Panel:
    drawn = []
    for place, how in enumerate((FIXED, CHOSEN, RANDOM)):
        sizes = [size for name, size in sorted(shares) if name == how]
        means = [float(shares[how, size].mean()) for size in sizes]
        half = [measured.half_width(shares[how, size]) for size in sizes]
        low = [mean - width for mean, width in zip(means, half, strict=True)]
        high = [mean + width for mean, width in zip(means, half, strict=True)]
        drawn.append(lines.Line(how, lines.COLOURS[place], sizes, means, low, high))
    return lines.Panel(f"Share of the final gain on {board}", "labelled prompts", "{:.0%}", drawn)


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    options.add_argument("--board", action="append", choices=BOARDS, help="only this; repeatable")
    options.add_argument("--draws", type=int, default=6, metavar="N", help="of labels")
    options.add_argument("--folds", type=int, default=FOLDS, metavar="N", help="test the first N")
    options.add_argument("--plot", type=Path, metavar="FILE", help="the shares as SVG")
    given = options.parse_args()
    where = measured.machine()
    rows: list[dict[str, Any]] = []
    panels = []
    for name in given.board or ("lcb", "llmrouter"):
        log = BOARDS[name](given.data)
        if given.quick:
            log = log.part(np.arange(0, len(log), 5))
        shares, found = measured_board(name, log, 2 if given.quick else given.draws, given.folds)
        rows += found
        panels.append(panel_of(name, shares))
    if given.plot:
        lines.draw(given.plot, panels)
    measured.show(where, rows, {}, as_json=given.json)


if __name__ == "__main__":
    main()
