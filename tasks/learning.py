"""What finished shards teach the router of later ones, a function of the shards in their order."""

from __future__ import annotations

import threading
from typing import cast

import numpy as np
import pyarrow as pa

from arbitrage.config import RunConfig
from arbitrage.config.coherence import objective_measures
from arbitrage.errors import ConfigError, DamagedRunError
from arbitrage.filters.scoring import matched_measures
from arbitrage.filters.selection import objective_values
from arbitrage.filters.trust import may_teach
from arbitrage.infra.generation.waves import waves
from arbitrage.infra.store import layout
from arbitrage.infra.store.run import Run
from arbitrage.routers.bandit import BanditParams
from arbitrage.routers.drawing import built_router, prompt_batch
from arbitrage.routers.learning import LearningRouter, Lessons, State, state_bytes, state_of

_learning = threading.Lock()


def shards_at_once(config: RunConfig) -> int:
    """How many shards may be worked on at the same time: `run.workers`, and at most the router's
    lag, so that what a shard is routed by is always there when its turn comes."""
    lag: int | None = getattr(config.router.params, "lag", None)
    return config.run.workers if lag is None else min(config.run.workers, lag)


def check_learning(config: RunConfig) -> None:
    """ConfigError where the router learns from rewards that are not there in time."""
    reward: str | None = getattr(config.router.params, "reward", None)
    if reward is None:
        return
    late = set(objective_measures(reward)).intersection(matched_measures(config))
    if late:
        raise ConfigError(
            f'the router learns from "{late.pop()}", which is known only once the whole run is.',
            mend="Set router.reward to a measure of single candidates.",
        )
    in_turns = waves(config.teachers)
    if len(in_turns) > 1:
        names = ", ".join(name for wave in in_turns for name in wave.exclusive)
        raise ConfigError(
            f"the router learns from finished shards, and no shard is finished before all are "
            f"routed: {names} take turns on one device.",
            mend="Give each a server or device of its own, or choose another router.kind.",
        )


def learned_before(run: Run, shard: int) -> State | None:
    """What the router of this shard has learned: None for a router that does not learn.

    The state after shard `shard` - lag, from the latest one kept, shard after shard. Depends on
    scored shards alone, so it is the same after any interruption.

    Raises DamagedRunError where one of them is not scored.
    """
    router = built_router(run.config)
    if not isinstance(router, LearningRouter):
        return None
    last = shard - router.params.lag
    with _learning:
        done, state = _latest(run, last)
        for one in range(done + 1, last + 1):
            state = router.learned(state, lessons_of(run, one))
            run.commit_learned(one, state_bytes(state))
        # Shards still to be routed are at most `lag` behind this one.
        run.forget_learned(last - router.params.lag)
    return state


def _latest(run: Run, last: int) -> tuple[int, State]:
    """The latest state kept that is not after shard `last`, and after which shard it is."""
    kept = [int(name.rsplit("/", 1)[1].split(".")[0]) for name in run.folder.names(layout.LEARNED)]
    done = max((shard for shard in kept if shard <= last), default=-1)
    data = run.learned(done) if done >= 0 else None
    return (-1, {}) if data is None else (done, state_of(data, f"{layout.LEARNED}/{done:05d}.npz"))


def lessons_of(run: Run, shard: int) -> Lessons:
    """What a scored shard teaches: the mean reward of each prompt and teacher drawn."""
    if not run.is_scored(shard):
        raise DamagedRunError(
            f"shard {shard} is not scored, and a later one is to be routed by its rewards.",
            mend="Run the same command again: shards are completed in their order.",
        )
    return lessons_from(run.prompts(shard), run.scored(shard), run.config)


def lessons_from(prompts: pa.Table, scored: pa.Table, config: RunConfig) -> Lessons:
    """PROMPTS rows and their scored candidates as lessons for the config's router.

    Answers that failed or have no score count with `null_reward`; without one they are left out.
    """
    params = cast("BanditParams", config.router.params)
    rewards = objective_values(scored, params.reward)
    if params.null_reward is not None:
        sign = -1.0 if params.reward.startswith("minimize:") else 1.0
        rewards = np.where(np.isnan(rewards), sign * params.null_reward, rewards)
    known = np.isfinite(rewards) & may_teach(scored, config, params.reward)
    batch = prompt_batch(prompts)
    names = {teacher.name: place for place, teacher in enumerate(config.teachers)}
    places = {key: place for place, key in enumerate(batch.prompt_ids)}
    row = np.array([places[key] for key in scored["prompt_id"].to_pylist()], dtype=np.int64)
    column = np.array([names[name] for name in scored["teacher"].to_pylist()], dtype=np.int64)
    shares = scored["route_probability"].to_numpy().astype(np.float64)
    pairs, first, place = np.unique(
        row[known] * len(names) + column[known], return_index=True, return_inverse=True
    )
    mean = np.bincount(place, weights=rewards[known]) / np.maximum(np.bincount(place), 1)
    return Lessons(batch, pairs // len(names), pairs % len(names), mean, shares[known][first])
