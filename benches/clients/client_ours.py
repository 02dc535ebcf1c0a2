"""Ours, generation as the flow runs it: routed shards, two at a time, every answer journalled.

`--flow` runs the whole `distill` flow instead: the same, then scored, decided, written as a view
and published, with Prefect around it.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from job import MAX_TOKENS, MODEL, Job, finished, read_job

from arbitrage.config import RunConfig
from arbitrage.infra.store.begin import open_run_folder
from arbitrage.tasks.generate import generate_candidates, open_teachers
from arbitrage.tasks.prompts import load_prompts
from arbitrage.tasks.route import route_prompts


def config_of(job: Job) -> RunConfig:
    """Defaults but for the concurrency: shards of 1,000 prompts, two in work."""
    teacher: dict[str, Any] = {
        "name": MODEL,
        "backend": "openai",
        "base_url": job.base_url,
        "max_concurrency": job.concurrency,
        "sampling": {"max_tokens": MAX_TOKENS},
    }
    prompts = {"source": job.prompts, "text": "column:prompt", "id": "column:id"}
    data = {
        "run": {"name": "bench", "output": job.out},
        "prompts": prompts,
        "teachers": [teacher],
        "views": {"sft": {}},
    }
    return RunConfig.model_validate(data)


def generate(job: Job) -> None:
    opened = open_run_folder(config_of(job), new=True)
    uri = str(opened.path)
    with closing(opened), open_teachers(uri):
        shards = load_prompts.fn(uri)

        def one(shard: int) -> None:
            route_prompts(uri, shard)
            generate_candidates(uri, shard)

        with ThreadPoolExecutor(opened.run.config.run.workers) as threads:
            list(threads.map(one, range(shards)))
        finished(lambda: sum(_answered(opened.run.generated(shard)) for shard in range(shards)))


def _answered(table: Any) -> int:
    return len(table) - int(table.column("text").null_count)


def whole_flow(job: Job) -> None:
    from arbitrage.flows.distill import distill
    from arbitrage.infra.store import open_run

    folder = distill(config_of(job))
    finished(open_run(folder).candidates.collect()["text"].count)


if __name__ == "__main__":
    (whole_flow if "--flow" in sys.argv else generate)(read_job())
