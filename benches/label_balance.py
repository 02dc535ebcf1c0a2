"""What labels that are even over languages bring where the prompts are not.

Of a board's prompts half are the pool, where every third language (by tag) keeps one prompt in
ten, and half the test, with all languages as they are. So many of the pool are labelled: drawn at
random, or by the first step of `arbitrage calibrate`, balanced over languages
(routers/choosing.py). What each teaches is the best teacher per language, `fixed`; its reward is
read on the rare languages and on all languages alike. Boards and --data as in benches/routing.py.

Intervals: 95 %, Student's t over draws (of halves, rare prompts and labels).

Example: python benches/label_balance.py --data ../data
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import measured
import numpy as np
from numpy.typing import NDArray
from routing import BOARDS

from arbitrage.routers.choosing import choose
from arbitrage.routers.evaluation import earned_by
from arbitrage.routers.pooling import PooledMeans
from arbitrage.routers.reward_log import RewardLog

SIZES = (250, 500)
EVERY, KEPT = 3, 0.1
Rewards = dict[tuple[int, str], list[float]]


def one_draw(log: RewardLog, seed: int, rare: Rewards, alike: Rewards) -> None:
    """Add the means of one draw: on the rare languages, and over languages alike."""
    random = np.random.default_rng(seed)
    tags = np.array(log.prompts.languages)
    names = sorted(set(tags.tolist()))
    few = np.isin(tags, names[::EVERY])
    inside = random.random(len(log)) < 0.5
    kept = inside & (~few | (random.random(len(log)) < KEPT))
    pool, test = log.part(np.flatnonzero(kept)), log.part(np.flatnonzero(~inside))
    order = random.permutation(len(pool))
    for size in SIZES:
        balanced = choose(pool.prompts.languages, None, size, seed=seed)
        for how, places in (("random", np.sort(order[:size])), ("balanced", balanced)):
            labelled = pool.part(places)
            means = PooledMeans.of(labelled.prompts.languages, labelled.rewards)
            earned = earned_by(means.rows(test.prompts.languages), test)
            tested = tags[~inside]
            rare.setdefault((size, how), []).append(float(earned[few[~inside]].mean()))
            by_tag = [float(earned[tested == tag].mean()) for tag in names]
            alike.setdefault((size, how), []).append(float(np.mean(by_tag)))


def gain(found: Rewards, size: int) -> NDArray[np.float64]:
    return np.array(found[size, "balanced"]) - np.array(found[size, "random"])


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    options.add_argument("--board", action="append", choices=BOARDS, help="only this; repeatable")
    options.add_argument("--draws", type=int, default=50, metavar="N")
    given = options.parse_args()
    where = measured.machine()
    rows: list[dict[str, Any]] = []
    for name in given.board or ("lcb-weak", "lcb"):
        log = BOARDS[name](given.data)
        rare: Rewards = {}
        alike: Rewards = {}
        for draw in range(5 if given.quick else given.draws):
            one_draw(log, draw, rare, alike)
        for size in SIZES:
            random, balanced = (np.array(rare[size, how]) for how in ("random", "balanced"))
            rows.append(
                {
                    "board": name,
                    "labels": size,
                    "rare languages, random": measured.over_draws(random, "{:.4f}"),
                    "balanced": measured.over_draws(balanced, "{:.4f}"),
                    "balanced less random": measured.over_draws(gain(rare, size), "{:+.4f}"),
                    "the same, all languages": measured.over_draws(gain(alike, size), "{:+.4f}"),
                }
            )
    measured.show(where, rows, {}, as_json=given.json)


if __name__ == "__main__":
    main()
