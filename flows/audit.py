"""Auditing rewards before they are trusted: any filter's measures on pairs that people judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.config.coherence import objective_measures
from arbitrage.config.rewards import AUDIT_FORMAT, AUDIT_KIND, reward_name
from arbitrage.errors import ConfigError, unknown_name
from arbitrage.filters.moments import Moments
from arbitrage.filters.scoring import built_filter, compares, filter_columns, measure_rows
from arbitrage.filters.selection import objective_values
from arbitrage.infra.report.audit_page import audit_html, audit_markdown
from arbitrage.infra.report.reward_audit import Judged, accuracy_of, agreements
from arbitrage.infra.sources.pairs import PreferencePairs, read_pairs
from arbitrage.infra.store.files import Folder

Reward = str | dict[str, float]
Scores = dict[str, NDArray[Any]]

_PAIRS_AT_ONCE = 2048
# Pairs that are measured in both orders to see whether the order matters at all.
_PROBED = 64


def audit_rewards(
    paths: Iterable[Path],
    filters: Mapping[str, Any],
    rewards: Sequence[Reward] = (),
    *,
    done: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Measure both answers of every pair, and say how right each reward is about them.

    The two answers of a pair are measured as samples of one prompt. Up to 64 pairs are measured
    with the rejected answer first as well; where a score differs, all pairs are, a verdict is that
    of both orders together, and position bias is told. Otherwise there is none to tell.

    Args:
        filters: name -> params, as `parse_filters` gives.
        rewards: objectives as in select.objective; by default each measure, the more the better.
        done: called with the pairs measured so far, and all of them.

    Returns:
        JSON-like: `format`, `kind`, `files` (path -> sha256), `pairs`, `filters` (name -> identity
        and params), `rewards` and `agreement` (see `Agreement`). A reward has `reward`, `orders`
        (1 or 2), `all`, `mean_of_languages`, `languages`, `categories` and `cells` (language ->
        category), each an `Accuracy`.
    """
    fields = [field for name, params in filters.items() for field in filter_columns(name, params)]
    measures = [field.name for field in fields if field.type == pa.float32()]
    wanted = list(rewards) or [f"maximize:{measure}" for measure in measures]
    _check(filters, wanted, measures)
    pairs = read_pairs(paths)
    for name, params in filters.items():
        built_filter(name, params).load(sorted(set(pairs.languages)))
    first = _measured(pairs, filters, range(len(pairs)), done)
    second = None
    if _order_matters(pairs, filters, first):
        second = _measured(pairs, filters, range(len(pairs)), done, swapped=True)
    judged = [_judged(pairs, first, second, reward) for reward in wanted]
    identities = {
        name: dict(_decoded(filter_columns(name, params)[0].metadata))
        for name, params in filters.items()
    }
    return {
        "format": AUDIT_FORMAT,
        "kind": AUDIT_KIND,
        "files": pairs.files,
        "pairs": len(pairs),
        "filters": identities,
        **_report(pairs, judged),
    }


def write_audit(audit: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write audit.json, audit.md and audit.html; returns their paths."""
    target = Folder(folder)
    target.make()
    target.write_json("audit.json", audit)
    target.write_bytes("audit.md", audit_markdown(audit).encode())
    target.write_bytes("audit.html", audit_html(audit).encode())
    return [target / name for name in ("audit.json", "audit.md", "audit.html")]


def _check(filters: Mapping[str, Any], rewards: Sequence[Reward], measures: list[str]) -> None:
    for name in filters:
        if compares(name):
            raise ConfigError(
                f'the filter "{name}" compares the answers of a whole run: it is no reward.',
                mend="Audit a filter that measures an answer.",
            )
    for reward in rewards:
        try:
            named = objective_measures(reward)
        except ValueError as error:
            raise ConfigError(f"--reward: {error}") from None
        for measure in named:
            if measure not in measures:
                raise unknown_name(
                    "measure of these filters", measure, measures, mend="Add its --filter."
                )


def _measured(
    pairs: PreferencePairs,
    filters: Mapping[str, Any],
    rows: Sequence[int],
    done: Callable[[int, int], None] = lambda *_: None,
    *,
    swapped: bool = False,
) -> Scores:
    """Column -> the chosen answers' scores, then the rejected answers'."""
    parts: list[Scores] = []
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        some = rows[start : start + _PAIRS_AT_ONCE]
        sides = (pairs.rejected, pairs.chosen) if swapped else (pairs.chosen, pairs.rejected)
        ids = [str(row) for row in some for _ in sides]
        texts = [side[row] for row in some for side in sides]
        table = pa.table(
            {
                "candidate_id": pa.array([f"{key}-{at % 2}" for at, key in enumerate(ids)]),
                "prompt_id": pa.array(ids),
                "teacher": pa.array([""] * len(ids)),
                "text": pa.array(texts, pa.string()),
                "language": pa.array([pairs.languages[row] for row in some for _ in sides]),
                "finish_reason": pa.nulls(len(ids), pa.string()),
            }
        )
        asked = {str(row): pairs.prompts[row] for row in some}
        parts.append(measure_rows(table, asked, filters))
        done(start + len(some), len(rows))
    halves = (1, 0) if swapped else (0, 1)
    return {
        name: np.concatenate([part[name][half::2] for half in halves for part in parts])
        for name in parts[0]
    }


def _order_matters(pairs: PreferencePairs, filters: Mapping[str, Any], first: Scores) -> bool:
    step = max(1, len(pairs) // _PROBED)
    rows = list(range(0, len(pairs), step))[:_PROBED]
    again = _measured(pairs, filters, rows, swapped=True)
    places = np.array([*rows, *(row + len(pairs) for row in rows)])
    return any(
        values.dtype == np.float32
        and not np.array_equal(values, first[name][places], equal_nan=True)
        for name, values in again.items()
    )


def _judged(pairs: PreferencePairs, first: Scores, second: Scores | None, reward: Reward) -> Judged:
    differences = _differences(pairs, first, reward)
    swapped = None if second is None else _differences(pairs, second, reward)
    if swapped is not None and np.array_equal(differences, swapped, equal_nan=True):
        swapped = None  # another reward of this audit depends on the order, this one does not
    return Judged(reward_name(reward), differences, swapped)


def _differences(pairs: PreferencePairs, scores: Scores, reward: Reward) -> NDArray[np.float64]:
    columns = {
        name: pa.array(values, pa.float32(), from_pandas=True)
        for name, values in scores.items()
        if values.dtype == np.float32
    }
    table = pa.table({"language": pa.array([*pairs.languages, *pairs.languages]), **columns})
    moments = Moments.of(table, reward) if isinstance(reward, dict) else None
    values = objective_values(table, reward, moments)
    return values[: len(pairs)] - values[len(pairs) :]


def _report(pairs: PreferencePairs, judged: Sequence[Judged]) -> dict[str, Any]:
    lengths = np.array(
        [
            len(one or "") - len(other or "")
            for one, other in zip(pairs.chosen, pairs.rejected, strict=True)
        ],
        dtype=np.float64,
    )
    every = np.arange(len(pairs))
    languages = _parts(pairs.languages)
    categories = _parts(pairs.categories)
    cells = {
        language: {
            category: np.intersect1d(rows, others)
            for category, others in categories.items()
            if len(np.intersect1d(rows, others))
        }
        for language, rows in languages.items()
    }

    # One text asked in two languages is two prompts.
    prompts = [f"{tag}\t{key}" for tag, key in zip(pairs.languages, pairs.prompt_ids, strict=True)]

    def told(reward: Judged, rows: NDArray[np.int64]) -> dict[str, Any]:
        return asdict(accuracy_of(reward, lengths, prompts, rows))

    found = []
    for reward in judged:
        by_language = {tag: told(reward, rows) for tag, rows in languages.items()}
        known = [part["accuracy"] for part in by_language.values() if part["accuracy"] is not None]
        found.append(
            {
                "reward": reward.name,
                "orders": 1 if reward.swapped is None else 2,
                "all": told(reward, every),
                "mean_of_languages": float(np.mean(known)) if known else None,
                "languages": by_language,
                "categories": {name: told(reward, rows) for name, rows in categories.items()},
                "cells": {
                    tag: {name: told(reward, rows) for name, rows in parts.items()}
                    for tag, parts in cells.items()
                },
            }
        )
    named = [("all", every), *languages.items()]
    return {
        "rewards": found,
        "agreement": [asdict(item) for item in agreements(judged, named, prompts)],
    }


def _parts(names: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    column = np.array(names, dtype=object)
    return {name: np.flatnonzero(column == name) for name in sorted(set(names))}


def _decoded(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in metadata.items()}
