"""The round before: its checksum kept, its candidates put beside this run's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.config import RunConfig
from arbitrage.config.coherence import objective_measures
from arbitrage.config.parent import views_of_two_rounds
from arbitrage.config.select import Objective
from arbitrage.errors import ConfigError
from arbitrage.filters.base import FilterParams
from arbitrage.filters.moments import Moments
from arbitrage.filters.scoring import filter_columns, missing_scores
from arbitrage.infra.store.parent import Parent, open_parent
from arbitrage.infra.store.run import Run
from arbitrage.infra.views.base import ViewParams
from arbitrage.schema import conform
from arbitrage.tasks.policy import unfinished

_LINEAGE = ("run_id", "address", "sha256", "finished_at", "student")


def remember_parent(uri: str, shards: int) -> None:
    """Check the parent of a run whose input is staged, and keep its checksum for the manifest.

    Before anything is generated: a wrong parent would else be found when all is paid for. Raises
    ConfigError and DamagedRunError as `open_parent` does, and ConfigError where a view pairs across
    rounds and the parent asked none of these prompts or measured its answers otherwise.
    """
    run = unfinished(uri)
    config, known = run.config, run.parent()
    if config.parent is None:
        return
    across = views_of_two_rounds(config)
    if known is not None and not across:
        return
    parent = open_parent(config.parent.run, known["sha256"] if known else None)
    shared = sum(parent.shared(prompts) for prompts in run.asked_prompts(shards))
    if across and not shared:
        raise ConfigError(
            f'the view "{across[0]}" pairs across rounds, and the parent run "{parent.run_id}" '
            "asked none of this run's prompts.",
            mend="Prompts are matched by id: name the run that asked them in parent.run, keep the "
            'ids with prompts.id, or set rounds = "own".',
        )
    _check_comparable(config, parent)
    run.commit_parent(_told(parent, config.parent.run, config.parent.student, shared))


def _told(parent: Parent, address: str, student: str | None, shared: int) -> dict[str, Any]:
    """What the manifest says of the parent, and of the parents before it, the nearest first."""
    manifest = parent.finished.manifest
    earlier = manifest.get("parent")
    before = [{key: earlier[key] for key in _LINEAGE}, *earlier["before"]] if earlier else []
    return {
        "run_id": parent.run_id,
        "address": address,
        "sha256": parent.sha256,
        "finished_at": manifest["finished_at"],
        "student": student,
        "shared_prompts": shared,
        "before": before,
    }


def check_parent(config: RunConfig) -> str:
    """Open the parent as the run will and say what it is; raises what `remember_parent` would,
    except what needs this run's prompts."""
    assert config.parent is not None
    parent = open_parent(config.parent.run)
    _check_comparable(config, parent)
    return f"{parent.run_id}, finished {parent.finished.manifest['finished_at']}, is whole"


def _check_comparable(config: RunConfig, parent: Parent) -> None:
    """ConfigError where the parent measured otherwise what a view pairs by across rounds: its
    reward, or what may stand in for it."""
    other = missing_scores(parent.schema, config)
    instead = config.rewards.instead if config.rewards else []
    for view in views_of_two_rounds(config):
        reward = cast("ViewParams", config.view_params[view]).reward or config.select.objective
        named = [measure for one in (reward, *instead) for measure in objective_measures(one)]
        for measure in named:
            name = measure.partition(".")[0]
            if name not in other:
                continue
            raise ConfigError(
                f'the reward "{measure}" of the view "{view}" was not measured in the parent run '
                f'"{parent.run_id}", or by another version or with other settings: rewards of the '
                "two rounds would not compare.",
                mend="Measure it there, with `arbitrage decide PARENT --set ...` as in "
                f"[filters.{name}] here, and name the new run in parent.run.",
            )


@dataclass(frozen=True, slots=True)
class OlderCandidates:
    """The parent's candidates, as the views of a run take them.

    Attributes:
        other: columns that the parent has from another version or other settings of a filter, or
            not at all: they are null here, as if the filter had abstained.
    """

    run_id: str
    parent: Parent
    other: frozenset[str]

    def beside(
        self, decided: pa.Table, rewards: Iterable[Objective | None], moments: Moments
    ) -> pa.Table:
        """A shard's candidates, then the parent's for the same prompts, with two more columns:
        `of_parent` bool and `run_id`.

        A candidate of the parent that is this run's own as well (same request, same id) is left
        out. Where a weighted one of `rewards` has a measure of which this run has no score in a
        language, the parent's scores of it there are null too.
        """
        theirs = self.parent.rows("candidates", _array(decided, "prompt_id").unique())
        if theirs is None:
            theirs = decided.slice(0, 0)
        own = pc.is_in(theirs["candidate_id"], value_set=_array(decided, "candidate_id"))
        theirs = theirs.filter(pc.invert(own)).drop_columns(
            [name for name in self.other if name in theirs.column_names]
        )
        theirs = conform(theirs, decided.schema)
        weighted = {name for reward in rewards if isinstance(reward, dict) for name in reward}
        for measure in sorted(weighted):
            theirs = _without_unknown(theirs, measure, moments)
        both = pa.concat_tables([decided, theirs])
        older = np.repeat([False, True], [decided.num_rows, theirs.num_rows])
        names = np.where(older, self.parent.run_id, self.run_id)
        both = both.append_column("of_parent", pa.array(older))
        return both.append_column("run_id", pa.array(names.astype(object), pa.string()))


def older_candidates(run: Run) -> OlderCandidates:
    """The candidates of a run's parent, which `remember_parent` has seen."""
    known = cast("dict[str, Any]", run.parent())
    parent = _opened(known["address"], known["sha256"])
    other = [
        field.name
        for name in missing_scores(parent.schema, run.config)
        for field in filter_columns(name, cast("FilterParams", run.config.filter_params[name]))
    ]
    return OlderCandidates(run.run_id, parent, frozenset(other))


@lru_cache(maxsize=1)
def _opened(address: str, sha256: str) -> Parent:
    return open_parent(address, sha256)


def _without_unknown(theirs: pa.Table, measure: str, moments: Moments) -> pa.Table:
    """The table with nulls where this run has no mean of the measure in a language."""
    names = _array(theirs, "language").unique()
    unknown = [name for name in names.to_pylist() if moments.get(name, measure) is None]
    lost = pc.is_in(theirs["language"], value_set=pa.array(unknown, pa.string()))
    place = theirs.column_names.index(measure)
    values = pc.if_else(lost, pa.scalar(None, pa.float32()), theirs[measure])
    return theirs.set_column(place, theirs.schema.field(measure), values)


def _array(table: pa.Table, column: str) -> pa.Array:
    return table[column].combine_chunks()
