"""Routing a shard: a router's probabilities, checked, masked and drawn from. Seeded by prompt."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage import keys
from arbitrage.config import RunConfig
from arbitrage.errors import RouterError
from arbitrage.registry import params_hash
from arbitrage.registry import routers as registry
from arbitrage.routers.base import PromptBatch, Router
from arbitrage.routers.learning import LearningRouter, State
from arbitrage.routers.sampling import (
    Matrix,
    inclusion_probabilities,
    row_keys,
    systematic_sample,
)
from arbitrage.schema import GRAVEYARD, ROUTES, asked_texts, conform

# How far a router's row may be from summing to 1: float32 rounding over many teachers.
TOLERANCE = 1e-5
NO_TEACHER = "route.no_teacher"

_built: dict[tuple[type[Router], str, tuple[str, ...]], Router] = {}
_building = threading.Lock()


@dataclass(frozen=True, slots=True)
class RoutedShard:
    """Every prompt of a shard, in one of two tables.

    Attributes:
        routes: ROUTES rows, in the order of the prompts.
        unroutable: GRAVEYARD rows (kind "prompt", stage "route", reason "route.no_teacher").
        unknown: language that the router was never told of -> whose estimate stood in.
    """

    routes: pa.Table
    unroutable: pa.Table
    unknown: Mapping[str, str] = field(default_factory=dict)


def route(prompts: pa.Table, config: RunConfig, state: State | None = None) -> RoutedShard:
    """Route every prompt: probabilities over the pool, and the teachers drawn from them.

    A teacher whose `languages` leave out the prompt's is masked and the rest renormalised. Where
    nothing is left, the fallback answers, if it may, else the prompt is unroutable.
    `propensities` are the inclusion probabilities of the drawn teachers; with one teacher per
    prompt, the masked probabilities themselves. A draw depends on the run's seed and the prompt's
    id only, so shards may be cut and ordered anyhow.

    Args:
        prompts: PROMPTS rows.
        state: what a router that learns while the run goes on has learned; none yet, by default.

    Raises RouterError where the router breaks its contract.
    """
    batch = prompt_batch(prompts)
    identity = registry.get(config.router.kind).identity
    shares = masked_probabilities(batch, config, state)
    routable = shares.any(axis=1)
    places = np.flatnonzero(routable).tolist()
    ids = [batch.prompt_ids[place] for place in places]
    inclusion, drawn = _draw(shares[places], ids, config)
    routes = _routes(
        prompts.filter(pa.array(routable)),
        config,
        shares=shares[places],
        inclusion=inclusion,
        drawn=drawn,
    )
    unroutable = _unroutable(prompts.filter(pa.array(~routable)), identity)
    unknown = built_router(config).unknown(set(batch.languages))
    return RoutedShard(routes, unroutable, unknown)


def masked_probabilities(
    batch: PromptBatch, config: RunConfig, state: State | None = None
) -> Matrix:
    """float64 [n, teachers]: the router's probabilities after language masks and the fallback;
    rows sum to 1, or are all 0 where nobody may answer."""
    router = built_router(config)
    if isinstance(router, LearningRouter) and state is not None:
        router = router.after(state)
    identity = registry.get(config.router.kind).identity
    return _masked(checked_probabilities(router, batch, identity), batch.languages, config)


def prompt_batch(prompts: pa.Table) -> PromptBatch:
    """PROMPTS rows as what a router sees: the text is the last user turn's, "" without one."""
    return PromptBatch(
        prompt_ids=prompts.column("prompt_id").to_pylist(),
        texts=asked_texts(prompts.column("messages")),
        languages=prompts.column("language").to_pylist(),
        tasks=prompts.column("task").to_pylist(),
    )


def built_router(config: RunConfig) -> Router:
    """The router of this process for this config, built on first use and shared by all threads."""
    plugin = cast("type[Router]", registry.get(config.router.kind).plugin)
    teachers = tuple(teacher.name for teacher in config.teachers)
    key = (plugin, params_hash(config.router.params), teachers)
    with _building:
        if key not in _built:
            _built[key] = plugin(config.router.params, teachers)
        return _built[key]


def checked_probabilities(router: Router, batch: PromptBatch, identity: str) -> Matrix:
    """A router's probabilities as float64 [n, teachers], each row summing to 1 or all 0.

    Raises RouterError for a wrong shape or type, a negative or infinite value, or another sum.
    """
    shares = np.asarray(router.probabilities(batch))
    wanted = (len(batch), len(router.teachers))
    if shares.shape != wanted or shares.dtype.kind != "f":
        raise RouterError(
            f"the router {identity} gave {shares.dtype} of shape {shares.shape}.",
            mend=f"Return float32 of shape {wanted}: a row a prompt, a column a teacher.",
        )
    exact: Matrix = shares.astype(np.float64)
    wrong = ~np.isfinite(exact).all(axis=1) | (exact < 0).any(axis=1)
    totals = np.where(wrong, np.nan, exact.sum(axis=1))
    wrong |= (totals != 0) & ~(np.abs(totals - 1) <= TOLERANCE)
    if wrong.any():
        row = int(wrong.argmax())
        raise RouterError(
            f'the router {identity} gave prompt "{batch.prompt_ids[row]}" the probabilities '
            f"{exact[row].tolist()}.",
            mend="Return finite rows that sum to 1, or all 0 where no teacher will do.",
        )
    return exact


def admits(languages: Sequence[str] | None, tag: str) -> bool:
    """Whether a teacher with these `languages` may answer in `tag`: all if None, else a listed tag
    or one below it.

    >>> admits(["zh"], "zh-Hant"), admits(["zh-Hant"], "zh"), admits(["zh"], "zha")
    (True, False, False)
    """
    if languages is None:
        return True
    return any(tag == known or tag.startswith(f"{known}-") for known in languages)


def _masked(shares: Matrix, languages: Sequence[str], config: RunConfig) -> Matrix:
    """Probabilities after language masks and the fallback; rows sum to 1, or are all 0."""
    tags = sorted(set(languages))
    columns = range(len(config.teachers))
    admitted = np.zeros((len(tags), len(columns)), dtype=np.bool_)
    for place, tag in enumerate(tags):
        admitted[place] = [admits(teacher.languages, tag) for teacher in config.teachers]
    lookup = {tag: place for place, tag in enumerate(tags)}
    open_to = admitted[np.array([lookup[tag] for tag in languages], dtype=np.intp)]
    shares = np.where(open_to, shares, 0.0)
    totals = shares.sum(axis=1, keepdims=True)
    if config.router.fallback is not None:
        names = [teacher.name for teacher in config.teachers]
        column = names.index(config.router.fallback)
        stranded = (totals[:, 0] == 0) & open_to[:, column]
        shares[stranded, column] = totals[stranded, 0] = 1.0
    masked: Matrix = np.divide(shares, totals, out=np.zeros_like(shares), where=totals > 0)
    return masked


def _draw(
    shares: Matrix, ids: Sequence[str], config: RunConfig
) -> tuple[Matrix, NDArray[np.bool_]]:
    """Inclusion probabilities and one draw a row."""
    seed = config.run.seed
    start = np.array([keys.unit_interval(seed, "route", key) for key in ids], dtype=np.float64)
    inclusion = inclusion_probabilities(shares, config.router.teachers_per_prompt)
    seeds = [int(keys.unit_interval(seed, "route.order", key) * 2**52) for key in ids]
    order = row_keys(np.array(seeds, dtype=np.uint64), shares.shape[1])
    return inclusion, systematic_sample(inclusion, start, order)


def _routes(
    prompts: pa.Table,
    config: RunConfig,
    *,
    shares: Matrix,
    inclusion: Matrix,
    drawn: NDArray[np.bool_],
) -> pa.Table:
    count, teachers = prompts.num_rows, [teacher.name for teacher in config.teachers]
    names = pa.array(teachers, pa.string())
    every = np.tile(np.arange(len(teachers)), count)
    row, column = np.nonzero(drawn)
    all_ends = np.arange(count + 1, dtype=np.int32) * len(teachers)
    drawn_ends = np.concatenate([[0], np.cumsum(drawn.sum(axis=1))]).astype(np.int32)
    columns = {
        "prompt_id": prompts.column("prompt_id"),
        "language": prompts.column("language"),
        "router": pa.repeat(registry.get(config.router.kind).identity, count),
        "teachers": _lists(all_ends, names.take(pa.array(every))),
        "probabilities": _lists(all_ends, pa.array(shares.ravel().astype(np.float32))),
        "drawn": _lists(drawn_ends, names.take(pa.array(column))),
        "propensities": _lists(drawn_ends, pa.array(inclusion[row, column].astype(np.float32))),
        "samples": pa.repeat(pa.scalar(config.run.samples, pa.int16()), count),
    }
    return conform(pa.table(columns), ROUTES)


def _unroutable(prompts: pa.Table, identity: str) -> pa.Table:
    detail = [
        f'{identity} and the fallback give no teacher that may answer in "{tag}"'
        for tag in prompts.column("language").to_pylist()
    ]
    reasons = pa.array([[NO_TEACHER]] * prompts.num_rows, pa.list_(pa.string()))
    columns = {
        "kind": pa.repeat("prompt", prompts.num_rows),
        "prompt_id": prompts.column("prompt_id"),
        "language": prompts.column("language"),
        "stage": pa.repeat("route", prompts.num_rows),
        "reasons": reasons,
        "detail": pa.array(detail, pa.string()),
    }
    return conform(pa.table(columns), GRAVEYARD)


def _lists(ends: NDArray[np.int32], values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(ends), values)
