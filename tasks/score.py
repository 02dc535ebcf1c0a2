"""Score one shard: run every configured filter over its candidates."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.config import RunConfig
from arbitrage.filters.again import score_again, unanswered, unpaid_scores
from arbitrage.filters.matching import sketch_keys
from arbitrage.filters.moments import Moments
from arbitrage.filters.scoring import Sketches, matched_measures, score_table
from arbitrage.filters.selection import weighted_measures
from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.progress import board
from arbitrage.infra.store import layout
from arbitrage.infra.store.answers import AnswerJournal
from arbitrage.infra.store.run import Run
from arbitrage.tasks.generate import paying
from arbitrage.tasks.policy import unfinished


def score_candidates(uri: str, shard: int) -> None:
    """Measure a shard's candidates and keep what later decisions need of the whole."""
    run = unfinished(uri)
    if not run.is_scored(shard):
        generated = run.generated(shard)
        commit_scores(run, shard, generated, generated)
    board.add(shards_scored=1)


def commit_scores(
    run: Run, shard: int, candidates: pa.Table, details: pa.Table, again: Path | None = None
) -> None:
    """Measure what is not measured yet on a shard's candidates and commit the scores.

    Filters over the whole run only sketch it: tasks/match.py gives their scores.

    Args:
        again: where answers of servers are kept that are asked again about what they left open;
            None: what they left open stays so.
    """
    sketches: Sketches = {}
    prompts = run.prompts(shard)
    with paying(run) as purse:
        with closing(run.answers(shard, purse)) as answers:
            scored = score_table(candidates, prompts, run.config, sketches, answers)
        if again is not None:
            with closing(AnswerJournal(again, purse)) as answers:
                scored = score_again(scored, prompts, run.config, answers)
    if unanswered(scored, run.config):
        run.keep_answers(shard, again)
    if sketches:
        run.sketches.write(layout.sketch_part(shard), sketch_keys(scored), sketches)
    matched = matched_measures(run.config)
    measures = [name for name in weighted_measures(run.config) if name not in matched]
    moments = Moments.of(scored, measures)
    unpaid = is_unpaid(scored, run.config)
    run.commit_scored(shard, scored, details, moments.to_json(), unpaid=unpaid)


def is_unpaid(scored: pa.Table, config: RunConfig) -> bool:
    """Whether no budget was left for some of a shard's candidates, or for one of their scores."""
    refused = pc.any(pc.equal(scored["error"], SPENT)).as_py()
    return bool(refused) or unpaid_scores(scored, config) > 0
