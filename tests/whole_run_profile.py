"""The figures of a run's profile and scores with every prompt of it in memory at once, as they were
reckoned before runs outgrew it: what `arbitrage.infra.report` has to come to shard by shard."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from arbitrage.infra.report.confusion import LINES, WORDS
from arbitrage.infra.report.separation import FEWEST_PROMPTS, student
from arbitrage.intervals import (
    BOOTSTRAPPED,
    bootstrap_means,
    linear_errors,
    normal_interval,
    percentile_interval,
    wilson_interval,
)

Figures = dict[tuple[str, ...], tuple[float | None, ...]]
_BINS = 32


def answered(run: Path) -> pl.DataFrame:
    paths = sorted((run / "candidates").glob("part-*.arrow"))
    frame = pl.concat([pl.read_ipc(path) for path in paths])
    return frame.filter(pl.col("error").is_null(), pl.col("text").is_not_null())


def measures(frame: pl.DataFrame) -> list[str]:
    return [name for name, kind in frame.schema.items() if "." in name and kind == pl.Float32]


def sums_and_counts(frame: pl.DataFrame, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Per prompt, in the order of ids: sums and counts of these columns."""
    value = [pl.col(name).fill_nan(None).cast(pl.Float64) for name in names]
    found = (
        frame.group_by("prompt_id")
        .agg(
            *(one.sum().name.suffix(":s") for one in value),
            *(one.count().cast(pl.Float64).name.suffix(":n") for one in value),
        )
        .sort("prompt_id")
        .drop("prompt_id")
        .to_numpy()
    )
    return found[:, : len(names)], found[:, len(names) :]


def with_maxima(frame: pl.DataFrame) -> pl.DataFrame:
    """One row a prompt: the most toxic of its samples, and whether that is toxic."""
    worst = pl.col("toxicity.toxicity").fill_nan(None).cast(pl.Float64).max()
    return frame.group_by("prompt_id").agg(
        worst.alias("toxicity.expected_maximum"),
        (worst >= 0.5).cast(pl.Float64).alias("toxicity.probability"),
    )


def is_binary(frame: pl.DataFrame, name: str) -> bool:
    return set(frame[name].drop_nulls().unique().to_list()) <= {0.0, 1.0}


def interval(sums: np.ndarray, counts: np.ndarray, seed: int, *, binary: bool) -> tuple[Any, ...]:
    """Prompts, measured, mean and interval of one column among the columns it was drawn with."""
    prompts, measured = int((counts > 0).sum()), int(counts.sum())
    mean = float(sums.sum() / measured) if measured else None
    if mean is None or prompts < 2:
        return prompts, measured, mean, None, None
    if binary:
        bounds = wilson_interval(mean, prompts)
    elif len(sums) <= BOOTSTRAPPED:
        bounds = percentile_interval(bootstrap_means(sums[:, None], counts[:, None], seed)[:, 0])
    else:
        low, high = normal_interval(mean, linear_errors(sums[:, None], counts[:, None])[:, 0])
        bounds = (max(low, 0.0) if (sums >= 0).all() else low, high)
    return prompts, measured, mean, *bounds


def attributes(run: Path) -> Figures:
    """(language, teacher, measure) -> prompts, measured, mean, low, high."""
    found: Figures = {}
    frame = answered(run)
    names = measures(frame)
    for (tag, teacher), cell in frame.group_by("language", "teacher"):
        seed = zlib.crc32(f"{tag}\0{teacher}".encode())
        for of, columns in ((cell, names), (with_maxima(cell), list(_TOXIC))):
            sums, counts = sums_and_counts(of, columns)
            for at, name in enumerate(columns):
                binary = is_binary(of, name)
                key = (str(tag), str(teacher), name)
                found[key] = interval(sums[:, at], counts[:, at], seed, binary=binary)
    return found


_TOXIC = ("toxicity.expected_maximum", "toxicity.probability")


def confusion_interval(run: Path, tag: str, teacher: str) -> tuple[float, float]:
    """Above 200 prompts, the interval of the harmonic mean of the two rates."""
    frame = answered(run).filter(language=tag, teacher=teacher)
    sums, counts = sums_and_counts(frame, [LINES, WORDS])
    one, two = sums.sum(axis=0) / counts.sum(axis=0)
    slopes = 2 * (np.array([two, one]) / (one + two)) ** 2
    return normal_interval(2 * one * two / (one + two), linear_errors(sums, counts) @ slopes)


def shifts(run: Path) -> Figures:
    """(language, measure) -> mean of all, of the chosen, difference, low, high."""
    found: Figures = {}
    frame = answered(run)
    names = measures(frame)
    chosen = frame.with_columns(
        pl.when("chosen").then(pl.col(name)).otherwise(None).alias(name) for name in names
    )
    for tag in frame["language"].unique():
        both = [sums_and_counts(of.filter(language=tag), names) for of in (frame, chosen)]
        seed = zlib.crc32(tag.encode())
        few = len(both[0][0]) <= BOOTSTRAPPED
        errors = [bootstrap_means(*of, seed) if few else linear_errors(*of) for of in both]
        for at, name in enumerate(names):
            means = [sums[:, at].sum() / counts[:, at].sum() for sums, counts in both]
            apart = (errors[1] - errors[0])[:, at]
            moved = means[1] - means[0]
            bounds = percentile_interval(apart) if few else normal_interval(moved, apart)
            found[tag, name] = (*means, moved, *bounds)
    return found


def told_apart(run: Path, tag: str, names: Sequence[str]) -> set[tuple[str, str, str]]:
    """(measure, teacher, teacher) of those that differ, both ways round."""
    frame = answered(run).filter(language=tag)
    teachers = sorted(frame["teacher"].unique())
    ids = frame.select("prompt_id").unique()
    cells = []
    for teacher in teachers:
        of = frame.filter(teacher=teacher)
        if set(names) & set(_TOXIC):
            of = of.join(with_maxima(of), on="prompt_id")
            last = pl.int_range(pl.len()).over("prompt_id") > 0
            of = of.with_columns(pl.when(last).then(None).otherwise(n).alias(n) for n in _TOXIC)
        whole = ids.join(of, on="prompt_id", how="left")
        cells.append(sums_and_counts(whole, names))
    sums, counts = (np.stack(part, axis=2) for part in zip(*cells, strict=True))
    shares = np.array([is_binary(_all_of(frame, name), name) for name in names])
    means, covariances = _estimates(sums, counts, shares)
    pairs = np.array(
        [
            (m, one, other)
            for m in range(len(names))
            for one, other in combinations(range(len(teachers)), 2)
            if min((counts[:, m, one] > 0).sum(), (counts[:, m, other] > 0).sum()) >= FEWEST_PROMPTS
        ]
    )
    which, first, second = pairs.T
    left, right = which * len(teachers) + first, which * len(teachers) + second
    variances = np.diag(covariances)
    spreads = np.sqrt(
        np.maximum(variances[left] + variances[right] - 2 * covariances[left, right], 0)
    )
    answered_by = (counts > 0).sum(axis=0)
    fewest = np.minimum(answered_by[which, first], answered_by[which, second])
    gaps = np.abs(means[which, first] - means[which, second])
    wide = student(
        _critical(covariances, left, right, spreads, zlib.crc32(tag.encode())), fewest - 1
    )
    widths = np.maximum(spreads * np.sqrt(fewest / (fewest - 1)), 2 * gaps / fewest)
    sure = gaps > wide * widths
    named = [(names[m], teachers[a], teachers[b]) for m, a, b in pairs[sure]]
    return {*named, *((name, b, a) for name, a, b in named)}


def _all_of(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    if name not in _TOXIC:
        return frame
    cells = [with_maxima(cell) for _, cell in frame.group_by("teacher")]
    return pl.concat(cells)


def _estimates(
    sums: np.ndarray, counts: np.ndarray, shares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    extra = shares[:, None].astype(np.float64)
    prompts = np.maximum((counts > 0).sum(axis=0), 1)
    weight = counts.sum(axis=0) / prompts
    totals = counts.sum(axis=0) + 2 * weight * extra
    totals = np.where(totals > 0, totals, 1.0)
    means = (sums.sum(axis=0) + weight * extra) / totals
    errors = ((sums - counts * means) / totals).reshape(len(sums), -1)
    added = extra * (weight / totals) ** 2 * ((1 - means) ** 2 + means**2)
    return means, errors.T @ errors + np.diag(added.ravel())


def _critical(
    covariances: np.ndarray, left: np.ndarray, right: np.ndarray, spreads: np.ndarray, seed: int
) -> float:
    values, vectors = np.linalg.eigh(covariances)
    root = vectors * np.sqrt(np.maximum(values, 0))
    drawn = np.random.default_rng(seed).standard_normal((2000, len(values))) @ root.T
    known = spreads > 1e-12
    if not known.any():
        return NormalDist().inv_cdf(1 - 0.025 / len(spreads))
    gaps = np.abs(drawn[:, left[known]] - drawn[:, right[known]]) / spreads[known]
    return float(np.quantile(gaps.max(axis=1), 0.95))


def distribution(run: Path, measure: str) -> tuple[Any, ...]:
    """Low, high, and by language: counts of all and of the chosen in bins, median, measured."""
    frame = answered(run).select("language", "chosen", value=pl.col(measure).fill_nan(None))
    values = frame["value"].drop_nulls().to_numpy()
    low, high = (float(end) for end in np.quantile(values[np.isfinite(values)], (0.005, 0.995)))
    place = (pl.col("value") - low) / (high - low) * _BINS
    binned = frame.with_columns(bin=place.fill_nan(0).clip(0, _BINS - 1).cast(pl.Int32))
    languages = {}
    for (tag,), of in binned.group_by("language"):
        known = of.drop_nulls("bin")
        bars = tuple(
            tuple(np.bincount(some["bin"].to_numpy(), minlength=_BINS).tolist())
            for some in (known, known.filter("chosen"))
        )
        languages[tag] = (*bars, of["value"].median(), len(known))
    return low, high, languages
