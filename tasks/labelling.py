"""What a calibration asks: the config of its runs, and which prompts all teachers answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.config import CalibrateConfig, RunConfig, parse_config
from arbitrage.errors import ConfigError, RouterError, unknown_name
from arbitrage.keys import hash_of
from arbitrage.routers.choosing import choose, disagreement
from arbitrage.routers.drawing import prompt_batch
from arbitrage.routers.fit import KINDS
from arbitrage.routers.promotion import model_in
from arbitrage.routers.reward_log import RewardLog

_BUDGETS = {"budget_usd": "usd", "budget_requests": "requests", "budget_tokens": "tokens"}


def settled(config: RunConfig) -> CalibrateConfig:
    """[calibrate] with its defaults taken from the rest of the config.

    Raises ConfigError for what would else be found out after every answer is paid for: no reward,
    no place for the artefact, one teacher, a kind that is not fitted or that [router] cannot read.
    """
    given = config.calibrate or CalibrateConfig()
    reward = given.reward if given.reward is not None else config.select.objective
    if reward is None:
        raise ConfigError(
            "nothing says what a good answer is: there is neither calibrate.reward nor "
            "select.objective.",
            mend='Set for example calibrate.reward = "maximize:language_id.match".',
        )
    if len(config.teachers) < 2:
        raise ConfigError(
            f"there is one teacher, {config.teachers[0].name}: nothing to choose between.",
            mend="Add [[teachers]].",
        )
    routed = config.router.kind if config.router.kind in KINDS else None
    kind = given.kind or routed or "learned"
    if kind not in KINDS:
        raise unknown_name("kind of router that is fitted", kind, KINDS, mend="Fix calibrate.kind.")
    own: str | None = getattr(config.router.params, "artefact", None)
    artefact = given.artefact or own
    if artefact is None:
        raise ConfigError(
            "nothing says which artefact is in use, or where the first one goes.",
            mend='Set calibrate.artefact = "router", and router.artefact once there is one.',
        )
    if "://" in artefact:
        raise ConfigError(
            f'the artefact in use, "{artefact}", would be replaced by renaming, which an object '
            "store cannot.",
            mend='Set calibrate.artefact = "router" and copy that folder to the store afterwards.',
        )
    if own is not None and Path(artefact) == Path(own) and kind != config.router.kind:
        raise ConfigError(
            f'calibrate.kind = "{kind}" would replace the artefact that router.kind = '
            f'"{config.router.kind}" reads.',
            mend="Name the same kind, or another calibrate.artefact.",
        )
    return given.model_copy(update={"reward": reward, "kind": kind, "artefact": artefact})


def check_in_use(config: RunConfig) -> None:
    """RouterError where the artefact in use is damaged or knows no teacher of the pool."""
    place = Path(str(settled(config).artefact))
    found = model_in(place)
    names = [teacher.name for teacher in config.teachers]
    if found is not None and not set(names) & set(found[0].teachers):
        raise RouterError(
            f'the artefact in use, "{place}", was fitted for another pool: '
            f"{', '.join(found[0].teachers)}. This run has {', '.join(names)}.",
            mend="Name another folder in calibrate.artefact.",
        )


def calibration_identity(config: RunConfig) -> str:
    """Hash of what a calibration asks and how it judges; the artefact in use is not part of it."""
    own = settled(config).model_dump(mode="json")
    return hash_of([_asking(config, config.resolved()["prompts"]).identity, own])


def labelling_config(
    config: RunConfig, folder: Path, part: str, used: dict[str, float] | None = None
) -> RunConfig | None:
    """The run that has all teachers answer the prompts of one part; None where no budget is left.

    Args:
        used: of the budget, by the runs before.
    """
    prompts = {
        "source": str(folder / f"{part}.parquet"),
        "messages": "column:messages",
        "id": "column:prompt_id",
        "language": "column:language",
        "max_characters": config.prompts.max_characters,
    }
    left: dict[str, Any] = {"output": str(folder), "name": part}
    for key, kind in _BUDGETS.items():
        limit = getattr(config.run, key)
        if limit is not None and used is not None:
            left[key] = limit - used[kind]
            if left[key] <= 0:
                return None
    return _asking(config, prompts, left)


def _asking(
    config: RunConfig, prompts: dict[str, Any], run: dict[str, Any] | None = None
) -> RunConfig:
    data = config.resolved()
    data.pop("calibrate", None)
    data["run"] |= run or {}
    # Nothing is limited, chosen or viewed: what is wanted is every answer and its scores.
    data |= {"prompts": prompts, "views": {}, "select": {}}
    data["router"] = {"kind": "uniform", "teachers_per_prompt": len(config.teachers)}
    # Everybody is asked already: a dead teacher's share is no one else's.
    data["router"]["reroute"] = False
    return parse_config(data)


def costs_of(config: RunConfig) -> dict[str, float] | None:
    """Teacher -> USD of a million tokens in and a million out; None unless all have a price, since
    a teacher without one would look as if it cost nothing."""
    prices = {teacher.name: teacher.price for teacher in config.teachers}
    known = {name: price.input + price.output for name, price in prices.items() if price}
    return known if len(known) == len(prices) else None


def identities_of(config: RunConfig) -> dict[str, tuple[str, str | None]]:
    """Teacher -> (model, precision), of those that name a model or a precision."""
    named = [t for t in config.teachers if t.model is not None or t.precision is not None]
    return {teacher.name: (teacher.model or teacher.name, teacher.precision) for teacher in named}


def first_choice(pool: pa.Table, asked: CalibrateConfig, seed: int) -> pa.Table:
    """The prompts drawn at random, even over languages."""
    count = min(asked.prompts, max(2, round(asked.random_share * asked.prompts)))
    return _taken(pool, None, count, asked.per_language, seed)


def second_choice(pool: pa.Table, log: RewardLog, asked: CalibrateConfig, seed: int) -> pa.Table:
    """The prompts chosen after that, leaning towards those over which teachers should disagree.

    What is expected of them is said by a first fit on the rewards of those drawn at random.
    """
    first = first_choice(pool, asked, seed)["prompt_id"].to_pylist()
    if len(first) in (asked.prompts, pool.num_rows):
        return pool.slice(0, 0)
    batch = prompt_batch(pool)
    expected = KINDS[str(asked.kind)](log, seed=seed).expected(batch)
    return _taken(
        pool,
        disagreement(expected),
        asked.prompts - len(first),
        asked.per_language,
        seed + 1,
        labelled=first,
    )


def _taken(
    pool: pa.Table,
    spread: NDArray[np.float64] | None,
    count: int,
    most: int | None,
    seed: int,
    *,
    labelled: list[str] | None = None,
) -> pa.Table:
    tags = pool["language"].to_pylist()
    done = np.isin(np.array(pool["prompt_id"].to_pylist(), dtype=object), labelled or [])
    places = choose(tags, spread, count, seed=seed, labelled=done)
    names = np.array(tags, dtype=object)
    if most is not None:
        capped = []
        for tag in sorted(set(tags)):
            mine = np.flatnonzero(names == tag)
            room = max(0, most - int(done[mine].sum()))
            if int((names[places] == tag).sum()) > room:
                own = None if spread is None else spread[mine]
                chosen = choose([tag] * len(mine), own, room, seed=seed, labelled=done[mine])
                capped.append(mine[chosen])
            else:
                capped.append(places[names[places] == tag])
        places = np.sort(np.concatenate([np.zeros(0, np.intp), *capped]))
    return pool.take(pa.array(places))
