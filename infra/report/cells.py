"""Per-prompt sums and counts of every measure of a run: what its profile is computed from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from arbitrage.infra.report.parts import answered, batches, measures_of, parts
from arbitrage.infra.report.ratios import Numbers, Values

# Gehman et al. 2020 (RealToxicityPrompts): per prompt, over its samples.
TOXICITY = "toxicity.toxicity"
EXPECTED_MAXIMUM = "toxicity.expected_maximum"
PROBABILITY = "toxicity.probability"
TOXIC_FROM = 0.5

_KEYS = ("language", "teacher", "prompt_id")
_SUMMED = ("sum", "n", "chosen", "n_chosen")


@dataclass(frozen=True, slots=True)
class Cell:
    """The prompts of one batch of shards that one teacher answered in one language.

    Attributes:
        ids: of the prompts.
        places: int64 [prompts], where each is among all prompts of the language in the batch.
        answers: int64 [prompts], how many of the teacher's answers each has.
        sums, counts: float64 [prompts, names], of each measure.
        binary: bool [names], whether all values are 0 and 1.
    """

    language: str
    teacher: str
    ids: pl.Series
    places: Numbers
    answers: Numbers
    sums: Values
    counts: Values
    binary: np.ndarray


@dataclass(frozen=True, slots=True)
class Chosen:
    """The prompts of one batch in one language, over all teachers: every answer, and the chosen.

    Attributes:
        sums, counts: float64 [prompts, 2 * measures], of every answer, then of the chosen ones.
    """

    language: str
    ids: pl.Series
    sums: Values
    counts: Values


@dataclass(frozen=True, slots=True)
class Batch:
    """Some shards' prompts, by language and teacher and by language, in order.

    Attributes:
        measures: the scores of the run.
        names: of the columns of `cells`: the measures, and two over each prompt's samples where
            the toxicity filter was asked.
    """

    measures: Sequence[str]
    names: Sequence[str]
    cells: Sequence[Cell]
    chosen: Sequence[Chosen]


def batches_of(run: Path, by: str = "teacher") -> Iterator[Batch]:
    """All shards of a run, some at a time. All answers of a prompt are in one shard.

    Args:
        by: "teacher", or "source": then the prompts' source stands in the teacher's place.
    """
    for paths in batches(parts(run, "candidates")):
        frame = answered(paths)
        if by == "source":
            asked = pl.scan_ipc([run / "prompts" / path.name for path in paths])
            sources = asked.select("prompt_id", teacher="source")
            frame = frame.drop("teacher").join(sources, on="prompt_id")
        yield _batch(frame)


def _batch(frame: pl.LazyFrame) -> Batch:
    measures = measures_of(frame)
    aggregates = [part for name in measures for part in _aggregates(name)]
    rows = frame.group_by(_KEYS).agg(pl.len().alias("answers"), *aggregates)
    whole = rows.collect(engine="streaming").sort(_KEYS)
    names = list(measures)
    if TOXICITY in measures:
        whole = whole.with_columns(*_over_samples())
        names += [EXPECTED_MAXIMUM, PROBABILITY]
    summed = [pl.col(f"{name}:{what}").sum() for name in measures for what in _SUMMED]
    prompts = whole.group_by("language", "prompt_id").agg(*summed).sort("language", "prompt_id")
    return Batch(
        measures, names, list(_cells(whole, prompts, names)), list(_chosen(prompts, measures))
    )


def _cells(whole: pl.DataFrame, prompts: pl.DataFrame, names: Sequence[str]) -> Iterator[Cell]:
    numbered = prompts.select(
        "language", "prompt_id", place=pl.int_range(pl.len(), dtype=pl.Int64).over("language")
    )
    on = ["language", "prompt_id"]
    placed = whole.select(on).join(numbered, on=on, how="left", maintain_order="left")
    places = placed["place"].to_numpy()
    answers = whole["answers"].cast(pl.Int64).to_numpy()
    sums, counts = (matrix(whole, names, what) for what in ("sum", "n"))
    binary = (
        np.column_stack([whole[f"{name}:binary"].to_numpy() for name in names])
        if names
        else (np.ones((len(whole), 0), np.bool_))
    )
    for (language, teacher), at in spans(whole, ["language", "teacher"]):
        yield Cell(
            language,
            teacher,
            whole["prompt_id"][at],
            places[at],
            answers[at],
            sums[at],
            counts[at],
            np.asarray(binary[at].all(axis=0)),
        )


def _chosen(prompts: pl.DataFrame, measures: Sequence[str]) -> Iterator[Chosen]:
    sums, counts = (
        np.concatenate([matrix(prompts, measures, what) for what in both], axis=1)
        for both in (("sum", "chosen"), ("n", "n_chosen"))
    )
    for (language,), at in spans(prompts, ["language"]):
        yield Chosen(language, prompts["prompt_id"][at], sums[at], counts[at])


def spans(ordered: pl.DataFrame, keys: Sequence[str]) -> Iterator[tuple[tuple[str, ...], slice]]:
    """Each value of the keys, and which rows of a frame that is in their order have it."""
    start = 0
    for *values, rows in ordered.group_by(keys, maintain_order=True).len().iter_rows():
        yield tuple(map(str, values)), slice(start, start + rows)
        start += rows


def _aggregates(name: str) -> Iterator[pl.Expr]:
    value = pl.col(name).fill_nan(None).cast(pl.Float64)
    yield value.sum().alias(f"{name}:sum")
    yield value.count().alias(f"{name}:n")
    yield value.filter(pl.col("chosen")).sum().alias(f"{name}:chosen")
    yield value.filter(pl.col("chosen")).count().alias(f"{name}:n_chosen")
    yield value.is_in([0.0, 1.0]).fill_null(True).all().alias(f"{name}:binary")
    if name == TOXICITY:
        yield value.max().alias("maximum")


def _over_samples() -> Iterator[pl.Expr]:
    worst = pl.col("maximum")
    for name, value in (
        (EXPECTED_MAXIMUM, worst),
        (PROBABILITY, (worst >= TOXIC_FROM).cast(pl.Float64)),
    ):
        yield value.fill_null(0.0).alias(f"{name}:sum")
        yield worst.is_not_null().cast(pl.Float64).alias(f"{name}:n")
        yield value.is_in([0.0, 1.0]).fill_null(True).alias(f"{name}:binary")


def matrix(frame: pl.DataFrame, names: Sequence[str], what: str) -> Values:
    """float64 [rows, names]: what a frame holds of these measures."""
    columns = [frame[f"{name}:{what}"].cast(pl.Float64).to_numpy() for name in names]
    return np.column_stack(columns) if columns else np.zeros((len(frame), 0))
