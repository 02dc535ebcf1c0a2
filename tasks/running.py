"""Where shards run: in threads of this process, or over a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

from arbitrage.config import RunConfig
from arbitrage.config.ray import RayOptions
from arbitrage.errors import ConfigError
from arbitrage.tasks.shard import complete_shard


class Pending(Protocol):
    """Work that was submitted; a Prefect future is one."""

    def result(self) -> Any:
        """Wait for it, and raise what it raised."""
        ...

    def wait(self) -> None:
        """Wait for its end, whatever that is."""
        ...


class SubmitShard(Protocol):
    """Begin to complete a shard: its number, the teachers to ask (None: all), whether to score."""

    def __call__(self, shard: int, teachers: list[str] | None, score: bool) -> Pending: ...


def check_runner(config: RunConfig) -> str:
    """Where shards run, in words; ConfigError where the packages for it are not installed."""
    if config.run.runner == "threads":
        return f"{config.run.workers} threads of this process"
    missing = [name for name in ("ray", "prefect_ray") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f'run.runner = "ray" needs {" and ".join(missing)}, which is not installed.',
            mend='pip install "multilingual-arbitrage[ray]", or set run.runner = "threads".',
        )
    address = (config.run.ray or RayOptions()).address
    where = "this machine" if address == "local" else f"the cluster at {address}"
    return f"{config.run.workers} processes of Ray on {where}"


@contextmanager
def shards_submitted(config: RunConfig, uri: str) -> Iterator[SubmitShard]:
    """How shards of a run are submitted within this context, as `run.runner` says."""
    if config.run.runner == "threads":
        yield lambda shard, teachers, score: complete_shard.submit(uri, shard, teachers, score)
        return
    from arbitrage.tasks.cluster.join import shards_on_cluster  # noqa: PLC0415 - only where used

    with shards_on_cluster(config, uri) as submit:
        # Teachers that take turns live in one process, so there is one wave here.
        yield lambda shard, teachers, score: submit(shard)  # noqa: ARG005
