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

from pathlib import Path
from typing import Any

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
# Student's t at 97.5 % by degrees of freedom.
STUDENT = (np.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
COLOURS = ("#888888", "#c0392b", "#1f6fb2", "#2e8b57", "#8e44ad")


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


def interval(values: list[float]) -> str:
    """Mean and half the width of its 95 % interval over seeds."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan
    return f"{np.mean(values):.4f} ± {STUDENT[min(len(values), 10) - 1] * error:.4f}"


def rows_of(board: str, seeds: list[dict[str, Matrix]]) -> list[dict[str, Any]]:
    last = -(len(seeds[0]["oracle"]) // 4)
    return [
        {
            "board": board,
            "stream": name,
            "mean reward": interval([float(seed[name].mean()) for seed in seeds]),
            "last quarter": interval([float(seed[name][last:].mean()) for seed in seeds]),
            "regret a prompt": interval(
                [float((seed["oracle"] - seed[name]).mean()) for seed in seeds]
            ),
            "less exp3": interval([float((seed[name] - seed["exp3"]).mean()) for seed in seeds]),
        }
        for name in seeds[0]
    ]


def plot(path: Path, board: str, seeds: list[dict[str, Matrix]]) -> None:
    """Cumulative regret against prompts, the mean over seeds, as SVG."""
    names = [name for name in seeds[0] if name != "oracle"]
    count = len(seeds[0]["oracle"])
    curves = {
        name: np.mean([np.cumsum(seed["oracle"] - seed[name]) for seed in seeds], axis=0)
        for name in names
    }
    top = max(float(curve[-1]) for curve in curves.values())
    left, upper, width, height = 60, 30, 460, 270
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 350" font-family="sans-serif" '
        'font-size="12"><rect width="720" height="350" fill="white"/>',
        f'<path d="M{left} {upper}V{upper + height}H{left + width}" fill="none" stroke="black"/>',
        f'<text x="{left}" y="18">Regret to the oracle on {board}, added up '
        f"(mean of {len(seeds)} seeds)</text>",
        f'<text x="{left + width / 2}" y="{upper + height + 36}" '
        'text-anchor="middle">prompts</text>',
    ]
    for step in range(5):
        x, y = left + width * step / 4, upper + height * (1 - step / 4)
        parts.append(
            f'<text x="{x}" y="{upper + height + 18}" text-anchor="middle">'
            f"{count * step // 4:,}</text>"
            f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{top * step / 4:.0f}</text>'
        )
    for colour, name in zip(COLOURS, names, strict=False):
        at = np.linspace(0, count - 1, 120).astype(int)
        line = " ".join(
            f"{left + width * x / count:.1f},{upper + height * (1 - curves[name][x] / top):.1f}"
            for x in at
        )
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    ends = sorted(names, key=lambda name: -curves[name][-1])
    y = 0.0
    for name in ends:
        y = max(y + 16, upper + height * (1 - curves[name][-1] / top) + 4)
        colour = COLOURS[names.index(name)]
        parts.append(f'<text x="{left + width + 8}" y="{y:.1f}" fill="{colour}">{name}</text>')
    path.write_text("\n".join([*parts, "</svg>\n"]), encoding="utf-8")


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
