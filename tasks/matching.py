"""Filters over a whole run, matched from sketches on disk; also where there is no run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from tempfile import TemporaryDirectory
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from arbitrage.config import RunConfig
from arbitrage.filters.base import FilterParams
from arbitrage.filters.matching import RunFilter, RunSketch, joined_keys, sketch_keys
from arbitrage.filters.scoring import (
    Sketches,
    built_filter,
    filter_columns,
    match_rows,
    measure_rows,
    prompt_texts,
    run_filters,
)
from arbitrage.infra.interrupt import raise_if_stopping
from arbitrage.infra.store import open_run
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.sketches import SketchStore


def match_stored(
    store: SketchStore, name: str, params: FilterParams, parts: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """A filter's columns over the parts of a run, in their order, one row a candidate."""
    earlier = list(sketch_earlier(store, name, params))
    before = joined_keys(map(store.keys, earlier))
    keys = pa.concat_tables([before, *map(store.keys, parts)])
    with store.whole(name, [*earlier, *parts]) as arrays:
        return match_rows(name, params, RunSketch.of(keys, arrays, before.num_rows))


def sketch_earlier(store: SketchStore, name: str, params: FilterParams) -> Iterator[str]:
    """Sketch the candidates of the finished runs that a filter compares with; yields each part.

    All that have a text count, kept or not: a finished run may be decided again, its candidates
    stay. What a killed process has sketched already is not sketched again.
    """
    scorer = built_filter(name, params)
    assert isinstance(scorer, RunFilter)
    for number, folder in enumerate(scorer.earlier_runs()):
        finished = open_run(folder)
        for shard in range(finished.shards):
            raise_if_stopping()
            part = f"{name}-earlier-{number}-{shard:05d}"
            if not store.has(part):
                candidates = finished.table("candidates", shard)
                asked = prompt_texts(finished.table("prompts", shard))
                sketches: Sketches = {}
                measure_rows(candidates, asked, {name: params}, sketches)
                store.write(part, _named(candidates, finished.manifest["run_id"]), sketches)
            yield part


def check_earlier(config: RunConfig) -> None:
    """Open every finished run that a filter compares with; raises what opening it raises.

    Before anything is generated: a wrong path would else be found when all is paid for.
    """
    for name in run_filters(config):
        scorer = built_filter(name, cast("FilterParams", config.filter_params[name]))
        assert isinstance(scorer, RunFilter)
        for folder in scorer.earlier_runs():
            open_run(folder)


def matched_table(scored: pa.Table, config: RunConfig, sketches: Sketches) -> pa.Table:
    """Candidates that are a whole run, with the scores of the filters over it."""
    with TemporaryDirectory() as folder:
        store = SketchStore(Folder(folder), "sketches")
        store.write("all", sketch_keys(scored), sketches)
        for name in sketches:
            params = cast("FilterParams", config.filter_params[name])
            columns = match_stored(store, name, params, ["all"])
            for field in filter_columns(name, params):
                column = pa.array(columns[field.name], field.type, from_pandas=True)
                place = scored.column_names.index(field.name)
                scored = scored.set_column(place, field, column)
    return scored


def _named(candidates: pa.Table, run_id: str) -> pa.Table:
    keys = sketch_keys(candidates)
    names = pc.binary_join_element_wise(run_id, keys["candidate_id"], "/")
    return keys.set_column(0, keys.schema.field(0), names)
