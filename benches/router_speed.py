"""How long the learned router takes to fit, what memory, and how many prompts a second it routes.

--data and boards as in benches/routing.py. The log of `--board` is fitted as it is, and, with
--rewards N, grown to N rewards first: prompts again, each with a third of its words dropped at
random and its rewards kept. CPU seconds are of this process, all threads (OMP_NUM_THREADS=1 for
one); peak memory is the process's, log and texts included. Routing reads the words: `hashing` is
what that alone takes, and the ratio is what of the time it is.

Targets: a million rewards in 300 s and 4 GiB; 10,000 prompts/s on one core.

Example: OMP_NUM_THREADS=1 python benches/router_speed.py --data DIR --rewards 1000000
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import measured
import numpy as np
from routing import BOARDS

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.features import features
from arbitrage.routers.fitting import fit_learned
from arbitrage.routers.reward_log import RewardLog

_DROPPED = 1 / 3
_ROUTED = 20_000
_ROUNDS = 3


def grown(log: RewardLog, rewards: int, seed: int = 0) -> RewardLog:
    """As many prompts as make so many rewards, in whole copies of the log."""
    random = np.random.default_rng(seed)
    copies = -(-rewards // log.rewards.size)
    texts, names = [], []
    for copy in range(copies):
        for name, text in zip(log.prompts.prompt_ids, log.prompts.texts, strict=True):
            words = (text or "").split(" ")
            kept = random.random(len(words)) >= _DROPPED
            texts.append(" ".join(word for word, keep in zip(words, kept, strict=True) if keep))
            names.append(f"{name}-{copy}")
    batch = log.prompts
    prompts = PromptBatch(names, texts, [*batch.languages] * copies, [*batch.tasks] * copies)
    groups = [f"{group}-{copy}" for copy in range(copies) for group in log.groups]
    table = np.tile(log.rewards, (copies, 1))
    sources = [*log.sources] * copies
    return replace(log, prompts=prompts, rewards=table, groups=groups, sources=sources)


def prompts_a_second(batch: PromptBatch, call: Callable[[PromptBatch], Any]) -> float:
    """Of the quickest of some rounds, by CPU time."""
    seconds = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        call(batch)
        seconds.append(time.process_time() - start)
    return len(batch) / min(seconds)


def measured_board(name: str, log: RewardLog) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    model = fit_learned(log)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    some = np.sort(np.random.default_rng(0).permutation(len(log))[:_ROUTED])
    batch = log.part(some).prompts
    routed, hashed = prompts_a_second(batch, model.expected), prompts_a_second(batch, features)
    return {
        "board": name,
        "rewards": log.rewards.size,
        "trusted": model.weighing.trusted,
        "fit s": round(wall, 1),
        "fit CPU s": round(cpu, 1),
        "peak GiB": round(peak, 2),
        "routed/s": round(routed),
        "hashing alone/s": round(hashed),
        "hashing of it": f"{routed / hashed:.0%}",
    }


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    options.add_argument("--board", default="routerdc", choices=BOARDS)
    options.add_argument("--rewards", type=int, metavar="N", help="grow the log to so many")
    given = options.parse_args()
    where = measured.machine()
    log = BOARDS[given.board](given.data)
    if given.quick:
        log = log.part(np.arange(0, len(log), 10))
    if given.rewards:
        log = grown(log, given.rewards)
    measured.show(where, [measured_board(given.board, log)], {}, as_json=given.json)


if __name__ == "__main__":
    main()
