"""Regret of the bandit beside EXP3, uniform and a router fitted afterwards, on recorded rewards.

--data DIR holds the tables that benches/routing.py names; boards are the same. A stream takes a
board's prompts in a random order, in shards of --shard, each routed by what the shards up to two
before it taught; only the drawn teacher's reward is seen. All streams of one seed have the same
order and the same draw for each prompt.

Streams: uniform; exp3, per language; bandit, Thompson sampling; afterwards: --fitted (fixed, the
best teacher per language; learned takes minutes) on all rewards of all teachers, cross-validated by
prompt. Regret is to the oracle, which picks each prompt's best by the reward itself and is out of
reach. With --change the best and the worst teacher change places halfway, a bandit with a discount
stands beside, and afterwards is left out. --plot FILE draws the last board's regret as SVG.

Intervals: 95 %, Student's t over seeds (of the order and the draws, on the same prompts).

Example: python benches/bandit.py --data ../data --board lcb --plot docs/bandit.svg
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lines
import measured
import numpy as np
import routing
from numpy.typing import NDArray

from arbitrage.routers.bandit import Bandit, BanditParams
from arbitrage.routers.evaluation import cross_validated
from arbitrage.routers.learning import Lessons, State
from arbitrage.routers.reward_log import RewardLog

Matrix = NDArray[np.float64]

LAG = 2
DISCOUNT = 0.999


def streamed(
    log: RewardLog, rewards: Matrix, draws: Matrix, params: dict[str, Any], size: int
) -> Matrix:
    """The reward of each prompt, in the order of the log.

    Args:
        rewards: float64 [n, teachers], NaN = cannot be drawn.
        draws: float64 [n], uniform.
    """
    bandit = Bandit(BanditParams(reward="maximize:recorded.reward", **params), log.teachers)
    state: State = {}
    taught: list[Lessons] = []
    earned = np.zeros(len(log))
    for number, start in enumerate(range(0, len(log), size)):
        if number >= LAG:
            state = bandit.learned(state, taught[number - LAG])
        rows = np.arange(start, min(start + size, len(log)))
        batch, own = log.part(rows).prompts, rewards[rows]
        shares = np.where(np.isnan(own), 0.0, bandit.after(state).probabilities(batch))
        shares = shares / shares.sum(axis=1, keepdims=True)
        drawn = (shares.cumsum(axis=1) < draws[rows, None]).sum(axis=1).clip(max=own.shape[1] - 1)
        place = np.arange(len(rows))
        earned[rows] = own[place, drawn]
        taught.append(Lessons(batch, place, drawn, own[place, drawn], shares[place, drawn]))
    return earned


def changed(rewards: Matrix) -> Matrix:
    """The best and the worst teacher change places halfway."""
    means = np.nanmean(rewards, axis=0)
    pair = [int(means.argmax()), int(means.argmin())]
    found = rewards.copy()
    half = len(found) // 2
    found[half:, pair] = found[half:, pair[::-1]]
    return found


def one_seed(log: RewardLog, seed: int, given: Any) -> dict[str, Matrix]:
    """stream -> the reward of each prompt in this seed's order; "oracle" among them."""
    random = np.random.default_rng(seed)
    order, draws = random.permutation(len(log)), random.random(len(log))
    mine = log.part(order)
    rewards = changed(mine.rewards) if given.change else mine.rewards
    streams: dict[str, dict[str, Any]] = {
        "uniform": {"explore": 1.0, "algorithm": "exp3"},
        "exp3": {"algorithm": "exp3"},
        "bandit": {},
    }
    if given.explore is not None:
        streams[f"bandit, explore {given.explore:g}"] = {"explore": given.explore}
    if given.change:
        streams[f"bandit, discount {DISCOUNT}"] = {"discount": DISCOUNT}
    found = {
        name: streamed(mine, rewards, draws, params, given.shard)
        for name, params in streams.items()
    }
    if not given.change:
        fitted = cross_validated(mine, tuple(dict.fromkeys(("fixed", *given.fitted))), seed=seed)
        found |= {f"{name}, afterwards": fitted.earned[name] for name in given.fitted}
    return found | {"oracle": np.nanmax(rewards, axis=1)}


def rows_of(board: str, seeds: list[dict[str, Matrix]]) -> list[dict[str, Any]]:
    return [row_of(board, name, seeds) for name in seeds[0]]


def row_of(board: str, name: str, seeds: list[dict[str, Matrix]]) -> dict[str, Any]:
    def shown(what: Callable[[dict[str, Matrix]], Matrix]) -> str:
        return measured.over_draws(np.array([what(seed).mean() for seed in seeds]), "{:.4f}")

    last = -(len(seeds[0]["oracle"]) // 4)
    return {
        "board": board,
        "stream": name,
        "mean reward": shown(lambda seed: seed[name]),
        "last quarter": shown(lambda seed: seed[name][last:]),
        "regret a prompt": shown(lambda seed: seed["oracle"] - seed[name]),
        "less exp3": shown(lambda seed: seed[name] - seed["exp3"]),
    }


def plot(path: Path, board: str, seeds: list[dict[str, Matrix]]) -> None:
    """Cumulative regret against prompts, the mean over seeds, as SVG."""
    at = np.linspace(0, len(seeds[0]["oracle"]) - 1, 120).astype(int)
    drawn = []
    for place, name in enumerate(one for one in seeds[0] if one != "oracle"):
        curve = np.mean([np.cumsum(seed["oracle"] - seed[name]) for seed in seeds], axis=0)
        drawn.append(lines.Line(name, lines.COLOURS[place], at.tolist(), curve[at].tolist()))
    title = f"Regret to the oracle on {board}, added up (mean of {len(seeds)} seeds)"
    lines.draw(path, [lines.Panel(title, "prompts", "{:.0f}", drawn)])


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    options.add_argument(
        "--board", action="append", choices=routing.BOARDS, help="lcb by default; repeatable"
    )
    options.add_argument("--seeds", type=int, default=5, metavar="N")
    options.add_argument("--shard", type=int, default=100, metavar="PROMPTS")
    options.add_argument("--fitted", nargs="*", default=["fixed"], metavar="ROUTER")
    options.add_argument("--change", action="store_true", help="teachers change places halfway")
    options.add_argument("--explore", type=float, metavar="SHARE", help="and a bandit with this")
    options.add_argument("--plot", type=Path, metavar="FILE", help="SVG of the last board")
    given = options.parse_args()
    where = measured.machine()
    rows: list[dict[str, Any]] = []
    for name in given.board or ["lcb"]:
        log = routing.BOARDS[name](given.data)
        if given.quick:
            log = log.part(np.arange(0, len(log), 10))
        seeds = [one_seed(log, seed, given) for seed in range(2 if given.quick else given.seeds)]
        rows += rows_of(name, seeds)
        if given.plot:
            plot(given.plot, name, seeds)
    measured.show(where, rows, {}, as_json=given.json)


if __name__ == "__main__":
    main()
