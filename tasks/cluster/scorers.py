"""One process a heavy filter and node, which the shards of that node share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from arbitrage import registry
from arbitrage.config import RunConfig
from arbitrage.errors import ArbitrageError
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores
from arbitrage.filters.scoring import built_filter, use_filter
from arbitrage.infra.store.run import Run

NAMESPACE = "arbitrage"
# A scorer that is killed for its memory is started again; then the run has to end.
_RESTARTS = 3

_shared: set[str] = set()


class Scorer:
    """The filter in a process of its own. Scoring several batches at once is up to its threads."""

    def __init__(self, name: str, params: dict[str, Any], work_from: str) -> None:
        if Path(work_from).is_dir():
            os.chdir(work_from)
        given = registry.filters.get(name).params.model_validate(params)
        self._filter = built_filter(name, cast("FilterParams", given))
        self._filter.load()

    def score(
        self, texts: list[str], languages: list[str], prompts: list[str | None]
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, list[str | None]]]:
        """As `Filter.score`, as plain columns: measures and labels."""
        scores = self._filter.score(Batch(texts, languages, prompts))
        labels = {name: list(values) for name, values in scores.labels.items()}
        return dict(scores.measures), labels

    def process(self) -> int:
        """Its process id."""
        return os.getpid()


class SharedFilter(Filter):
    """A filter whose model is in the Scorer of this node."""

    Params = FilterParams
    measures = ()

    def __init__(self, params: FilterParams, scorer: Any) -> None:
        super().__init__(params)
        self._scorer = scorer

    def score(self, batch: Batch) -> Scores:
        import ray  # noqa: PLC0415 - an extra, and slow

        columns = (list(batch.texts), list(batch.languages), list(batch.prompts))
        try:
            measures, labels = ray.get(self._scorer.score.remote(*columns))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ArbitrageError):
                raise error.cause from None
            raise
        return Scores(measures, labels)


@contextmanager
def scorers_on(nodes: Sequence[str], run: Run, work_from: str) -> Iterator[dict[str, Any]]:
    """Start a Scorer for each heavy filter of a run on each node; they end with the context."""
    import ray  # noqa: PLC0415 - as above
    from ray.util.scheduling_strategies import (  # noqa: PLC0415
        NodeAffinitySchedulingStrategy,
    )

    # No CPU of their own: the shard that asks waits meanwhile.
    kind = ray.remote(num_cpus=0, max_restarts=_RESTARTS, max_task_retries=_RESTARTS)(Scorer)
    started: dict[str, Any] = {}
    try:
        for name, params in heavy_filters(run.config).items():
            for node in nodes:
                place = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
                called = _name(run, name, node)
                started[called] = kind.options(
                    name=called,
                    namespace=NAMESPACE,
                    scheduling_strategy=place,
                    max_concurrency=max(2, run.config.run.workers),
                ).remote(name, params.model_dump(mode="json"), work_from)
        yield started
    finally:
        for actor in started.values():
            ray.kill(actor)


def heavy_filters(config: RunConfig) -> dict[str, FilterParams]:
    """The filters whose model is loaded once a node."""
    params = cast("dict[str, FilterParams]", config.filter_params)
    return {
        name: value
        for name, value in params.items()
        if registry.filters.get(name).plugin.is_heavy(value)
    }


def share_scorers(run: Run) -> None:
    """Have this process ask the Scorers of its node. A node that joined after the run began has
    none, and its processes load what they need themselves."""
    if run.uri in _shared:
        return
    heavy = heavy_filters(run.config)
    if heavy:
        import ray  # noqa: PLC0415 - as above

        node = ray.get_runtime_context().get_node_id()
        for name, params in heavy.items():
            try:
                scorer = ray.get_actor(_name(run, name, node), namespace=NAMESPACE)
            except ValueError:
                continue
            use_filter(name, params, SharedFilter(params, scorer))
    _shared.add(run.uri)


def _name(run: Run, name: str, node: str) -> str:
    return f"{run.uri} {name} {node}"
