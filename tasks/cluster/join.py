"""Start or join a Ray cluster for one run, and give it shards."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL, temporary_settings

from arbitrage.config import RunConfig
from arbitrage.config.ray import RayOptions
from arbitrage.errors import ArbitrageError, ConfigError
from arbitrage.infra.interrupt import stop, stopping_on_signals
from arbitrage.infra.progress import board
from arbitrage.infra.store import layout
from arbitrage.infra.store.run import Run, attach
from arbitrage.infra.store.s3.outbox import Outbox
from arbitrage.infra.store.watch import watcher_of
from arbitrage.routers.drawing import built_router
from arbitrage.routers.learning import LearningRouter
from arbitrage.tasks.cluster.lending import budget_lent
from arbitrage.tasks.cluster.nodes import check_nodes
from arbitrage.tasks.cluster.scorers import scorers_on
from arbitrage.tasks.cluster.shard import complete_shard_on_node, tell_to_stop
from arbitrage.tasks.route import route_prompts

_LOOK_S = 1.0
# How many nodes may die under one shard before the run gives it up.
_NODE_DEATHS = 5
# What goes through it are ids, counts and batches of texts on their way to a scorer.
_OBJECT_STORE_BYTES = 100 * 2**20
# Read by Ray when it is imported.
_SETTINGS = {
    # On, a driver under `uv run` sends its whole folder, runs and all, to every node.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A node whose agents are not up in time ends itself: 15 s are short on a busy machine.
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_raylet_start_wait_time_s": "120",
}


class ShardOnCluster:
    """A shard in work on some node. `result` and `wait` as of a Prefect future."""

    def __init__(self, ray: Any, future: Any, run: Run, shard: int, outbox: Outbox | None) -> None:
        self._ray = ray
        self._future = future
        self._run = run
        self._shard = shard
        self._outbox = outbox

    def result(self) -> None:
        """Wait for the shard, passing a request to stop on; adds its counts to the board.

        Raises what the shard raised; ArbitrageError where node after node died under it.
        """
        self.wait()
        try:
            board.add(**self._future.result())
        except self._ray.exceptions.RayError as error:
            raise ArbitrageError(
                f"shard {self._shard} was given up, as the processes it was given to died: "
                f"{_first_line(error)}",
                mend="See Ray's logs (often memory), then run the same command again.",
            ) from error
        if self._outbox is not None:
            self._outbox.done(self._shard)

    def wait(self) -> None:
        """Wait for its end, whatever that is."""
        while not self._ray.wait([self._future.wrapped_future], timeout=_LOOK_S)[0]:
            if stop.is_set() and not self._run.folder.exists(layout.STOP):
                tell_to_stop(self._run.folder)


@contextmanager
def shards_on_cluster(config: RunConfig, uri: str) -> Iterator[Callable[[int], ShardOnCluster]]:
    """Give shards to the cluster that [run.ray] names, by their number, within this context.

    Raises ConfigError where Ray is not reached, or one of its nodes will not do.
    """
    ray, kind, remote_options = imported()
    options = config.run.ray or RayOptions()
    # Processes elsewhere start in other folders.
    root = str(Path(uri).resolve())
    run, here = attach(root), str(Path.cwd())
    outbox = watcher_of(Path(uri))
    assert isinstance(outbox, Outbox | None)
    run.folder.remove(layout.STOP)
    with ExitStack() as stack:
        runner = stack.enter_context(_started(kind(init_kwargs=initial(options, config))))
        # Ray has taken SIGTERM for itself.
        stack.enter_context(stopping_on_signals())
        api = stack.enter_context(_reachable_api())
        nodes = check_nodes(ray, root, api)
        stack.enter_context(scorers_on(nodes, run, here))
        lender = stack.enter_context(budget_lent(run, here))
        stack.enter_context(
            remote_options(
                num_cpus=options.cpus_per_shard,
                max_retries=_NODE_DEATHS,
                scheduling_strategy="SPREAD",
            )
        )
        learns = isinstance(built_router(config), LearningRouter)

        def submit(shard: int) -> ShardOnCluster:
            if learns:  # what it has learned is one state, kept by one process
                route_prompts(root, shard)
            if outbox is not None:
                outbox.given(shard)
            parameters = {
                "uri": root,
                "shard": shard,
                "processes": config.run.workers,
                "work_from": here,
                "lender": lender,
                "mirrored": outbox is not None,
            }
            future = runner.submit(complete_shard_on_node, parameters)
            return ShardOnCluster(ray, future, run, shard, outbox)

        yield submit


def imported() -> tuple[Any, Any, Any]:
    """ray, prefect_ray's task runner and its options."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray  # noqa: PLC0415 - an extra, and slow
    from prefect_ray import RayTaskRunner  # noqa: PLC0415
    from prefect_ray.context import remote_options  # noqa: PLC0415

    return ray, RayTaskRunner, remote_options


def initial(options: RayOptions, config: RunConfig) -> dict[str, Any]:
    """What `ray.init` is called with.

    Processes' output is not passed on: the last line this prints is the run folder.
    """
    given = {"address": options.address, "log_to_driver": False, "logging_level": "WARNING"}
    if options.address != "local":
        return given
    return given | {
        "num_cpus": max(1, math.ceil(config.run.workers * options.cpus_per_shard)),
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }


@contextmanager
def _started(runner: Any) -> Iterator[Any]:
    try:
        runner.__enter__()
    except Exception as error:
        address = runner.init_kwargs["address"]
        raise ConfigError(
            f'run.ray.address = "{address}": {_first_line(error)}',
            mend="Start it with `ray start --head`, on the Python of this process, or name it.",
        ) from error
    try:
        yield runner
    finally:
        runner.__exit__(None, None, None)


def _first_line(error: Exception) -> str:
    """What an error says, or which one it is: some say nothing."""
    return (str(error).strip() or repr(error)).splitlines()[0]


@contextmanager
def _reachable_api() -> Iterator[str]:
    """Have tasks elsewhere use the Prefect API of this flow, also where it is a temporary one."""
    given = PREFECT_API_URL.value()
    if given:
        yield str(given)
        return
    context = FlowRunContext.get()
    assert context is not None
    api = str(context.client.api_url).rstrip("/")
    with temporary_settings({PREFECT_API_URL: api}):
        yield api
