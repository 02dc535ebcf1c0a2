"""Deciding: thresholds and constraints over stored scores, into verdicts. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from arbitrage.config import RunConfig
from arbitrage.errors import FilterError
from arbitrage.filters.base import FilterParams
from arbitrage.filters.scoring import score_array
from arbitrage.registry import filters as registry

Mask = NDArray[np.bool_]

# A candidate without a text whose request left no reason: never lost for want of one.
NO_TEXT = "generate.no_text"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says of one candidate.

    Attributes:
        state: "pass", "reject", or "abstain" (not measured, and kept for want of a score).
        reason: `filter.cause` of a rejection or an abstention, else None.

    It has no truth value: a rejection in an `if` would read as a pass.

    >>> bool(Verdict("reject", "length.min_words"))
    Traceback (most recent call last):
    ...
    TypeError: a Verdict is neither true nor false; compare its state ("reject").
    """

    state: Literal["pass", "reject", "abstain"]
    reason: str | None = None

    def __bool__(self) -> NoReturn:
        raise TypeError(f'a Verdict is neither true nor false; compare its state ("{self.state}").')


@dataclass(frozen=True, slots=True)
class Rule:
    """One bound on one score column: `score >= limit` for "min", `score <= limit` for "max".

    Attributes:
        name: where it stands in the config, `filters.FILTER.FIELD` or `select.constraints...`.
        limit: in float32 like the scores, so that a score equal to the written bound passes.
        reason: given where the bound is broken.
        abstained: reason given where there is no score.
        rejects_abstained: whether having no score rejects.
    """

    name: str
    column: str
    bound: Literal["min", "max"]
    limit: np.float32
    reason: str
    abstained: str
    rejects_abstained: bool

    def broken(self, scores: NDArray[np.float32]) -> Mask:
        """Where a score is outside the bound; never where it is NaN."""
        return scores < self.limit if self.bound == "min" else scores > self.limit


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The decision on n candidates.

    Attributes:
        kept: bool [n].
        reasons: list<string> [n]; every broken rule's reason, empty exactly where kept.
    """

    kept: Mask
    reasons: pa.ListArray


def rules(config: RunConfig) -> list[Rule]:
    """Every bound of a run: the filters' thresholds, then select.constraints.

    Raises FilterError for a threshold that no measure of its filter answers to, or that is NaN.
    """
    found = []
    for name, params in _params(config).items():
        plugin = registry.get(name).plugin
        measures = plugin.measures_of(params)
        for field, limit in params.thresholds().items():
            side, measure = field[:3], field[4:]
            if measure not in measures:
                raise FilterError(
                    f'the filter "{name}" has a threshold "{field}" and no measure "{measure}".',
                    known=measures,
                    mend="Name the field min_MEASURE or max_MEASURE.",
                )
            cause = plugin.causes.get(field, field)
            where = f"filters.{name}.{field}"
            found.append(_rule(params, where, (name, measure), (side, limit), cause))
    for column, bounds in config.select.constraints.items():
        name, _, measure = column.partition(".")
        for side, bound in bounds.model_dump(exclude_none=True).items():
            where = f"select.constraints.{column}.{side}"
            cause = f"{side}_{measure}"
            found.append(_rule(_params(config)[name], where, (name, measure), (side, bound), cause))
    return found


def decide(table: pa.Table, config: RunConfig) -> Verdicts:
    """Decide on every row by its stored scores. Pure, and vectorised: no loop over rows.

    A failed row (an `error`, or no text) is never kept; its error is its one reason. A bound on a
    measure that abstained rejects only where its filter says `on_abstain = "reject"`.
    """
    failed = failed_rows(table)
    broken: dict[str, Mask] = {}
    scores: dict[str, NDArray[np.float32]] = {}
    for rule in rules(config):
        if rule.column not in scores:
            scores[rule.column] = score_array(table, rule.column)
        column = scores[rule.column]
        _mark(broken, rule.reason, rule.broken(column))
        if rule.rejects_abstained:
            _mark(broken, rule.abstained, np.isnan(column))
    broken = {reason: mask & ~failed for reason, mask in broken.items()}
    kept = ~np.logical_or.reduce([failed, *broken.values()])
    return Verdicts(kept=kept, reasons=_reasons(broken, failed, table))


def verdicts_of(row: Mapping[str, Any], config: RunConfig) -> dict[str, Verdict]:
    """Every rule's verdict on one candidate, by the rule's place in the config.

    Args:
        row: a candidate as a mapping, for example a row of `to_pylist()`.

    A failed candidate has the single verdict `generate`.
    """
    if row.get("error") is not None or row.get("text") is None:
        return {"generate": Verdict("reject", row.get("error") or NO_TEXT)}
    verdicts = {}
    for rule in rules(config):
        value = row.get(rule.column)
        score = np.asarray([np.nan if value is None else value], dtype=np.float32)
        if np.isnan(score[0]):
            state: Literal["reject", "abstain"] = "reject" if rule.rejects_abstained else "abstain"
            verdicts[rule.name] = Verdict(state, rule.abstained)
        elif rule.broken(score)[0]:
            verdicts[rule.name] = Verdict("reject", rule.reason)
        else:
            verdicts[rule.name] = Verdict("pass")
    return verdicts


def failed_rows(table: pa.Table) -> Mask:
    """bool [n]: rows of requests that gave no usable text."""
    failed = pc.or_(pc.is_valid(table.column("error")), pc.is_null(table.column("text")))
    return np.array(failed.to_numpy(), dtype=np.bool_)


def _params(config: RunConfig) -> dict[str, FilterParams]:
    return cast("dict[str, FilterParams]", config.filter_params)


def _rule(
    params: FilterParams,
    where: str,
    measured: tuple[str, str],
    bound: tuple[str, float],
    cause: str,
) -> Rule:
    (name, measure), (side, limit) = measured, bound
    if np.isnan(limit):
        raise FilterError(f"{where} is NaN.", mend="Give a number, or leave the bound out.")
    with np.errstate(over="ignore"):
        single = np.float32(limit)
    return Rule(
        name=where,
        column=f"{name}.{measure}",
        bound="min" if side == "min" else "max",
        limit=single,
        reason=f"{name}.{cause}",
        abstained=f"{name}.abstained",
        rejects_abstained=params.on_abstain == "reject",
    )


def _mark(broken: dict[str, Mask], reason: str, mask: Mask) -> None:
    """Two rules with one reason give it once."""
    broken[reason] = broken[reason] | mask if reason in broken else mask


def _reasons(broken: Mapping[str, Mask], failed: Mask, table: pa.Table) -> pa.ListArray:
    """list<string> [n] from one mask a reason, by way of (row, reason) pairs in row order."""
    errors = pc.fill_null(table.column("error").filter(pa.array(failed)), NO_TEXT)
    errors = errors.combine_chunks().dictionary_encode()
    words = pa.concat_arrays([pa.array(list(broken), pa.string()), errors.dictionary])
    row, code = np.nonzero(np.stack([failed, *broken.values()], axis=1))
    code -= 1
    code[code < 0] = len(broken) + errors.indices.to_numpy()
    offsets = np.zeros(len(failed) + 1, dtype=np.int32)
    np.cumsum(np.bincount(row, minlength=len(failed)), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), words.take(pa.array(code)))
