"""A few prompts through the whole way, in memory: what a run would do, shown before it does it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from arbitrage.config import RunConfig
from arbitrage.filters.independence import check_rewards
from arbitrage.filters.moments import Moments
from arbitrage.filters.scoring import Sketches, score_table
from arbitrage.filters.selection import decide_table, weighted_measures
from arbitrage.flows.explanation import Explanation
from arbitrage.infra.generation.pool import TeacherPool
from arbitrage.infra.generation.requests import plan_requests
from arbitrage.infra.generation.rows import generated_rows, route_facts
from arbitrage.infra.generation.waves import waves
from arbitrage.infra.sources import read_prompts, source_options
from arbitrage.infra.teachers.base import Completion, Request
from arbitrage.routers.drawing import route
from arbitrage.schema import GENERATED, table_of
from arbitrage.tasks.matching import matched_table


def preview_prompts(config: RunConfig, count: int) -> Iterator[Explanation]:
    """Route, generate, score and decide the first `count` input rows; writes nothing.

    Within-language z-scores are taken over these few rows only, and candidates are compared with
    each other only, so choices may differ in a run.
    """
    check_rewards(config)
    options = source_options(config)
    chunk = next(read_prompts(config.prompts, chunk_rows=count, storage_options=options))
    for row in chunk.graveyard.to_pylist():
        yield Explanation(row["prompt_id"] or row["origin"] or "?", None, None, [], [row])
    routed = route(chunk.prompts, config)
    for row in routed.unroutable.to_pylist():
        yield Explanation(row["prompt_id"], None, None, [], [row])
    decided, buried = _decided(chunk.prompts, routed.routes, config)
    routes = {row["prompt_id"]: row for row in routed.routes.to_pylist()}
    for prompt in chunk.prompts.to_pylist():
        key = prompt["prompt_id"]
        if key in routes:
            mine = [row for row in decided if row["prompt_id"] == key]
            failures = [row for row in buried if row["prompt_id"] == key]
            yield Explanation(key, prompt, routes[key], mine, failures)


def _decided(
    prompts: pa.Table, routes: pa.Table, config: RunConfig
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    facts = route_facts(routes, config)
    requests = plan_requests(prompts, routes, config, set())

    def collect(request: Request, completions: list[Completion]) -> None:
        rows.extend(generated_rows(request, completions, facts))

    with TeacherPool(config.teachers) as pool:
        for wave in waves(config.teachers):
            theirs = [request for request in requests if request.teacher in wave.teachers]
            pool.complete(theirs, collect, threading.Event())
            pool.rest(wave.exclusive)
    order = {request.prompt_id: place for place, request in enumerate(requests)}
    rows.sort(key=lambda row: (order[row["prompt_id"]], row["teacher"], row["sample_index"]))
    sketches: Sketches = {}
    scored = score_table(table_of(rows, GENERATED), prompts, config, sketches)
    scored = matched_table(scored, config, sketches)
    moments = Moments.of(scored, weighted_measures(config))
    return decide_table(scored, config, moments).to_pylist(), rows
