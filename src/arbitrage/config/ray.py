"""[run.ray]: which Ray cluster shards run on, and what a run over several processes cannot hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from arbitrage.config.plugins import Strict, located
from arbitrage.reach import Reach

if TYPE_CHECKING:
    from arbitrage.config.model import RunConfig

# Backends whose teacher lives in the process that asks it, unless they are given an address.
_IN_PROCESS = {"local", "vllm"}


class RayOptions(Strict):
    """[run.ray]: used where run.runner = "ray"."""

    address: Annotated[str, Reach.CLUSTER] = Field(
        "local",
        min_length=1,
        description='"local" starts Ray for this run; "auto" or HOST:PORT joins a cluster.',
    )
    cpus_per_shard: float = Field(
        1.0, gt=0, le=1024, description="CPUs a node must have free for a shard."
    )

    @field_validator("address")
    @classmethod
    def _is_no_client(cls, value: str) -> str:
        if "://" in value:
            raise ValueError(
                f'"{value}" is not an address of a cluster\'s head. Start the run on a machine of '
                'the cluster and write "auto" or HOST:PORT; Ray Client (ray://) is not supported'
            )
        return value


def check_over_processes(config: RunConfig) -> None:
    """A validation error for what does not hold where every shard has a process of its own."""
    if config.run.runner != "ray":
        return
    storage, local = config.run.storage, (config.run.ray or RayOptions()).address == "local"
    shared = storage is not None and storage.work_folder is not None
    if config.run.output.startswith("s3://") and not (shared or local):
        raise located(
            f'run.output = "{config.run.output}" is worked on in a folder, which with run.runner = '
            '"ray" all nodes write. Set run.storage.work_folder to one that they share, or '
            'run.runner = "threads".',
            ("run", "output"),
            config.run.output,
        )
    for index, teacher in enumerate(config.teachers):
        served = teacher.base_url is not None or teacher.base_urls is not None
        if teacher.backend in _IN_PROCESS and not served:
            raise located(
                f'"{teacher.name}" would be started once for each shard in work. Start its server '
                'and give base_url, or set run.runner = "threads".',
                ("teachers", index, "backend"),
                teacher.backend,
            )
        if teacher.backend != "replay" and teacher.max_concurrency < config.run.workers:
            raise located(
                f'"{teacher.name}" may be asked {teacher.max_concurrency} things at a time, which '
                f"cannot be divided among run.workers = {config.run.workers} shards. Raise the one "
                "or lower the other.",
                ("teachers", index, "max_concurrency"),
                teacher.max_concurrency,
            )
