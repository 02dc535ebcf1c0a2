"""What the learned router gains with two answers, and against cost.

The boards and their folds are those of benches/routing.py (--data as there); one fit a fold serves
both tables. With fewer labels: benches/learning_curve.py.

- answers: mean of the best of k answers by k teachers: the k of the best expected reward, and the
  k best of the language.
- cost: mean reward and mean cost where lambda x cost is taken off, for the router and for the best
  teacher per language. Cost of an answer, in want of prices: billions of parameters, as the name
  says (llmrouter only).

Example: OMP_NUM_THREADS=1 python benches/routing_spread.py --data ../data --board llmrouter
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import measured
import numpy as np
from routing import BOARDS, BY_TASK, modulo

from arbitrage.routers.bootstrap import resampled
from arbitrage.routers.evaluation import FOLDS, earned_by
from arbitrage.routers.fitting import fit_learned
from arbitrage.routers.folds import grouped_folds
from arbitrage.routers.pooling import Matrix, PooledMeans
from arbitrage.routers.reward_log import RewardLog

LAMBDAS = (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008)


class Earned:
    """Rewards by name, a fold at a time, in the order of the prompts."""

    def __init__(self, log: RewardLog) -> None:
        self.log = log
        self.values: dict[str, Matrix] = defaultdict(lambda: np.full(len(log), np.nan))

    def put(self, name: str, rows: Any, rewards: Matrix) -> None:
        self.values[name][rows] = rewards

    def over(self, name: str, other: str) -> tuple[str, str]:
        """Mean difference with its paired 95 % interval."""
        table = np.column_stack([self.values[name], self.values[other]])
        there = np.flatnonzero(~np.isnan(table).any(axis=1))
        draws = resampled(table[there], [self.log.groups[row] for row in there])
        mean = table[there].mean(axis=0)
        gap = draws.means[:, 0] - draws.means[:, 1]
        return f"{mean[0] - mean[1]:+.4f}", said(draws.interval(gap))


def said(bounds: tuple[float, float] | None) -> str:
    return "-" if bounds is None else f"[{bounds[0]:+.3f}, {bounds[1]:+.3f}]"


def best_of(log: RewardLog, chosen: Any) -> Matrix:
    best: Matrix = np.where(chosen, np.nan_to_num(log.rewards, nan=-np.inf), -np.inf).max(axis=1)
    return best


def leading(worth: Matrix, count: int) -> Any:
    """bool: the `count` of the most worth in each row."""
    chosen = np.zeros(worth.shape, np.bool_)
    np.put_along_axis(chosen, np.argsort(-worth, axis=1, kind="stable")[:, :count], True, axis=1)
    return chosen


def billions(teacher: str) -> float:
    found = re.search(r"(\d+)b\b", teacher)
    if found is None:
        raise ValueError(teacher)
    return float(found[1])


def tried(name: str, log: RewardLog) -> list[dict[str, Any]]:
    folds = modulo(log) if name in BY_TASK else grouped_folds(log.groups, FOLDS, 0)
    earned, spent = Earned(log), Earned(log)
    priced = name == "llmrouter"
    costs = np.array([billions(one) if priced else 0.0 for one in log.teachers])
    for fold in range(int(folds.max()) + 1):
        inside, rows = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        known, test = log.part(inside), log.part(rows)
        model = fit_learned(known)
        expected = model.expected(test.prompts)
        base = PooledMeans.of(known.prompts.languages, known.rewards).rows(test.prompts.languages)
        earned.put("fixed", rows, earned_by(base, test))
        earned.put("learned", rows, earned_by(expected, test))
        for k in (2, 3):
            earned.put(f"learned {k}", rows, best_of(test, leading(expected, k)))
            earned.put(f"fixed {k}", rows, best_of(test, leading(base, k)))
        for weight in LAMBDAS if priced else ():
            for who, worth in (("learned", expected), ("fixed", base)):
                chosen = (worth - weight * costs).argmax(axis=1)
                key = f"{who} {weight:g}"
                earned.put(key, rows, test.rewards[np.arange(len(rows)), chosen])
                spent.put(key, rows, costs[chosen])
    return tables(name, earned, spent)


def tables(name: str, earned: Earned, spent: Earned) -> list[dict[str, Any]]:
    lines: list[tuple[str, str, tuple[str, str]]] = []
    lines.append(("all labels", "over fixed", earned.over("learned", "fixed")))
    for k in (2, 3):
        for measure, other in (("over fixed's", f"fixed {k}"), ("over one answer", "learned")):
            lines.append((f"best of {k} answers", measure, earned.over(f"learned {k}", other)))
    for key in spent.values:
        mean = f"{earned.values[key].mean():.4f}", f"{spent.values[key].mean():.1f} B"
        lines.append((f"lambda {key.split()[1]}", key.split()[0], mean))
    return [
        {"board": name, "what": what, "measure": measure, "value": value, "95 % or cost": extra}
        for what, measure, (value, extra) in lines
    ]


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    options.add_argument("--board", action="append", choices=BOARDS, help="only this; repeatable")
    given = options.parse_args()
    where = measured.machine()
    rows: list[dict[str, Any]] = []
    for name in given.board or ("lcb", "llmrouter"):
        log = BOARDS[name](given.data)
        rows += tried(name, log.part(np.arange(0, len(log), 10)) if given.quick else log)
    measured.show(where, rows, {}, as_json=given.json)


if __name__ == "__main__":
    main()
