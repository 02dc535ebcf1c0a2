"""Measuring candidates: every configured filter over bounded batches, into declared columns."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from arbitrage.answers import Answers
from arbitrage.config import RunConfig
from arbitrage.errors import FilterError
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, Turns, measuring_hash
from arbitrage.filters.matching import RunFilter, RunSketch, empty_sketch, sketch_keys
from arbitrage.registry import filters as registry
from arbitrage.registry import params_hash
from arbitrage.schema import (
    GENERATED,
    asked_texts,
    conform,
    score_fields,
    scored_schema,
    turns_of,
)

# A filter sees at most this much at once: its memory is bounded whatever the shard size.
MAX_BATCH_ROWS = 4096
MAX_BATCH_BYTES = 2 * 2**20

# Filter -> name -> one row a candidate: what filters over a whole run keep of each.
Sketches = dict[str, dict[str, NDArray[Any]]]

_built: dict[tuple[type[Filter], str], Filter] = {}
_building = threading.Lock()


def filter_columns(name: str, params: FilterParams) -> list[pa.Field]:
    """The score columns of one filter: float32 `FILTER.MEASURE`, then string `FILTER.LABEL`.

    Metadata: `filter` = name@version, `params` = hash of what changes scores (no thresholds).
    """
    entry = registry.get(name)
    metadata = {"filter": entry.identity, "params": measuring_hash(params)}
    return score_fields(
        {f"{name}.{measure}": metadata for measure in entry.plugin.measures_of(params)},
        {f"{name}.{label}": metadata for label in entry.plugin.labels},
    )


def score_columns(config: RunConfig) -> list[pa.Field]:
    """The score columns of a run, filter by filter in the config's order; known before any data."""
    return [
        field for name, params in _params(config).items() for field in filter_columns(name, params)
    ]


def missing_scores(schema: pa.Schema, config: RunConfig) -> list[str]:
    """Configured filters whose columns are absent, or came from another version or other params.

    These are what `arbitrage decide` must measure; a changed threshold is never among them.
    """
    return [
        name
        for name, params in _params(config).items()
        if not all(_has(schema, field) for field in filter_columns(name, params))
    ]


def run_filters(config: RunConfig) -> list[str]:
    """Configured filters whose scores depend on the whole run."""
    return [name for name in config.filters if compares(name)]


def compares(name: str) -> bool:
    """Whether a filter compares the candidates of a whole run."""
    return issubclass(registry.get(name).plugin, RunFilter)


def matched_measures(config: RunConfig) -> list[str]:
    """Columns of those filters' measures, null until the whole run is matched."""
    names = run_filters(config)
    return [
        field.name
        for name in names
        for field in filter_columns(name, _params(config)[name])
        if field.type == pa.float32()
    ]


def score_table(
    generated: pa.Table,
    prompts: Mapping[str, str] | pa.Table,
    config: RunConfig,
    sketches: Sketches | None = None,
    answers: Answers | None = None,
) -> pa.Table:
    """GENERATED columns plus every score column of the config; row order is kept.

    Columns that are there already and are not in `missing_scores` are taken as they are. Rows
    without a text (failed requests) are not shown to filters and get nulls, as do abstentions.

    Args:
        generated: GENERATED columns, with or without score columns.
        prompts: prompt_id -> text, or PROMPTS rows; an unknown id is scored without its prompt.
        sketches, answers: as in `measure_rows`.

    Raises FilterError where a filter breaks its contract.
    """
    missing = set(missing_scores(generated.schema, config))
    params = {name: value for name, value in _params(config).items() if name in missing}
    turns = conversations(prompts) if isinstance(prompts, pa.Table) else {}
    texts = prompt_texts(prompts)
    rows = measure_rows(generated, texts, params, sketches, turns=turns, answers=answers)
    schema = scored_schema(score_columns(config))
    arrays = conform(generated, GENERATED).columns
    for field in schema:
        if field.name in rows:
            arrays.append(pa.array(rows[field.name], field.type, from_pandas=True))
        elif field.name not in GENERATED.names:
            arrays.append(generated.column(field.name))
    return pa.Table.from_arrays(arrays, schema=schema)


def measure_rows(
    table: pa.Table,
    prompts: Mapping[str, str],
    params: Mapping[str, FilterParams],
    sketches: Sketches | None = None,
    *,
    turns: Mapping[str, Turns] | None = None,
    answers: Answers | None = None,
) -> dict[str, NDArray[Any]]:
    """Every filter on every row that has a text: column name -> array of shape [rows].

    Args:
        table: columns text (nulls allowed), language, prompt_id.
        prompts: prompt_id -> text; may lack some.
        params: filter name -> its params.
        sketches: filled with what filters over a whole run keep of these rows, whose columns are
            left empty for `match_rows`. None: the table is the whole run.
        turns: prompt_id -> its whole conversation, where more than the text is known.
        answers: where what a server answered is kept.
    """
    rows = _empty_columns(params, table.num_rows)
    over_run = [name for name in params if compares(name)]
    kept: Sketches = {} if sketches is None else sketches
    for name in over_run:
        kept[name] = empty_sketch(_run_filter(name, params[name]), table.num_rows)
    for positions, batch in _batches(table, prompts, turns or {}, answers):
        for name, value in params.items():
            if name in over_run:
                for key, array in _run_filter(name, value).sketch(batch).items():
                    kept[name][key][positions] = array
                continue
            for column, values in measure(name, value, batch).items():
                rows[column][positions] = values
    if sketches is None:
        for name in over_run:
            _nothing_earlier(name, params[name])
            rows |= match_rows(name, params[name], RunSketch.of(sketch_keys(table), kept[name]))
    return rows


def match_rows(name: str, params: FilterParams, run: RunSketch) -> dict[str, NDArray[Any]]:
    """A filter over a whole run on the sketches of all its shards: column name -> array, checked
    as by `measure`; one row for each from `run.first` on. Without any there is nothing to match."""
    if len(run) == run.first:
        return _empty_columns({name: params}, 0)
    scores = _run_filter(name, params).match(run)
    return _checked(name, params, scores, len(run) - run.first)


def measure(name: str, params: FilterParams, batch: Batch) -> dict[str, NDArray[Any]]:
    """One filter on one batch: column name -> float32 array (NaN = abstained) or object array of
    labels (None = abstained), each of shape [len(batch)].

    Raises FilterError, naming filter and measure, for wrong names, lengths, types or infinities.
    """
    scores = built_filter(name, params).score(batch)
    return _checked(name, params, scores, len(batch))


def _checked(
    name: str,
    params: FilterParams,
    scores: Scores,
    length: int,
) -> dict[str, NDArray[Any]]:
    plugin = registry.get(name).plugin
    measures = plugin.measures_of(params)
    _same_names(name, "measures", measures, scores.measures)
    _same_names(name, "labels", plugin.labels, scores.labels)
    columns: dict[str, NDArray[Any]] = {
        f"{name}.{key}": _checked_measure(f"{name}.{key}", scores, key, length) for key in measures
    }
    for key in plugin.labels:
        columns[f"{name}.{key}"] = _checked_label(f"{name}.{key}", scores, key, length)
    return columns


def built_filter(name: str, params: FilterParams) -> Filter:
    """The filter of this process for these params, built on first use and shared by all threads."""
    key = _key(name, params)
    if key not in _built:
        with _building:
            if key not in _built:
                _built[key] = key[0](params)
    return _built[key]


def use_filter(name: str, params: FilterParams, stand_in: Filter) -> None:
    """Let `stand_in` score in this process for the filter of these params, instead of one of its
    own: where several processes share a model. It must not compare candidates of a whole run."""
    with _building:
        _built[_key(name, params)] = stand_in


def _key(name: str, params: FilterParams) -> tuple[type[Filter], str]:
    plugin = cast("type[Filter]", registry.get(name).plugin)
    return plugin, params_hash(params, exclude=params.deciding_fields())


def _run_filter(name: str, params: FilterParams) -> RunFilter:
    return cast("RunFilter", built_filter(name, params))


def _nothing_earlier(name: str, params: FilterParams) -> None:
    """A table by itself cannot be compared with runs that nobody has read."""
    earlier = _run_filter(name, params).earlier_runs()
    if earlier:
        raise FilterError(
            f'the filter "{name}" is to compare with {", ".join(earlier)}, which a table alone '
            "cannot.",
            mend="Measure it in a run, or pass `sketches` and match them.",
        )


def close_filters() -> None:
    """Close every filter that was built and forget it."""
    with _building:
        while _built:
            _built.popitem()[1].close()


def score_array(table: pa.Table, column: str) -> NDArray[np.float32]:
    """A score column as float32 [n], NaN = abstained; FilterError where the table lacks it."""
    if column not in table.column_names:
        known = [name for name in table.column_names if "." in name]
        raise FilterError(
            f'the candidates have no column "{column}".', known=known, mend="Score them first."
        )
    scores = table.column(column).cast(pa.float32())
    return np.asarray(pc.fill_null(scores, np.float32(np.nan)).to_numpy(), dtype=np.float32)


def prompt_texts(prompts: Mapping[str, str] | pa.Table) -> Mapping[str, str]:
    """prompt_id -> text of the last user turn, from PROMPTS rows; a mapping passes through."""
    if isinstance(prompts, Mapping):
        return prompts
    ids = prompts.column("prompt_id").to_pylist()
    return dict(zip(ids, asked_texts(prompts.column("messages")), strict=True))


def conversations(prompts: pa.Table) -> dict[str, Turns]:
    """prompt_id -> (role, content) of every turn, from PROMPTS rows."""
    ids = prompts.column("prompt_id").to_pylist()
    return dict(zip(ids, turns_of(prompts.column("messages")), strict=True))


def _params(config: RunConfig) -> dict[str, FilterParams]:
    return cast("dict[str, FilterParams]", config.filter_params)


def _has(schema: pa.Schema, field: pa.Field) -> bool:
    index = schema.get_field_index(field.name)
    return index >= 0 and bool(schema.field(index).equals(field, check_metadata=True))


def _empty_columns(params: Mapping[str, FilterParams], rows: int) -> dict[str, NDArray[Any]]:
    fields = [field for name, value in params.items() for field in filter_columns(name, value)]
    return {
        field.name: np.full(rows, np.nan, np.float32)
        if field.type == pa.float32()
        else np.full(rows, None, object)
        for field in fields
    }


def _batches(
    generated: pa.Table,
    prompts: Mapping[str, str],
    turns: Mapping[str, Turns] | None = None,
    answers: Answers | None = None,
) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Rows that have a text, in batches of bounded rows and bytes, with their positions.

    The candidates of one prompt stay together, and among them the samples of one teacher, wherever
    they stand in the table: what is measured over them must not depend on where a batch ends.
    """
    text = generated.column("text")
    ids = generated.column("prompt_id").to_pylist()
    mine = _numbers(ids)
    groups = _numbers(zip(ids, generated.column("teacher").to_pylist(), strict=True))
    positions = np.flatnonzero(pc.is_valid(text).to_numpy())
    positions = positions[np.lexsort((groups[positions], mine[positions]))]
    sizes = pc.binary_length(text).take(pa.array(positions)).to_numpy()
    # Where a batch may end: after the last candidate of a prompt.
    ends = np.append(np.flatnonzero(np.diff(mine[positions])) + 1, len(positions))
    start = 0
    while start < len(positions):
        window = np.cumsum(sizes[start : start + MAX_BATCH_ROWS], dtype=np.int64)
        limit = start + int(np.searchsorted(window, MAX_BATCH_BYTES, side="right"))
        # A group above the limit is a batch of its own.
        fitting = int(np.searchsorted(ends, limit, side="right")) - 1
        first = int(np.searchsorted(ends, start, side="right"))
        end = int(ends[max(fitting, first)])
        chosen = positions[start:end]
        part = generated.select(["text", "language", "finish_reason"]).take(pa.array(chosen))
        theirs = [ids[row] for row in chosen.tolist()]
        batch = Batch(
            texts=part.column("text").to_pylist(),
            languages=part.column("language").to_pylist(),
            prompts=[prompts.get(key) for key in theirs],
            finish_reasons=part.column("finish_reason").to_pylist(),
            groups=groups[chosen].tolist(),
            same_prompt=mine[chosen].tolist(),
            turns=[turns.get(key) for key in theirs] if turns else None,
            answers=answers,
        )
        yield chosen, batch
        start = end


def _numbers(keys: Iterable[Hashable]) -> NDArray[np.int64]:
    """int64 [rows]: a number for each different key, in the order they first appear."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _same_names(name: str, kind: str, wanted: tuple[str, ...], got: Mapping[str, Any]) -> None:
    if set(wanted) != set(got):
        raise FilterError(
            f'the filter "{name}" declares the {kind} {sorted(wanted)} and returned {sorted(got)}.',
            mend="Return exactly the declared names.",
        )


def _checked_measure(column: str, scores: Scores, key: str, length: int) -> NDArray[np.float32]:
    values = np.asarray(scores.measures[key])
    if values.shape != (length,) or values.dtype.kind not in "fiub":
        raise FilterError(
            f'the filter of "{column}" returned an array of {values.dtype} with shape '
            f"{values.shape} for {length} texts.",
            mend="Return one float32 a text, NaN where it abstains.",
        )
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    infinite = np.flatnonzero(np.isinf(single))
    if infinite.size:
        raise FilterError(
            f'the filter of "{column}" returned {values[infinite[0]]} for text '
            f"{infinite[0]} of its batch.",
            mend="Return a finite score, or NaN to abstain.",
        )
    return single


def _checked_label(column: str, scores: Scores, key: str, length: int) -> NDArray[np.object_]:
    values = list(scores.labels[key])
    wrong = next((value for value in values if not (value is None or isinstance(value, str))), None)
    if len(values) != length or wrong is not None:
        raise FilterError(
            f'the filter of "{column}" returned {len(values)} labels for {length} texts'
            + (f", one of them {wrong!r}." if wrong is not None else "."),
            mend="Return one string a text, None where it abstains.",
        )
    array = np.empty(length, object)
    array[:] = values
    return array
