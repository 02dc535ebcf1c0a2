"""Whether every node of a cluster can do the work of a run; asked before any prompt is sent."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import arbitrage
from arbitrage.errors import ConfigError
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.shard_lock import is_held_elsewhere

_WITHIN_S = 120.0


def look_around(root: str, api: str) -> dict[str, Any]:
    """What a process on a node sees of the run, of Prefect's API and of this code."""
    try:
        with urlopen(f"{api}/health", timeout=10) as answer:  # noqa: S310 - Prefect's own setting
            reached = answer.status == 200
    except (URLError, OSError):
        reached = False
    return {
        "version": arbitrage.__version__,
        "python": platform.python_version(),
        "folder": Path(root).is_dir(),
        "locks": is_held_elsewhere(Folder(Path(root))),
        "api": reached,
    }


def check_nodes(ray: Any, root: str, api: str) -> list[str]:
    """Ids of the living nodes, each of which can work on the run in `root`.

    Raises ConfigError with the mend where one lacks the code, the folder, its locks or the API.
    """
    from ray.util.scheduling_strategies import (  # noqa: PLC0415 - an extra, and slow
        NodeAffinitySchedulingStrategy,
    )

    nodes = [node for node in ray.nodes() if node["Alive"]]
    look = ray.remote(num_cpus=0, max_retries=0)(look_around)
    asked = {
        node["NodeID"]: look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
        ).remote(root, api)
        for node in nodes
    }
    for node in nodes:
        where = f"the node {node['NodeManagerAddress']}"
        try:
            seen = ray.get(asked[node["NodeID"]], timeout=_WITHIN_S)
        except (ray.exceptions.RayError, ImportError) as error:
            reason = (str(error).strip() or repr(error)).splitlines()[-1]
            raise ConfigError(
                f"{where} cannot run shards: {reason}",
                mend="Install the same version of this package there, and start its Ray with it.",
            ) from error
        complaint(where, seen, root, api)
    return list(asked)


def complaint(where: str, seen: dict[str, Any], root: str, api: str) -> None:
    """ConfigError for the first thing a node lacks."""
    if seen["version"] != arbitrage.__version__:
        raise ConfigError(
            f"{where} has version {seen['version']} of this package, and this process "
            f"{arbitrage.__version__}.",
            mend="Install the same version everywhere.",
        )
    if not seen["folder"]:
        raise ConfigError(
            f'{where} does not see "{root}".',
            mend="Name one that all nodes share: run.output, for s3:// run.storage.work_folder.",
        )
    if not seen["locks"]:
        raise ConfigError(
            f'{where} does not see that "{root}" is locked: it is another folder of that name, or '
            "its file system does not carry locks from machine to machine.",
            mend="Set run.output to a shared folder with locks (flock), such as NFSv4.",
        )
    if not seen["api"]:
        raise ConfigError(
            f"{where} does not reach Prefect at {api}.",
            mend="Start a server that all nodes reach, and set PREFECT_API_URL to its address.",
        )
