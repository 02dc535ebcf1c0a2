"""Rounds of an exact run: shards of prompts in the languages that are still short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from arbitrage.config.limits import NOT_NEEDED, limit_of, named_languages
from arbitrage.filters.exact import Standing, most_per_prompt, next_round
from arbitrage.filters.moments import Moments
from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.interrupt import raise_if_stopping
from arbitrage.infra.progress import board
from arbitrage.infra.store.pool import Spans, rows_at_once
from arbitrage.infra.store.run import Run
from arbitrage.schema import GRAVEYARD, PROMPTS, conform
from arbitrage.tasks.decide import decided_shard
from arbitrage.tasks.policy import unfinished, worth_retrying

# Rows of a shard that holds nothing but the graveyard: small ones, without a text.
_BURIED_AT_ONCE = 100_000


@task(
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=True,
    result_serializer="json",
)
def stage_round(uri: str, number: int) -> dict[str, Any]:
    """Stage the shards of one round, once all earlier ones are scored; a staged one stays.

    Returns `first` shard, number of `shards`, `asked` (language -> places [from, to) in its order)
    `over`: whether nothing more will be asked, so that these shards hold only the graveyard of
    what was not, and `spent`: whether for want of budget. Depends on scores and counts alone: a
    resumed run stages the same.
    """
    run = unfinished(uri)
    content: dict[str, Any] | None = run.round(number)
    if content is None:
        earlier = [run.round(one) for one in range(number)]
        first = sum(one["shards"] for one in earlier)
        standings = standings_of(run, earlier)
        spans = next_round(standings, most_per_prompt(run.config))
        spent = bool(earlier) and is_spent(run, earlier[-1])
        over = spent or not spans
        shards = _bury(run, first, standings, spent=spent) if over else _ask(run, first, spans)
        content = {"first": first, "shards": shards, "asked": {} if over else spans}
        content |= {"over": over, "spent": spent}
        run.commit_round(number, content)
    board.add(shards=content["shards"])
    return content


def standings_of(run: Run, rounds: list[dict[str, Any]]) -> dict[str, Standing]:
    """How each language of the pool, or wanted, stands after these rounds."""
    moments = Moments.from_json(run.merged_moments()) if rounds else Moments.from_json([])
    accepted: Counter[str] = Counter()
    for shard in range(sum(one["shards"] for one in rounds)):
        raise_if_stopping()
        decided = decided_shard(run, shard, moments)
        chosen = decided.column("language").filter(decided.column("chosen"))
        accepted.update(chosen.to_pylist())
    asked = {tag: stop for one in rounds for tag, (_, stop) in one["asked"].items()}
    exact, prompts = run.config.select.exact, run.pool.languages
    return {
        tag: Standing(
            tag, limit_of(exact, tag) or 0, prompts.get(tag, 0), asked.get(tag, 0), accepted[tag]
        )
        for tag in sorted({*prompts, *named_languages(exact)})
    }


def is_spent(run: Run, content: Mapping[str, Any]) -> bool:
    """Whether a round's requests met the end of the budget."""
    shards = range(content["first"], content["first"] + content["shards"])
    errors = (run.scored(shard).column("error") for shard in shards)
    return any(pc.any(pc.equal(column, SPENT)).as_py() for column in errors)


def _ask(run: Run, first: int, spans: Spans) -> int:
    """Stage the prompts at these places as shards; returns how many."""
    shards = 0
    for prompts in rows_at_once(run.pool.prompts(spans), run.config.run.shard_size):
        run.stage_prompts(first + shards, prompts, GRAVEYARD.empty_table())
        shards += 1
    return shards


def _bury(run: Run, first: int, standings: Mapping[str, Standing], *, spent: bool) -> int:
    """Stage what was never asked, and malformed input, as shards without a prompt."""
    spans = {tag: (0, item.asked) for tag, item in standings.items()}
    unasked = (_unasked(rows, standings, spent=spent) for rows in run.pool.ids_outside(spans))
    shards = 0
    for buried in rows_at_once(chain(run.pool.rejected(), unasked), _BURIED_AT_ONCE):
        run.stage_prompts(first + shards, PROMPTS.empty_table(), buried)
        shards += 1
    return shards


def _unasked(rows: pa.Table, standings: Mapping[str, Standing], *, spent: bool) -> pa.Table:
    """GRAVEYARD rows of prompts that no teacher was asked about, and why not."""
    whys = {tag: _why(item, spent=spent) for tag, item in standings.items()}
    mine = [whys[tag] for tag in rows.column("language").to_pylist()]
    columns = {
        "kind": pa.repeat("prompt", rows.num_rows),
        "prompt_id": rows.column("prompt_id"),
        "language": rows.column("language"),
        "stage": pa.repeat("select", rows.num_rows),
        "reasons": pa.array([[reason] for reason, _ in mine], pa.list_(pa.string())),
        "detail": pa.array([detail for _, detail in mine], pa.string()),
    }
    return conform(pa.table(columns), GRAVEYARD)


def _why(item: Standing, *, spent: bool) -> tuple[str, str]:
    if not item.wanted:
        return NOT_NEEDED, f'select.exact wants no candidates in "{item.language}"'
    said = f"{min(item.accepted, item.wanted)} of {item.wanted} wanted were accepted"
    if item.short and spent:
        return SPENT, f"{said} when the budget was spent"
    return NOT_NEEDED, f"{said} before its turn came"
